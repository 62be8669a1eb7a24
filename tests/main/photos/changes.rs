//! Later backups of a library.

use icloud_simulator::{FaultAction, FaultRule, HoldAt, NewAsset, PRIMARY_ZONE, RequestKind};

use super::{DAY, FEBRUARY_2024, NOVEMBER, Photos, links, media, text};
use crate::icloud::assert_sound;

/// An unchanged library is neither listed nor read again.
#[tokio::test]
async fn only_changed_files_are_read() {
    let mut photos = Photos::new();
    let ids: Vec<String> =
        (0..300).map(|n| photos.add(&format!("/Library/2026/11/IMG_{n:04}.HEIC"), NOVEMBER + n)).collect();
    let first = photos.backup().await;
    assert_sound(&first);
    photos.icloud.simulator.reset_counts();
    let second = photos.backup_after(&first).await;
    assert_sound(&second);
    assert!(second.opened.is_empty(), "opened {:?}", second.opened);
    assert_eq!(media(&second), photos.expected);
    assert!(photos.calls() <= 10, "{} calls", photos.calls());

    let added = photos.content(700);
    let edited = photos.content(800);
    photos.change(|library| {
        library.add(PRIMARY_ZONE, NewAsset::image("NEW.HEIC", NOVEMBER + DAY, added.clone()));
        library.change(PRIMARY_ZONE, &ids[5], |asset| asset.edited = Some((edited.clone(), "public.jpeg".to_owned())));
        library.change(PRIMARY_ZONE, &ids[6], |asset| asset.favorite = true);
        library.set_deleted(PRIMARY_ZONE, &ids[7], true);
        library.set_deleted(PRIMARY_ZONE, &ids[8], true);
        library.expunge(PRIMARY_ZONE, &ids[8]);
    });
    photos.expect("/Library/2026/11/NEW.HEIC", &added);
    photos.expect("/Library/2026/11/IMG_0005 (edited).JPG", &edited);
    for gone in [7, 8] {
        photos.expected.remove(&format!("/Library/2026/11/IMG_{gone:04}.HEIC"));
    }
    photos.icloud.simulator.reset_counts();
    let third = photos.backup_after(&second).await;
    assert_sound(&third);
    assert_eq!(media(&third), photos.expected);
    let opened: Vec<&str> = third.opened.iter().map(String::as_str).collect();
    assert_eq!(
        opened,
        [
            "/Library/2026/11/IMG_0005 (edited).JPG",
            "/Library/2026/11/IMG_0006.HEIC.xmp",
            "/Library/2026/11/NEW.HEIC",
            "/Library/2026/11/NEW.HEIC.xmp"
        ]
    );
    assert_eq!(photos.contents(), 2);
    assert!(photos.calls() <= 14, "{} calls", photos.calls());
}

/// Of two photos with the same name, the first has the plain name. The name of the second does not
/// change when the first is deleted, even if the whole library is listed again.
#[tokio::test]
async fn names_do_not_change() {
    let mut photos = Photos::new();
    let first = photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    let content = photos.content(50);
    let asset = NewAsset { added_ms: NOVEMBER + DAY, ..NewAsset::image("img_1.heic", NOVEMBER, content.clone()) };
    let second = photos.put(asset);
    let name = format!("/Library/2026/11/img_1 ({}).heic", &second[..8]);
    photos.expect(&name, &content);
    let before = photos.backup().await;
    assert_sound(&before);
    assert_eq!(media(&before), photos.expected);

    photos.change(|library| library.expunge(PRIMARY_ZONE, &first));
    photos.expected.remove("/Library/2026/11/IMG_1.HEIC");
    let after = photos.backup_after(&before).await;
    assert_eq!(media(&after), photos.expected);
    photos.icloud.simulator.rules(|rules| rules.photos.accepts_tokens = false);
    let again = photos.backup_after(&after).await;
    assert_eq!(media(&again), photos.expected);
    assert!(again.opened.is_empty(), "opened {:?}", again.opened);
}

#[tokio::test]
async fn a_refused_sync_token_causes_a_listing_but_no_reads() {
    let mut photos = Photos::new();
    for n in 0..450 {
        photos.add(&format!("/Library/2026/11/IMG_{n:04}.HEIC"), NOVEMBER + n);
    }
    let first = photos.backup().await;
    photos.icloud.simulator.rules(|rules| rules.photos.accepts_tokens = false);
    photos.icloud.simulator.reset_counts();
    let second = photos.backup_after(&first).await;
    assert_sound(&second);
    assert!(second.opened.is_empty(), "opened {:?}", second.opened);
    assert_eq!(media(&second), photos.expected);
    assert!(photos.calls() <= 30, "{} calls", photos.calls());
}

/// A listing that is only necessary for Recently Deleted lists assets without their masters. The changes of masters
/// since the last backup are not missed.
#[tokio::test]
async fn a_listing_of_deleted_photos_has_the_changes_of_masters() {
    for accepts_tokens in [true, false] {
        let mut photos = Photos::new();
        let id = photos.add_recent("/Library/2026/11/IMG_1.HEIC");
        let first = photos.backup().await;
        assert_eq!(media(&first), photos.expected);
        let video = photos.content(400);
        photos.expect("/Library/2026/11/IMG_1.MOV", &video);
        photos.change(|library| {
            library.change(PRIMARY_ZONE, &id, |asset| asset.live = Some(video));
            library.set_deleted(PRIMARY_ZONE, &id, true);
            library.set_deleted(PRIMARY_ZONE, &id, false);
        });
        photos.icloud.simulator.rules(|rules| rules.photos.accepts_tokens = accepts_tokens);
        let second = photos.backup_with(&[("photos_deleted", "include")]).await;
        assert_sound(&second);
        assert_eq!(media(&second), photos.expected);
    }
}

/// Without a sync token, the originals of photos that were uploaded long ago are listed again only if the photo has
/// changed. Those of recent uploads are always listed, because a device may upload the video of a live photo late.
#[tokio::test]
async fn late_videos_are_found_without_a_sync_token() {
    let mut photos = Photos::new();
    let old: Vec<String> =
        (0..500).map(|n| photos.add(&format!("/Library/2024/02/IMG_{n:04}.HEIC"), FEBRUARY_2024 + n)).collect();
    let recent = photos.add_recent("/Library/2026/11/IMG_1.HEIC");
    let first = photos.backup().await;
    assert_eq!(media(&first), photos.expected);
    for (id, path) in [(&recent, "/Library/2026/11/IMG_1.MOV"), (&old[7], "/Library/2024/02/IMG_0007.MOV")] {
        let video = photos.content(400);
        photos.expect(path, &video);
        photos.change(|library| {
            library.change(PRIMARY_ZONE, id, |asset| {
                asset.live = Some(video);
                // The record of the recent asset does not change, only its master.
                asset.modified_ms += if id == &recent { 0 } else { DAY };
            });
        });
    }
    photos.icloud.simulator.rules(|rules| rules.photos.accepts_tokens = false);
    photos.icloud.simulator.reset_counts();
    let second = photos.backup_after(&first).await;
    assert_sound(&second);
    assert_eq!(media(&second), photos.expected);
    // 501 assets without their masters are three pages; the other two queries are those of the state and of the albums.
    // The second importer of the backup lists nothing.
    assert_eq!(photos.icloud.count(RequestKind::PhotosQuery), 5);
    // One call returns both masters, and the others the addresses of the videos.
    let lookups = photos.icloud.count(RequestKind::PhotosLookup);
    assert!(lookups <= 3, "{lookups} lookups");
}

/// If a photo is deleted while the library is listed, later photos move to other pages.
#[tokio::test]
async fn photos_that_move_during_the_listing_are_found() {
    let mut photos = Photos::new();
    let ids: Vec<String> =
        (0..450).map(|n| photos.add(&format!("/Library/2026/11/IMG_{n:04}.HEIC"), NOVEMBER + n)).collect();
    let hold = FaultAction::Hold { gate: "pages".to_owned(), at: HoldAt::Arrival };
    let pages = FaultRule::new(RequestKind::PhotosQuery, hold)
        .matching("CPLAssetAndMasterByAssetDateWithoutHiddenOrDeleted")
        .skip(1);
    photos.icloud.simulator.add_fault(pages);
    photos.expected.remove("/Library/2026/11/IMG_0000.HEIC");
    let change = async {
        // The state of the index, the first page and four more pages.
        photos.icloud.until(RequestKind::PhotosQuery, 6).await;
        photos.change(|library| library.expunge(PRIMARY_ZONE, &ids[0]));
        photos.icloud.simulator.release("pages");
    };
    let (snapshot, ()) = tokio::join!(photos.backup(), change);
    assert_sound(&snapshot);
    assert_eq!(media(&snapshot), photos.expected);
}

/// Without the changes since the beginning of a listing, the listing is repeated if photos have moved meanwhile, even if
/// their number is the same.
#[tokio::test]
async fn photos_that_move_are_found_without_a_sync_token() {
    let mut photos = Photos::new();
    let ids: Vec<String> =
        (0..450).map(|n| photos.add(&format!("/Library/2026/11/IMG_{n:04}.HEIC"), NOVEMBER + n)).collect();
    photos.icloud.simulator.rules(|rules| rules.photos.accepts_tokens = false);
    let hold = FaultAction::Hold { gate: "pages".to_owned(), at: HoldAt::Arrival };
    let pages = FaultRule::new(RequestKind::PhotosQuery, hold)
        .matching("CPLAssetAndMasterByAssetDateWithoutHiddenOrDeleted")
        .skip(1);
    photos.icloud.simulator.add_fault(pages);
    let new = photos.content(100);
    photos.expected.remove("/Library/2026/11/IMG_0000.HEIC");
    photos.expect("/Library/2026/11/NEW.HEIC", &new);
    let change = async {
        // The state of the index, the first page and four more pages.
        photos.icloud.until(RequestKind::PhotosQuery, 6).await;
        photos.change(|library| {
            library.expunge(PRIMARY_ZONE, &ids[0]);
            library.add(PRIMARY_ZONE, NewAsset::image("NEW.HEIC", NOVEMBER + 1_000, new.clone()));
        });
        photos.icloud.simulator.release("pages");
    };
    let (snapshot, ()) = tokio::join!(photos.backup(), change);
    let lost = |path: &&String| !media(&snapshot).contains_key(*path);
    let missing: Vec<&String> = photos.expected.keys().filter(lost).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(snapshot.errors.is_empty(), "{:?}", snapshot.errors);
}

/// Changes of albums are received with the sync token, without listing the albums again.
#[tokio::test]
async fn changes_of_albums_are_applied() {
    let mut photos = Photos::new();
    let ids: Vec<String> =
        (1..=3).map(|n| photos.add(&format!("/Library/2026/11/IMG_{n}.HEIC"), NOVEMBER + n * DAY)).collect();
    let [trip, old] = photos.change(|library| {
        let albums = ["Trip", "Old"].map(|name| library.add_album(PRIMARY_ZONE, name, "", false));
        for album in &albums {
            ids.iter().for_each(|id| library.set_member(PRIMARY_ZONE, album, id, true));
        }
        albums
    });
    let first = photos.backup().await;
    assert_sound(&first);
    assert_eq!(links(&first).len(), 6);
    photos.change(|library| {
        library.set_member(PRIMARY_ZONE, &trip, &ids[0], false);
        library.rename_album(PRIMARY_ZONE, &trip, "Journey");
        library.remove_album(PRIMARY_ZONE, &old);
        let new = library.add_album(PRIMARY_ZONE, "New", "", false);
        library.set_member(PRIMARY_ZONE, &new, &ids[0], true);
    });
    photos.icloud.simulator.reset_counts();
    let second = photos.backup_after(&first).await;
    assert_sound(&second);
    let found: Vec<&str> = links(&second).into_keys().collect();
    assert_eq!(
        found,
        ["/Albums/Journey/0001 IMG_2.HEIC", "/Albums/Journey/0002 IMG_3.HEIC", "/Albums/New/0001 IMG_1.HEIC"]
    );
    let list = text(&second, "/Albums/Journey/album.txt");
    assert_eq!(list, "# Journey\nLibrary/2026/11/IMG_2.HEIC\nLibrary/2026/11/IMG_3.HEIC\n");
    assert!(!second.entries.contains_key("/Albums/Old"), "{:?}", second.entries.keys());
    assert_eq!((photos.contents(), photos.icloud.count(RequestKind::PhotosQuery)), (0, 0));

    // A photo that is deleted, or moved to Recently Deleted, is in no album.
    photos.change(|library| {
        library.expunge(PRIMARY_ZONE, &ids[1]);
        library.set_deleted(PRIMARY_ZONE, &ids[2], true);
    });
    let third = photos.backup_after(&second).await;
    assert_sound(&third);
    assert_eq!(links(&third).into_keys().collect::<Vec<_>>(), ["/Albums/New/0001 IMG_1.HEIC"]);
    assert_eq!(text(&third, "/Albums/Journey/album.txt"), "# Journey\n");
}

/// A duplicate that was made on a phone has the same original.
#[tokio::test]
async fn a_duplicate_is_a_separate_photo() {
    let mut photos = Photos::new();
    let id = photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    let first = photos.backup().await;
    let copy = photos.change(|library| library.duplicate(PRIMARY_ZONE, &id));
    let digest = photos.expected["/Library/2026/11/IMG_1.HEIC"].clone();
    let second = photos.backup_after(&first).await;
    assert_sound(&second);
    let names: Vec<String> = media(&second).into_keys().collect();
    assert_eq!(
        names,
        [format!("/Library/2026/11/IMG_1 ({}).HEIC", &copy[..8]), "/Library/2026/11/IMG_1.HEIC".to_owned()]
    );
    assert!(media(&second).into_values().all(|other| other == digest));
}
