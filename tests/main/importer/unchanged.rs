//! Unchanged files are not read again, and changed files are.

use icloud_simulator::{Content, Mutation, RequestKind, Rules};
use plakar_host::{Backup, Options};

use crate::disk::Disk;
use crate::icloud::{ICloud, MODIFIED, assert_sound, digests};

#[tokio::test]
async fn a_second_backup_of_an_unchanged_source_downloads_nothing() {
    let icloud = ICloud::new();
    icloud.furnish();
    let first = icloud.backup("icloud://").await;
    assert_sound(&first);
    assert_eq!(digests(&first), icloud.contents());
    icloud.simulator.reset_counts();
    let second = icloud.backup_after("icloud://", &first).await;
    assert_sound(&second);
    assert!(second.opened.is_empty(), "opened {:?}", second.opened);
    assert_eq!(icloud.count(RequestKind::ById) + icloud.count(RequestKind::ContentGet), 0);
    assert_eq!(digests(&second), icloud.contents());
}

/// A file of which only the modification time has changed is opened again, and no other file is.
#[tokio::test]
async fn a_time_that_differs_by_one_nanosecond_is_a_change() {
    let disk = Disk::new();
    for name in ["a", "b", "c"] {
        disk.put(name, name);
    }
    let first = disk.backup().await;
    disk.set_modified("b", 1_700_000_000, 1);
    let second = disk.backup_after(&first).await;
    assert_eq!(second.opened.into_iter().collect::<Vec<_>>(), [disk.path("b").to_str().unwrap()]);
}

/// A file of which only the modification time or the version has changed is opened again, and no
/// other file is.
#[tokio::test]
async fn files_with_another_time_etag_or_size_are_read_again() {
    let icloud = ICloud::new();
    for name in ["etag", "same", "size", "time"] {
        icloud.put(name, name.as_bytes());
    }
    let first = icloud.backup("icloud://").await;
    let write = |content: &[u8]| Mutation::Write { content: Content::from(content), modified_ms: MODIFIED };
    icloud.simulator.mutate("etag", write(b"gate")).unwrap();
    icloud.simulator.mutate("size", write(b"sizes")).unwrap();
    icloud.simulator.mutate("time", Mutation::Touch { modified_ms: MODIFIED + 1000 }).unwrap();
    let second = icloud.backup_after("icloud://", &first).await;
    assert_eq!(second.opened.iter().collect::<Vec<_>>(), ["/etag", "/size", "/time"]);
    assert_eq!(digests(&second), icloud.contents());
}

/// A file of which only the version has changed, at the same size and time, is opened again.
#[tokio::test]
async fn a_new_etag_alone_is_a_change() {
    let icloud = ICloud::new();
    icloud.put("a", b"a");
    icloud.put("b", b"b");
    let first = icloud.backup("icloud://").await;
    icloud.simulator.mutate("b", Mutation::BumpEtag).unwrap();
    let second = icloud.backup_after("icloud://", &first).await;
    assert_eq!(second.opened.iter().collect::<Vec<_>>(), ["/b"]);
}

/// Files that follow changed files are read ahead only if they have changed, too, or if plakar turns out to read
/// unchanged files, as for a backup to another kloset.
#[tokio::test]
async fn unchanged_files_are_not_read_ahead() {
    let icloud = ICloud::new();
    for number in 0..60 {
        icloud.put(&format!("{number:02}"), b"content");
    }
    let first = icloud.backup("icloud://").await;
    assert_eq!(icloud.count(RequestKind::ContentGet), 60);
    let changed: Vec<String> = (0..60).filter(|number| number % 10 < 4).map(|number| format!("{number:02}")).collect();
    for name in &changed {
        icloud.simulator.mutate(name, Mutation::BumpEtag).unwrap();
    }
    icloud.simulator.reset_counts();
    let second = icloud.backup_after("icloud://", &first).await;
    assert_eq!(digests(&second), icloud.contents());
    assert_eq!(icloud.count(RequestKind::ContentGet), changed.len() as u64);

    icloud.simulator.reset_counts();
    let other = icloud.backup("icloud://").await;
    assert_eq!(digests(&other), icloud.contents());
    assert_eq!(icloud.count(RequestKind::ContentGet), 60);
}

/// Init must work without the network, and must still report a root under which plakar finds the
/// parent snapshot.
#[tokio::test]
async fn the_root_of_a_source_does_not_depend_on_the_network() {
    let icloud = ICloud::new();
    icloud.put("docs/v1.2/a.txt", b"a");
    icloud.put("docs/b.txt", b"b");
    let root_without_requests = async |location: &str| {
        icloud.simulator.reset_counts();
        let importer = icloud.host.importer(&icloud.settings(location), &Options::default()).await.unwrap();
        assert_eq!(icloud.simulator.counts().total.requests, 0, "{location}");
        importer.identity().root.clone()
    };
    for _ in 0..2 {
        assert_eq!(root_without_requests("icloud:///docs/v1.2").await, "/docs/v1.2");
        icloud.backup("icloud:///docs/v1.2").await;
    }
    icloud.backup("icloud:///docs/b.txt").await;
    assert_eq!(root_without_requests("icloud:///docs/b.txt").await, "/docs");
    icloud.simulator.mutate("docs/b.txt", Mutation::Erase).unwrap();
    icloud.put("docs/b.txt/c.txt", b"c");
    icloud.backup("icloud:///docs/b.txt").await;
    assert_eq!(root_without_requests("icloud:///docs/b.txt").await, "/docs/b.txt");
}

/// A second backup of a single file does not open it.
#[tokio::test]
async fn a_source_of_a_single_file_is_read_once() {
    let icloud = ICloud::new();
    icloud.put("docs/report.txt", b"report");
    icloud.put("docs/other.txt", b"other");
    let first = icloud.backup("icloud:///docs/report.txt").await;
    assert_sound(&first);
    assert_eq!(first.files().map(|(path, _)| path).collect::<Vec<_>>(), ["/docs/report.txt"]);
    assert_eq!(first.root, "/docs");
    let second = icloud.backup_after("icloud:///docs/report.txt", &first).await;
    assert!(second.opened.is_empty(), "opened {:?}", second.opened);
}

/// Two drives with the same paths are different sources.
#[tokio::test]
async fn another_account_is_another_source() {
    let [one, other] = ["one@example.com", "other@example.com"].map(|apple_id| {
        let mut rules = Rules::default();
        rules.account.apple_id = apple_id.to_owned();
        let icloud = ICloud::with(icloud_simulator::Config { rules, ..Default::default() });
        icloud.put("a.txt", apple_id.as_bytes());
        icloud
    });
    let parent = one.backup("icloud://").await;
    assert_eq!((parent.origin.as_str(), parent.kind.as_str()), ("one@example.com", "icloud"));
    let snapshot = other.backup_after("icloud://", &parent).await;
    assert_eq!(snapshot.opened.len(), 1);
    assert_eq!(digests(&snapshot), other.contents());
}

/// The link has the same time and size as before.
#[cfg(unix)]
#[tokio::test]
async fn a_link_with_another_target_is_stored_again() {
    use std::os::unix::fs::symlink;

    let disk = Disk::new();
    disk.put("a", "a");
    for links in ["false", "true"] {
        let settings = disk.settings().with("rclone_links", links);
        let _ = std::fs::remove_file(disk.path("link"));
        symlink("a", disk.path("link")).unwrap();
        let first = disk.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap();
        std::fs::remove_file(disk.path("link")).unwrap();
        symlink("b", disk.path("link")).unwrap();
        let second = disk.host.backup(&settings, &Options::default(), Backup::after(&first)).await.unwrap();
        assert_sound(&second);
        assert_eq!(first.entries.len(), second.entries.len());
    }
}
