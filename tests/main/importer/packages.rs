//! Packages, whose content is an archive that the service creates for each download.

use std::collections::BTreeMap;

use bytes::Bytes;
use icloud_simulator::{FaultAction, FaultRule, RequestKind};

use crate::icloud::{ICloud, MODIFIED, digests};

const SIZE: usize = 3_000_000;

fn with_package() -> ICloud {
    let icloud = ICloud::new();
    icloud.put("file.txt", b"content");
    let entries = [("projectData".to_owned(), Bytes::from(vec![7; SIZE]))];
    icloud.simulator.put_package("song.band", &entries, Some(SIZE as u64), MODIFIED);
    icloud
}

fn cut(bytes: u64, clean: bool) -> FaultRule {
    FaultRule::new(RequestKind::ContentGet, FaultAction::Truncate { bytes, clean }).matching("song.band")
}

#[tokio::test]
async fn a_broken_download_of_a_package_is_repeated_from_its_start() {
    let icloud = with_package();
    let broken = icloud.simulator.add_fault(cut(2_500_000, false).times(2));
    let snapshot = icloud.backup("icloud://").await;
    assert_eq!(snapshot.errors, BTreeMap::new());
    assert!(digests(&snapshot).contains_key("/song.band"));
    assert_eq!(icloud.simulator.faults_applied()[&broken], 2);
}

/// Two archives of a package differ in the times of its folders.
#[tokio::test]
async fn two_backups_of_a_package_are_equal() {
    let icloud = ICloud::new();
    let entries = [
        ("projectData".to_owned(), Bytes::from(vec![7; SIZE])),
        ("Media/empty/".to_owned(), Bytes::new()),
        ("Media/a.txt".to_owned(), Bytes::from_static(b"a")),
    ];
    icloud.simulator.put_package("song.band", &entries, None, MODIFIED);
    let first = icloud.backup("icloud://").await;
    let second = icloud.backup("icloud://").await;
    assert_eq!(first.opened.len() + second.opened.len(), 2);
    assert_eq!(digests(&first), digests(&second));
    let content = first.entries["/song.band"].content.as_ref().unwrap().bytes.clone().unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(content)).unwrap();
    let mut media = archive.by_name("song.band/Media/a.txt").unwrap();
    assert_eq!(std::io::read_to_string(&mut media).unwrap(), "a");
}

/// Packages that were recognised are stored by their ids, whatever their extensions.
#[tokio::test]
async fn an_unchanged_package_is_not_downloaded_again() {
    let icloud = ICloud::new();
    let entries = [("data".to_owned(), Bytes::from(vec![7; SIZE]))];
    for name in ["song.band", "notes.unknown", "without extension"] {
        icloud.simulator.put_package(name, &entries, None, MODIFIED);
    }
    let first = icloud.backup("icloud://").await;
    assert_eq!((first.errors.clone(), first.opened.len()), (BTreeMap::new(), 3));
    icloud.simulator.reset_counts();
    let second = icloud.backup_after("icloud://", &first).await;
    assert!(second.opened.is_empty(), "opened {:?}", second.opened);
    assert_eq!(icloud.count(RequestKind::ById) + icloud.count(RequestKind::ContentGet), 0);
}

#[tokio::test]
async fn an_incomplete_archive_of_a_package_is_an_error() {
    let icloud = with_package();
    icloud.simulator.add_fault(cut(20_000, true));
    let snapshot = icloud.backup("icloud://").await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/song.band"]);
    assert!(snapshot.errors["/song.band"].contains("zip"), "{:?}", snapshot.errors);
    assert!(snapshot.entries.contains_key("/file.txt") && !snapshot.entries.contains_key("/song.band"));
}
