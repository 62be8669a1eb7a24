//! The files of a backup of a library.

use icloud_simulator::{NewAsset, PRIMARY_ZONE};

use super::{DAY, NOVEMBER, Photos, links, media, text};
use crate::icloud::assert_sound;

/// Every kind of content is a separate file, in the folder of the month in which the photo was
/// taken, in local time.
#[tokio::test]
async fn every_content_is_a_file() {
    let mut photos = Photos::new();
    photos.add("/Library/2026/11/IMG_0001.HEIC", NOVEMBER);
    let [still, video, edited, raw, jpeg, movie, cut] = std::array::from_fn(|i| photos.content(2_000 + i as u64));
    let live = "/Library/2026/11/IMG_0002";
    for (ending, content) in [(".HEIC", &still), (".MOV", &video), (" (edited).JPG", &edited)] {
        photos.expect(&format!("{live}{ending}"), content);
    }
    photos.put(NewAsset {
        live: Some(video),
        edited: Some((edited, "public.jpeg".to_owned())),
        ..NewAsset::image("IMG_0002.HEIC", NOVEMBER + DAY, still)
    });
    photos.expect("/Library/2026/11/DSC_0003.JPG", &jpeg);
    photos.expect("/Library/2026/11/DSC_0003.NEF", &raw);
    photos.put(NewAsset {
        file_type: "public.jpeg".to_owned(),
        alternative: Some((raw, "com.nikon.raw-image".to_owned())),
        ..NewAsset::image("DSC_0003.JPG", NOVEMBER, jpeg)
    });
    // Taken on the last evening of December, when it was January in UTC.
    photos.expect("/Library/2025/12/IMG_0004.MOV", &movie);
    photos.expect("/Library/2025/12/IMG_0004 (edited).MOV", &cut);
    photos.put(NewAsset {
        file_type: "com.apple.quicktime-movie".to_owned(),
        edited: Some((cut, "com.apple.quicktime-movie".to_owned())),
        time_zone_offset: -5 * 3600,
        ..NewAsset::image("IMG_0004.MOV", 1_767_229_200_000, movie)
    });
    for shown in [true, false] {
        let content = photos.content(1_500);
        photos.expect(&format!("/Library/2026/11/BURST_{shown}.HEIC"), &content);
        photos.put(NewAsset {
            burst: Some(("burst".to_owned(), shown)),
            ..NewAsset::image(&format!("BURST_{shown}.HEIC"), NOVEMBER, content)
        });
    }
    let snapshot = photos.backup().await;
    assert_sound(&snapshot);
    assert_eq!(media(&snapshot), photos.expected);
    assert_eq!(snapshot.origin, "photos:user@example.com");
    let taken = snapshot.entries["/Library/2026/11/IMG_0001.HEIC"].info.mod_time.unwrap();
    assert_eq!(taken.seconds, NOVEMBER / 1000);
    // Every content was read once.
    assert_eq!(photos.contents(), photos.expected.len() as u64);
}

#[tokio::test]
async fn versions_and_layout_are_options() {
    let mut photos = Photos::new();
    let (still, edited, other) = (photos.content(100), photos.content(200), photos.content(300));
    photos.put(NewAsset {
        edited: Some((edited, "public.jpeg".to_owned())),
        ..NewAsset::image("A.HEIC", NOVEMBER, still)
    });
    let gone = photos.put(NewAsset::image("B.HEIC", NOVEMBER, other));
    photos.change(|library| library.set_deleted(PRIMARY_ZONE, &gone, true));
    for (options, paths) in [
        (
            [("photos_versions", "all"), ("photos_layout", "flat")],
            ["/Library/A (edited).JPG", "/Library/A.HEIC"].as_slice(),
        ),
        ([("photos_versions", "original"), ("photos_layout", "flat")], &["/Library/A.HEIC"]),
        ([("photos_versions", "edited"), ("photos_layout", "date")], &["/Library/2026/11/A (edited).JPG"]),
        (
            [("photos_versions", "original"), ("photos_deleted", "include")],
            &["/Library/2026/11/A.HEIC", "/Recently Deleted/2026/11/B.HEIC"],
        ),
    ] {
        let snapshot = photos.backup_with(&options).await;
        assert_sound(&snapshot);
        assert_eq!(media(&snapshot).into_keys().collect::<Vec<_>>(), paths, "{options:?}");
    }
}

/// Albums are links into the library, in the order of the album, and lists of paths. No content is
/// read twice.
#[tokio::test]
async fn albums_are_links() {
    let mut photos = Photos::new();
    let ids: Vec<String> =
        (1..=3).map(|n| photos.add(&format!("/Library/2026/11/IMG_{n}.HEIC"), NOVEMBER + n * DAY)).collect();
    photos.change(|library| {
        let travel = library.add_album(PRIMARY_ZONE, "Travel", "", true);
        let rome = library.add_album(PRIMARY_ZONE, "Rome/Roma", &travel, false);
        let twin = library.add_album(PRIMARY_ZONE, "Rome_Roma", &travel, false);
        for id in [&ids[2], &ids[0]] {
            library.set_member(PRIMARY_ZONE, &rome, id, true);
        }
        library.set_member(PRIMARY_ZONE, &twin, &ids[1], true);
        library.change(PRIMARY_ZONE, &ids[0], |asset| asset.favorite = true);
        library.change(PRIMARY_ZONE, &ids[1], |asset| asset.hidden = true);
    });
    let snapshot = photos.backup().await;
    assert_sound(&snapshot);
    assert_eq!(media(&snapshot), photos.expected);
    assert_eq!(photos.contents(), 3);
    let links = links(&snapshot);
    let rome: Vec<&str> = links.keys().copied().filter(|path| path.starts_with("/Albums/Travel/Rome_Roma")).collect();
    assert_eq!(rome.len(), 3, "{links:?}");
    let first = rome.iter().find(|path| path.ends_with("/0001 IMG_3.HEIC")).expect("the album is out of order");
    assert_eq!(links[first], "../../../Library/2026/11/IMG_3.HEIC");
    assert_eq!(links["/Favorites/2026-11 IMG_1.HEIC"], "../Library/2026/11/IMG_1.HEIC");
    assert_eq!(links["/Hidden/2026-11 IMG_2.HEIC"], "../Library/2026/11/IMG_2.HEIC");
    let list = format!("{}/album.txt", first.rsplit_once('/').unwrap().0);
    assert_eq!(text(&snapshot, &list), "# Rome_Roma\nLibrary/2026/11/IMG_3.HEIC\nLibrary/2026/11/IMG_1.HEIC\n");
}

/// The metadata of a photo is in a file beside it.
#[tokio::test]
async fn a_sidecar_has_the_metadata() {
    let mut photos = Photos::new();
    let content = photos.content(10);
    photos.put(NewAsset {
        title: "Anna & <Bob>".to_owned(),
        description: "At the sea".to_owned(),
        favorite: true,
        place: Some((48.137_154, -11.576_124)),
        time_zone_offset: 3600,
        ..NewAsset::image("IMG_1.HEIC", NOVEMBER, content)
    });
    let snapshot = photos.backup().await;
    assert_sound(&snapshot);
    let sidecar = text(&snapshot, "/Library/2026/11/IMG_1.HEIC.xmp");
    for part in [
        "<rdf:li xml:lang=\"x-default\">Anna &amp; &lt;Bob&gt;</rdf:li>",
        "<rdf:li xml:lang=\"x-default\">At the sea</rdf:li>",
        "<exif:DateTimeOriginal>2026-11-05T11:00:00.000+01:00</exif:DateTimeOriginal>",
        "<exif:GPSLatitude>48,8.229240N</exif:GPSLatitude>",
        "<exif:GPSLongitude>11,34.567440W</exif:GPSLongitude>",
        "<xmp:Rating>5</xmp:Rating>",
    ] {
        assert!(sidecar.contains(part), "{part} is not in {sidecar}");
    }
}

/// A library of another account is a separate folder, and a library of more than one page is
/// complete.
#[tokio::test]
async fn shared_libraries_are_separate_folders() {
    let mut photos = Photos::new();
    for n in 0..450 {
        photos.add(&format!("/Library/2026/11/IMG_{n:04}.HEIC"), NOVEMBER + n);
    }
    let content = photos.content(500);
    photos.expect("/Shared Library/2026/11/IMG_0001.HEIC", &content);
    photos.change(|library| {
        library.add_zone("SharedSync-12345678-ABCD", true);
        library.add_zone("CMM-12345678", false);
        library.add("SharedSync-12345678-ABCD", NewAsset::image("IMG_0001.HEIC", NOVEMBER, content.clone()));
    });
    let snapshot = photos.backup().await;
    assert_sound(&snapshot);
    assert_eq!(media(&snapshot), photos.expected);
}

#[tokio::test]
async fn the_error_of_a_restore_to_photos_says_that_they_can_only_be_read() {
    let photos = Photos::new();
    let settings = photos.icloud.settings("icloud://photos/Library");
    let tree = plakar_host::Tree::new().folder("/").file("/a.jpg", "a");
    let exported = photos.icloud.host.restore(&settings, &plakar_host::Options::default(), &tree).await.unwrap();
    let said = format!("{:?} {:?}", exported.errors(), exported.end);
    assert!(said.contains("iCloud Photos can only be read"), "{said}");
}
