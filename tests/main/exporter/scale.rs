//! Large restores.

use std::collections::BTreeMap;

use bytes::Bytes;
use icloud_simulator::{FaultAction, FaultRule, RequestKind};
use plakar_host::{Exported, Options, Tree};

use crate::icloud::ICloud;

/// Returns a number, or with `PLAKAR_ICLOUD_FULL_SIZE=1` the larger one.
pub fn sized<T>(usual: T, full: T) -> T {
    if std::env::var_os("PLAKAR_ICLOUD_FULL_SIZE").is_some_and(|value| value == "1") { full } else { usual }
}

async fn restore(icloud: &ICloud, tree: &Tree) -> Exported {
    icloud.host.restore(&icloud.settings("icloud:///to"), &Options::default(), tree).await.unwrap()
}

fn many(count: usize) -> Tree {
    (0..count).fold(Tree::new().folder("/"), |tree, n| tree.file(&format!("/{n:05}"), format!("content {n}")))
}

#[tokio::test]
async fn many_files_in_one_folder_are_restored() {
    let count = sized(1_000, 10_000);
    let icloud = ICloud::new();
    let tree = many(count);
    restore(&icloud, &tree).await.end.unwrap();
    assert_eq!(icloud.contents().len(), count);
    assert_eq!(icloud.count(RequestKind::ContentPost), count as u64);
    assert!(icloud.count(RequestKind::List) <= 3, "{}", icloud.count(RequestKind::List));
    let snapshot = icloud.backup("icloud:///to").await;
    assert_eq!(crate::icloud::digests(&snapshot).len(), count);
}

#[tokio::test]
async fn folders_in_folders_are_restored() {
    let depth = sized(200, 1_000);
    let icloud = ICloud::new();
    let mut tree = Tree::new().folder("/");
    let mut path = String::new();
    for level in 0..depth {
        path = format!("{path}/{level}");
        tree = tree.folder(&path);
    }
    tree = tree.file(&format!("{path}/deepest"), "deep");
    for _ in 0..2 {
        restore(&icloud, &tree).await.end.unwrap();
        assert_eq!(icloud.contents().into_keys().collect::<Vec<_>>(), [format!("/to{path}/deepest")]);
    }
    let folders = icloud.simulator.snapshot().iter().filter(|item| item.folder).count();
    assert_eq!(folders, depth + 1);
}

/// A file is larger than the memory that its restore takes.
#[tokio::test]
async fn a_large_file_takes_little_memory() {
    let size = 300 * 1024 * 1024;
    let icloud = ICloud::new();
    let exporter = icloud.host.exporter(&icloud.settings("icloud:///to"), &Options::default()).await.unwrap();
    let tree = Tree::new().folder("/").file("/large.bin", Bytes::from(vec![7; size]));
    exporter.export(&tree).await.unwrap().end.unwrap();
    let resident = exporter.connector().resident();
    exporter.into_connector().leave().await.unwrap();
    assert_eq!(icloud.simulator.content("to/large.bin").unwrap().size(), size as u64);
    if let Some(resident) = resident {
        assert!(resident.most <= 128 * 1024, "{resident:?}");
    }
}

/// Of all requests, a twentieth fails, in three ways.
#[tokio::test]
async fn frequent_faults_lose_nothing_and_send_little_twice() {
    let count = sized(300, 3_000);
    let icloud = ICloud::new();
    for action in [
        FaultAction::Status { status: 503, body: String::new(), headers: BTreeMap::new() },
        FaultAction::ResetBefore,
        FaultAction::ResetAfter,
    ] {
        icloud.simulator.add_fault(FaultRule::any(action).probability(0.05 / 3.0));
    }
    let exported = restore(&icloud, &many(count)).await;
    assert_eq!(exported.errors(), BTreeMap::new());
    exported.end.unwrap();
    icloud.simulator.clear_faults();
    let expected: BTreeMap<String, String> = (0..count)
        .map(|n| (format!("/to/{n:05}"), icloud_simulator::Content::from(format!("content {n}").as_bytes()).sha256()))
        .collect();
    assert_eq!(icloud.contents(), expected);
    assert!(icloud.simulator.trash().is_empty());
    let sent = icloud.count(RequestKind::ContentPost);
    assert!(sent * 10 <= count as u64 * 11, "{sent} bodies for {count} files");
}
