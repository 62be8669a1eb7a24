//! A photo library through the real plakar.

use std::collections::BTreeMap;
use std::path::Path;

use icloud_simulator::{Content, FaultAction, FaultRule, NewAsset, PRIMARY_ZONE, RequestKind};

use super::{Installed, files};

/// 2026-11-05 10:00:00 UTC in milliseconds.
const NOVEMBER: i64 = 1_793_872_800_000;

const DAY: i64 = 24 * 60 * 60 * 1000;

fn content(number: u64) -> Content {
    Content::Generated { seed: 7_000 + number, size: 1_000 + number }
}

/// The shared library.
const SHARED: &str = "SharedSync-12345678-ABCD";

/// Returns the number of assets: 300, or that of the variable `PLAKAR_ICLOUD_PHOTOS`, at least 100.
fn count() -> u64 {
    std::env::var("PLAKAR_ICLOUD_PHOTOS").map_or(300, |count| count.parse().expect("PLAKAR_ICLOUD_PHOTOS is no number"))
}

/// Returns how many years and months before [`NOVEMBER`] an asset was taken.
fn age(number: u64) -> (i64, i64) {
    let months = (number / 100).cast_signed();
    (months / 11, months % 11)
}

fn taken_ms(number: u64) -> i64 {
    let (years, months) = age(number);
    // Mean lengths: the days stay at the beginning of the month.
    let hours = years * 8_766 + months * 730;
    NOVEMBER - hours * 3_600_000 + number.cast_signed()
}

/// Returns the path of the original of an asset, without the extension.
fn path_of(number: u64) -> String {
    let (years, months) = age(number);
    format!("/Library/{}/{:02}/IMG_{:04}", 2026 - years, 11 - months, number % 100)
}

/// Returns an asset of the library, and adds its files to those that a backup must have.
fn asset(number: u64, expected: &mut BTreeMap<String, String>) -> NewAsset {
    let (name, taken) = (format!("IMG_{:04}", number % 100), taken_ms(number));
    let mut path = path_of(number);
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

/// Fills the library, and returns the ids of its assets. Of 300 assets, 30 are live, 20 edited, 10 RAW and 30 videos,
/// some are hidden, favourites or of bursts, and each name occurs once in each of three months. Six more assets are twins
/// with the name of an earlier one. Albums are in folders. A shared library and two shared albums are beside it.
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
        for number in (8..count()).step_by(50) {
            let content = content(60_000 + number);
            let (name, taken) = (format!("IMG_{:04}", number % 100), taken_ms(number));
            let asset = NewAsset {
                added_ms: NOVEMBER + DAY,
                ..NewAsset::image(&format!("{name}.HEIC"), taken, content.clone())
            };
            let id = library.add(PRIMARY_ZONE, asset);
            expected.insert(format!("{} ({}).HEIC", path_of(number), &id[..8]), content.sha256());
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

/// Checks the restored photos and videos, and shows only those that differ.
fn assert_restored(folder: &Path, expected: &BTreeMap<String, String>) {
    let found = media(folder);
    let differs = |path: &&String| found.get(*path) != expected.get(*path);
    let wrong: Vec<&String> = found.keys().chain(expected.keys()).filter(differs).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Every file of a library is the same after a backup and a restore, each content is read once, and
/// the albums are restored. Later backups read only changed files.
#[tokio::test]
async fn a_library_is_backed_up_once_and_restored() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    let mut expected = BTreeMap::new();
    let ids = fill(&installed, &mut expected);
    plakar.define("source", "photos", &icloud.settings("icloud://photos")).await.unwrap();
    installed.at_plain(&["backup", "@photos"]).await;
    assert_eq!(icloud.count(RequestKind::ContentGet), expected.len() as u64);

    let target = plakar.path("restored");
    installed.at_plain(&["restore", "-to", &target]).await;
    assert_restored(target.as_ref(), &expected);
    let restored = files(target.as_ref());
    let linked: Vec<&String> = restored.keys().filter(|path| path.starts_with("/Albums/Album 3/")).collect();
    assert_eq!(linked.len(), 26, "{linked:?}"); // with the list of paths
    assert_eq!(restored["/Albums/Album 0/0001 IMG_0000.HEIC"], expected["/Library/2026/11/IMG_0000.HEIC"]);
    assert_eq!(restored["/Albums/Folder 6/Album 6/0001 IMG_0050.HEIC"], expected["/Library/2026/10/IMG_0050.HEIC"]);
    let twins = count().saturating_sub(8).div_ceil(50) as usize;
    let sidecars = restored.keys().filter(|path| path.ends_with(".xmp")).count();
    assert_eq!(sidecars, ids.len() + twins + 60);
    assert_valid_sidecars(target.as_ref(), sidecars);

    icloud.simulator.reset_counts();
    installed.at_plain(&["backup", "@photos"]).await;
    assert_eq!(icloud.count(RequestKind::ContentGet), 0);

    // 50 changes. Of the ten edited ones, one is a video, whose edited image is a poster.
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
        for id in &ids[30..40] {
            library.change(PRIMARY_ZONE, id, |asset| asset.favorite = true);
        }
        for number in 0..10 {
            let new = content(50_000 + number);
            expected.insert(format!("/Library/2026/11/NEW_{number}.HEIC"), new.sha256());
            library.add(PRIMARY_ZONE, NewAsset::image(&format!("NEW_{number}.HEIC"), NOVEMBER, new));
        }
    });
    for number in (0..10).filter(|&number| number != 4) {
        expected.insert(format!("{} (edited).JPG", path_of(number)), content(9).sha256());
    }
    expected.retain(|path, _| (20..30).all(|number| !path.starts_with(&format!("{}.", path_of(number)))));
    installed.at_plain(&["backup", "@photos"]).await;
    assert_eq!(icloud.count(RequestKind::ContentGet), 9 + 10);
    installed.at_plain(&["check"]).await;

    let target = plakar.path("restored again");
    installed.at_plain(&["restore", "-to", &target]).await;
    assert_restored(target.as_ref(), &expected);
    let restored = files(target.as_ref());
    assert_eq!(restored["/Favorites/2026-11 IMG_0030.HEIC"], expected["/Library/2026/11/IMG_0030.HEIC"]);
    assert!(restored.contains_key("/Albums/Album 0/0020 IMG_0019.HEIC"));
    assert_eq!(restored.keys().filter(|path| path.starts_with("/Albums/Album 0/")).count(), 21); // five are gone
    plakar.surroundings().deserted().await.unwrap();
}

/// Checks all sidecars below a folder with exiftool.
fn assert_valid_sidecars(folder: &Path, count: usize) {
    let mut exiftool = std::process::Command::new("exiftool");
    exiftool.args(["-quiet", "-json", "-n", "-recurse", "-ext", "xmp", "-validate"]).arg(folder);
    let Ok(output) = exiftool.output() else {
        plakar_host::skipped("exiftool is not on PATH, so the sidecars were not checked");
        return;
    };
    let checked: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(checked.len(), count);
    for sidecar in checked {
        assert_eq!(sidecar["Validate"], "0 0 0", "{sidecar}");
    }
}

/// A library that the service always refuses is one error of a few requests, and the rest is saved in spite of faults,
/// expired addresses and sessions that end.
#[tokio::test]
async fn a_library_is_saved_in_spite_of_faults() {
    const BROKEN: &str = "SharedSync-87654321-DCBA";
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    let mut expected = BTreeMap::new();
    fill(&installed, &mut expected);
    let simulator = &icloud.simulator;
    simulator.photos(|library| {
        library.add_zone(BROKEN, true);
        library.add(BROKEN, NewAsset::image("x.JPG", NOVEMBER, content(1)));
    });
    let status = |status: u16| FaultAction::Status { status, body: String::new(), headers: BTreeMap::new() };
    let broken = simulator.add_fault(FaultRule::new(RequestKind::PhotosQuery, status(400)).matching(BROKEN));
    for kind in [RequestKind::PhotosQuery, RequestKind::PhotosLookup, RequestKind::ContentGet] {
        simulator.add_fault(FaultRule::new(kind, FaultAction::ResetBefore).probability(0.05));
        simulator.add_fault(FaultRule::new(kind, status(503)).probability(0.05));
    }
    simulator.add_fault(FaultRule::new(RequestKind::ContentGet, status(410)).probability(0.05));
    simulator.end_sessions_after(100, 421);
    let settings = icloud.settings("icloud://photos").with("password", "correct horse");
    plakar.define("source", "photos", &settings).await.unwrap();
    installed.at_plain(&["backup", "@photos"]).await;
    // plakar starts two importers.
    let refused = simulator.faults_applied()[&broken];
    assert!((1..=10).contains(&refused), "{refused} requests");

    let target = plakar.path("restored");
    installed.at_plain(&["restore", "-to", &target]).await;
    assert_restored(target.as_ref(), &expected);
    plakar.surroundings().deserted().await.unwrap();
}
