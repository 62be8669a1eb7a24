//! Packages, whose content is an archive that the service creates for each download.

use std::collections::BTreeMap;

use bytes::Bytes;
use icloud_simulator::{FaultAction, FaultRule, RequestKind};
use plakar_host::{Backup, Options};

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

/// Only opening shows that such a document is a package. Until then, it looks like an empty file.
#[tokio::test]
async fn a_package_that_is_listed_with_no_bytes_is_saved() {
    for tree in [false, true] {
        let icloud = ICloud::new();
        let entries = [("data".to_owned(), Bytes::from(vec![7; 1000]))];
        icloud.simulator.put_package("notes.unknown", &entries, Some(0), MODIFIED);
        icloud.put("empty.txt", b"");
        let mut settings = icloud.settings("icloud://");
        if tree {
            settings = settings.with("packages", "tree");
        }
        let first = icloud.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap();
        assert_eq!(first.errors, BTreeMap::new());
        let entry = &first.entries["/notes.unknown"];
        let content = entry.content.as_ref().unwrap();
        assert_eq!(entry.info.size.cast_unsigned(), content.size);
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(content.bytes.clone().unwrap())).unwrap();
        assert_eq!(archive.by_name("notes.unknown/data").unwrap().size(), 1000);
        assert_eq!(first.entries["/empty.txt"].info.size, 0);
        icloud.simulator.reset_counts();
        let second = icloud.host.backup(&settings, &Options::default(), Backup::after(&first)).await.unwrap();
        assert_eq!(second.errors, BTreeMap::new());
        if tree {
            assert!(second.entries.contains_key("/notes.unknown/data"), "{:?}", second.entries.keys());
        } else {
            assert!(second.opened.is_empty(), "{:?}", second.opened);
            assert_eq!(icloud.count(RequestKind::ById) + icloud.count(RequestKind::ContentGet), 0);
        }
    }
}

/// Whether or not the service has addresses for empty files.
#[tokio::test]
async fn empty_files_are_confirmed_by_the_service() {
    for empty_content in [true, false] {
        let icloud = ICloud::new();
        icloud.simulator.rules(|rules| rules.drive.empty_content = empty_content);
        for name in ["a", "b", "c"] {
            icloud.put(name, b"");
        }
        icloud.put("theirs/empty", b"");
        icloud.simulator.share("theirs").unwrap();
        let first = icloud.backup("icloud://").await;
        let mut expected = icloud.contents();
        if empty_content {
            assert_eq!(first.errors, BTreeMap::new());
        } else {
            // The service names an address for the file that another account shares, and refuses it.
            assert_eq!(first.errors.keys().collect::<Vec<_>>(), ["/theirs/empty"]);
            expected.remove("/theirs/empty");
        }
        assert_eq!(digests(&first), expected);
        // The shared file is looked up in another way, without a checksum.
        assert!(icloud.count(RequestKind::ById) <= 3);
        assert!(icloud.count(RequestKind::ContentGet) <= 1);
    }
    // A file that is not empty although it is listed with no bytes.
    let icloud = ICloud::new();
    icloud.put("docs/a", b"content");
    let mut wrong = icloud.listing("docs");
    if let FaultAction::Replace { text, .. } = &mut wrong.action {
        *text = text.replace(r#""size":7"#, r#""size":0"#);
    }
    icloud.simulator.add_fault(wrong);
    let lost = icloud.backup("icloud://").await;
    assert_eq!(lost.errors.keys().collect::<Vec<_>>(), ["/docs/a"], "{:?}", lost.contents());
    let icloud = ICloud::new();
    icloud.put("a", b"");
    icloud.simulator.add_fault(icloud.fail(RequestKind::ById, 503));
    let settings = icloud.settings("icloud://").with("tries", "1");
    let lost = icloud.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap();
    assert_eq!(lost.errors.keys().collect::<Vec<_>>(), ["/a"], "what the service did not confirm is no empty file");
}
