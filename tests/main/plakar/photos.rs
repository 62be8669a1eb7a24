//! A photo library through the real plakar.

use std::collections::BTreeMap;
use std::path::Path;

use icloud_simulator::{Content, NewAsset, PRIMARY_ZONE, RequestKind};

use super::{Installed, files};

/// 2026-11-05 10:00:00 UTC in milliseconds.
const NOVEMBER: i64 = 1_793_872_800_000;

fn content(number: u64) -> Content {
    Content::Generated { seed: 7_000 + number, size: 1_000 + number }
}

/// The shared library.
const SHARED: &str = "SharedSync-12345678-ABCD";

/// Returns the number of assets: 300, or that of the variable `PLAKAR_ICLOUD_PHOTOS`, at least 100.
fn count() -> u64 {
    std::env::var("PLAKAR_ICLOUD_PHOTOS").map_or(300, |count| count.parse().expect("PLAKAR_ICLOUD_PHOTOS is no number"))
}

/// Returns an asset of the library, and adds its files to those that a backup must have.
fn asset(number: u64, expected: &mut BTreeMap<String, String>) -> NewAsset {
    let (name, age) = (format!("IMG_{:04}", number % 100), number / 100);
    let (years, months) = (age as i64 / 11, age as i64 % 11);
    let mut path = format!("/Library/{}/{:02}/{name}", 2026 - years, 11 - months);
    // Mean lengths: the days stay at the beginning of the month.
    let hours = years * 8_766 + months * 730;
    let taken = NOVEMBER - hours * 3_600_000 + number as i64;
    let mut expect = |ending: &str, content: &Content| {
        expected.insert(format!("{path}{ending}"), content.sha256());
    };
    let mut asset = NewAsset::image(&format!("{name}.HEIC"), taken, content(number));
    expect(".HEIC", &asset.original);
    if number % 10 == 1 {
        asset.live = Some(content(10_000 + number));
        expect(".MOV", &content(10_000 + number));
    }
    if number % 15 == 2 {
        asset.edited = Some((content(20_000 + number), "public.jpeg".to_owned()));
        expect(" (edited).JPG", &content(20_000 + number));
    }
    if number % 30 == 3 {
        asset.alternative = Some((content(30_000 + number), "com.adobe.raw-image".to_owned()));
        expect(".DNG", &content(30_000 + number));
    }
    if number % 10 == 4 {
        asset.file_type = "com.apple.quicktime-movie".to_owned();
        asset.filename = format!("{name}.MOV");
        let made = expected.remove(&format!("{path}.HEIC")).unwrap_or_default();
        path.push_str(".MOV");
        expected.insert(path, made);
    }
    asset.favorite = number % 50 == 5;
    asset.hidden = number % 60 == 6;
    asset.burst = (number % 40 > 36).then(|| (format!("burst {}", number / 40), number % 40 == 37));
    asset
}

/// Fills the library. Of 300 assets, 30 are live, 20 edited, 10 RAW and 30 videos, some are hidden, favourites or of
/// bursts, and each name occurs once in each of three months. Albums are in folders. A shared library and two shared
/// albums are beside it.
fn fill(installed: &Installed, expected: &mut BTreeMap<String, String>) -> Vec<String> {
    installed.icloud.simulator.photos(|library| {
        let ids: Vec<String> = (0..count()).map(|number| library.add(PRIMARY_ZONE, asset(number, expected))).collect();
        for (number, part) in ids.chunks(25).enumerate() {
            let folder = match number {
                0..6 => String::new(),
                _ => library.add_album(PRIMARY_ZONE, &format!("Folder {number}"), "", true),
            };
            let album = library.add_album(PRIMARY_ZONE, &format!("Album {number}"), &folder, false);
            for id in part {
                library.set_member(PRIMARY_ZONE, &album, id, true);
            }
        }
        library.add_zone(SHARED, true);
        let trip = library.add_shared_album("Trip");
        let party = library.add_shared_album("Party");
        for number in 0..20_u64 {
            let places =
                [(SHARED, "/Shared Library/2026/11"), (&trip, "/Shared Albums/Trip"), (&party, "/Shared Albums/Party")];
            for (place, (zone, folder)) in (0..).zip(places) {
                let content = content(40_000 + place * 1_000 + number);
                expected.insert(format!("{folder}/{number}.JPG"), content.sha256());
                library.add(zone, NewAsset::image(&format!("{number}.JPG"), NOVEMBER + number as i64, content));
            }
        }
        ids
    })
}

/// Returns the restored photos and videos, without links and the files that the program generates.
fn media(folder: &Path) -> BTreeMap<String, String> {
    let mut found = files(folder);
    let tops = ["/Library/", "/Shared Library/", "/Shared Albums/"];
    found.retain(|path, _| tops.iter().any(|top| path.starts_with(top)) && !path.ends_with(".xmp"));
    found
}

/// Every file of a library is the same after a backup and a restore, each content is read once, and
/// the albums are restored. Later backups read only changed files.
#[tokio::test]
async fn a_library_is_backed_up_once_and_restored() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    let mut expected = BTreeMap::new();
    let ids = fill(&installed, &mut expected);
    installed.define("source", "photos", "icloud://photos").await;
    installed.at_plain(&["backup", "@photos"]).await;
    assert_eq!(icloud.count(RequestKind::ContentGet), expected.len() as u64);

    let target = plakar.path("restored");
    installed.at_plain(&["restore", "-to", &target]).await;
    assert_eq!(media(target.as_ref()), expected);
    let restored = files(target.as_ref());
    let linked: Vec<&String> = restored.keys().filter(|path| path.starts_with("/Albums/Album 3/")).collect();
    assert_eq!(linked.len(), 26, "{linked:?}"); // with the list of paths
    assert_eq!(restored["/Albums/Album 0/0001 IMG_0000.HEIC"], expected["/Library/2026/11/IMG_0000.HEIC"]);
    assert_eq!(restored["/Albums/Folder 6/Album 6/0001 IMG_0050.HEIC"], expected["/Library/2026/10/IMG_0050.HEIC"]);
    let sidecars = restored.keys().filter(|path| path.ends_with(".xmp")).count();
    assert_eq!(sidecars, ids.len() + 60);

    icloud.simulator.reset_counts();
    installed.at_plain(&["backup", "@photos"]).await;
    assert_eq!(icloud.count(RequestKind::ContentGet), 0);
    icloud.simulator.photos(|library| {
        for id in &ids[..10] {
            library.change(PRIMARY_ZONE, id, |asset| asset.edited = Some((content(9), "public.jpeg".to_owned())));
        }
        for id in &ids[10..20] {
            library.change(PRIMARY_ZONE, id, |asset| asset.title = "Title".to_owned());
        }
        for id in &ids[20..30] {
            library.expunge(PRIMARY_ZONE, id);
        }
    });
    installed.at_plain(&["backup", "@photos"]).await;
    // One of the ten is a video, whose edited image is a poster.
    assert_eq!(icloud.count(RequestKind::ContentGet), 9);
    installed.at_plain(&["check"]).await;
    plakar.surroundings().deserted().await.unwrap();
}
