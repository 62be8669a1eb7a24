//! Packages that are saved as folders.

use std::collections::BTreeMap;

use bytes::Bytes;
use icloud_simulator::{Content, FaultAction, FaultRule, Mutation, RequestKind};
use plakar_host::{Backup, Options, Snapshot};
use serde_json::Value;

use crate::icloud::{ICloud, MODIFIED, assert_sound, digests, hex};

fn song() -> Vec<(String, Bytes)> {
    vec![
        ("Media/empty/".to_owned(), Bytes::new()),
        ("Media/a.wav".to_owned(), Bytes::from(vec![1; 2_500_000])),
        ("Media/deep/er/b.wav".to_owned(), Bytes::from_static(b"b")),
        ("projectData".to_owned(), Bytes::from(vec![7; 70_000])),
        ("silence".to_owned(), Bytes::new()),
    ]
}

/// The paths of a package in a snapshot, without the slash at the end of an empty folder.
const PATHS: [&str; 9] = [
    "/docs/song.band",
    "/docs/song.band/Media",
    "/docs/song.band/Media/a.wav",
    "/docs/song.band/Media/deep",
    "/docs/song.band/Media/deep/er",
    "/docs/song.band/Media/deep/er/b.wav",
    "/docs/song.band/Media/empty",
    "/docs/song.band/projectData",
    "/docs/song.band/silence",
];

fn with_song() -> ICloud {
    let icloud = ICloud::new();
    icloud.put("docs/file.txt", b"content");
    icloud.put("docs/z/last.txt", b"last");
    icloud.simulator.put_package("docs/song.band", &song(), None, MODIFIED);
    icloud
}

/// Returns the snapshot and the summary.
async fn backup(icloud: &ICloud, options: &Options, parent: Option<&Snapshot>) -> (Snapshot, Value) {
    icloud.simulator.reset_counts();
    let file = icloud.host.surroundings().root().join("summary.json");
    let settings = icloud.settings("icloud://").with("packages", "tree").with("summary", file.to_str().unwrap());
    let backup = parent.map_or_else(Backup::first, Backup::after);
    let snapshot = icloud.host.backup(&settings, options, backup).await.unwrap();
    (snapshot, serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}

async fn saved(icloud: &ICloud, parent: Option<&Snapshot>) -> Snapshot {
    backup(icloud, &Options::default(), parent).await.0
}

fn downloads(icloud: &ICloud) -> u64 {
    icloud.count(RequestKind::ContentGet)
}

#[tokio::test]
async fn a_package_is_a_folder_in_the_snapshot() {
    let icloud = with_song();
    let (first, summary) = backup(&icloud, &Options::concurrency(1), None).await;
    assert_sound(&first);
    let paths: Vec<&str> = first.entries.keys().map(String::as_str).filter(|path| path.contains("song")).collect();
    assert_eq!(paths, PATHS);
    let digests = digests(&first);
    for (name, content) in song().iter().filter(|(name, _)| !name.ends_with('/')) {
        assert_eq!(digests[&format!("/docs/song.band/{name}")], hex(&plakar_host::digest(content)), "{name}");
    }
    let numbers = ["files", "folders", "read", "unchanged", "packages", "failed"].map(|name| summary[name].as_u64());
    assert_eq!(numbers, [6, 8, 6, 0, 1, 0].map(Some), "{summary}");
    // plakar reads the folders of its last snapshot in this order.
    let folders: Vec<&str> =
        first.received.iter().filter_map(|path| path.rsplit_once('/')).map(|(folder, _)| folder).collect();
    let mut unique = folders.clone();
    unique.dedup();
    unique.retain(|folder| folder.contains("song.band/") || folder.ends_with("song.band"));
    assert_eq!(unique, PATHS[0..2].iter().chain(&PATHS[3..5]).copied().collect::<Vec<_>>());

    let (second, summary) = backup(&icloud, &Options::default(), Some(&first)).await;
    assert_sound(&second);
    assert!(second.opened.is_empty(), "opened {:?}", second.opened);
    assert_eq!(icloud.count(RequestKind::ById) + downloads(&icloud), 0);
    assert_eq!(second.entries.keys().collect::<Vec<_>>(), first.entries.keys().collect::<Vec<_>>());
    assert_eq!((summary["unchanged"].as_u64(), summary["packages"].as_u64()), (Some(6), Some(1)), "{summary}");
    let third = saved(&icloud, Some(&second)).await;
    assert_eq!((third.opened.len(), downloads(&icloud)), (0, 0), "the second backup stores the forms, too");
}

/// A backup to another kloset reads the files of a package that is known from the first one.
#[tokio::test]
async fn a_known_package_is_downloaded_once_for_all_its_files() {
    let icloud = with_song();
    let first = saved(&icloud, None).await;
    let second = saved(&icloud, None).await;
    assert_sound(&second);
    assert_eq!(digests(&first), digests(&second));
    let song = icloud
        .simulator
        .requests()
        .into_iter()
        .filter(|request| request.subjects.iter().any(|subject| subject.contains("song.band")));
    assert_eq!(song.filter(|request| request.kind == RequestKind::ContentGet).count(), 1);
}

/// Two archives of a package may differ in all times and in their order.
#[tokio::test]
async fn two_downloads_of_a_package_give_equal_snapshots() {
    let icloud = with_song();
    icloud.simulator.rules(|rules| rules.drive.package_varies = true);
    let first = saved(&icloud, None).await;
    std::fs::remove_dir_all(icloud.host.surroundings().home().join(".local/state/plakar-icloud/kept")).unwrap();
    icloud.put("another.txt", b"so that the next archive is the second of two");
    let second = saved(&icloud, Some(&first)).await;
    assert!(downloads(&icloud) > 1);
    assert_eq!(second.opened.iter().collect::<Vec<_>>(), ["/another.txt"]);
    for path in PATHS {
        assert_eq!(first.entries[path].info, second.entries[path].info);
    }
}

#[tokio::test]
async fn only_a_changed_package_is_downloaded() {
    let icloud = with_song();
    for name in ["other.band", "third.band"] {
        icloud.simulator.put_package(&format!("docs/{name}"), &song(), None, MODIFIED);
    }
    let first = saved(&icloud, None).await;
    let mut changed = song();
    changed[3].1 = Bytes::from_static(b"changed");
    icloud.simulator.put_package("docs/song.band", &changed, None, MODIFIED + 1000);
    let second = saved(&icloud, Some(&first)).await;
    assert_sound(&second);
    assert_eq!(downloads(&icloud), 1);
    let content = second.entries["/docs/song.band/projectData"].content.as_ref().unwrap();
    assert_eq!(content.bytes.as_deref(), Some(&b"changed"[..]));
    assert!(second.opened.iter().all(|path| path.starts_with("/docs/song.band/")), "{:?}", second.opened);
}

/// Its archive is saved, so that nothing is lost.
#[tokio::test]
async fn a_package_that_cannot_be_unpacked_is_an_error_and_saved_as_an_archive() {
    let icloud = with_song();
    let entries = [("../../evil".to_owned(), Bytes::from_static(b"evil")), ("good".to_owned(), Bytes::new())];
    icloud.simulator.put_package("docs/evil.band", &entries, None, MODIFIED);
    let (first, summary) = backup(&icloud, &Options::default(), None).await;
    assert_eq!(first.errors.keys().collect::<Vec<_>>(), ["/docs/evil.band"]);
    assert!(first.errors["/docs/evil.band"].contains("evil.band/../"), "{:?}", first.errors);
    assert_eq!((summary["result"].as_str(), summary["failed"].as_u64()), (Some("partial"), Some(1)), "{summary}");
    let content = first.entries["/docs/evil.band"].content.as_ref().unwrap().bytes.clone().unwrap();
    assert_eq!(zip::ZipArchive::new(std::io::Cursor::new(content)).unwrap().len(), 5);
    assert!(first.entries.keys().all(|path| !path.ends_with("/evil")), "{:?}", first.entries.keys());
    let second = saved(&icloud, Some(&first)).await;
    assert_eq!(second.errors, first.errors);
    assert_eq!(downloads(&icloud), 0);
}

#[tokio::test]
async fn a_package_of_more_than_a_gigabyte_is_saved_as_an_archive() {
    let icloud = with_song();
    let first = saved(&icloud, None).await;
    icloud.simulator.put_package("docs/song.band", &song(), Some(2 << 30), MODIFIED + 1000);
    let second = saved(&icloud, Some(&first)).await;
    assert_eq!(second.errors.keys().collect::<Vec<_>>(), ["/docs/song.band"]);
    assert!(second.errors["/docs/song.band"].contains("more than a gigabyte"), "{:?}", second.errors);
    let archive = second.entries["/docs/song.band"].content.as_ref().unwrap().bytes.clone().unwrap();
    assert!(zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap().by_name("song.band/silence").is_ok());
}

/// Documents of Pages are files or packages. Only the response to a request for their addresses
/// shows which.
#[tokio::test]
async fn a_file_that_may_be_a_package_is_downloaded_once() {
    let icloud = with_song();
    icloud.simulator.put_file("docs/letter.pages", Content::Generated { seed: 3, size: 2_000_000 }, MODIFIED);
    icloud.put("docs/blank.pages", b"");
    let first = saved(&icloud, None).await;
    assert_sound(&first);
    let mut contents = digests(&first);
    contents.retain(|path, _| !path.contains("song.band"));
    let mut expected = icloud.contents();
    expected.retain(|path, _| !path.contains("song.band"));
    assert_eq!(contents, expected);
    assert_eq!(downloads(&icloud), 5, "{:?}", icloud.simulator.requests());
    let second = saved(&icloud, Some(&first)).await;
    assert_eq!((second.opened.len(), downloads(&icloud)), (0, 0));
}

#[tokio::test]
async fn excludes_apply_to_the_items_of_a_package() {
    let icloud = with_song();
    let options = Options::default().excluding(["*.wav", "deep/", "!b.wav"]);
    let (snapshot, summary) = backup(&icloud, &options, None).await;
    assert_sound(&snapshot);
    let paths: Vec<&str> = snapshot.entries.keys().map(String::as_str).filter(|path| path.contains("Media")).collect();
    assert_eq!(paths, ["/docs/song.band/Media", "/docs/song.band/Media/empty"]);
    assert_eq!(summary["excluded"], 2, "{summary}");
}

#[tokio::test]
async fn a_package_that_cannot_be_downloaded_is_an_error() {
    let icloud = with_song();
    let cut = FaultAction::Truncate { bytes: 20_000, clean: true };
    icloud.simulator.add_fault(FaultRule::new(RequestKind::ContentGet, cut).matching("song.band"));
    let (snapshot, summary) = backup(&icloud, &Options::default(), None).await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/docs/song.band"]);
    assert_eq!(snapshot.contents().len(), 2);
    assert_eq!(summary["result"], "partial", "{summary}");
    icloud.simulator.clear_faults();
    let second = saved(&icloud, Some(&snapshot)).await;
    assert_eq!(second.errors, BTreeMap::new());
    assert_eq!(second.entries.keys().filter(|path| path.contains("song")).collect::<Vec<_>>(), PATHS);
}

/// A package that has changed since its items were stored.
#[tokio::test]
async fn a_file_of_another_version_of_a_package_is_never_saved() {
    let icloud = with_song();
    saved(&icloud, None).await;
    icloud.hold(RequestKind::ById, "addresses");
    let changing = async {
        icloud.until(RequestKind::ById, 1).await;
        let changed = [("projectData".to_owned(), Bytes::from_static(b"changed"))];
        icloud.simulator.put_package("docs/song.band", &changed, None, MODIFIED + 1000);
        icloud.simulator.release("addresses");
    };
    let (snapshot, ()) = tokio::join!(saved(&icloud, None), changing);
    let failed: Vec<&String> = snapshot.errors.keys().filter(|path| path.contains("song.band/")).collect();
    assert_eq!(failed.len(), 4, "{:?}", snapshot.errors);
    assert!(snapshot.errors.values().all(|error| error.contains("changed")), "{:?}", snapshot.errors);
    icloud.simulator.mutate("docs/file.txt", Mutation::Touch { modified_ms: MODIFIED }).unwrap();
    assert_sound(&saved(&icloud, Some(&snapshot)).await);
}
