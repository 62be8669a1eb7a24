//! Failures of a restore, and what they leave at the destination.

use std::collections::BTreeMap;

use icloud_simulator::{Content, RequestKind};
use plakar_host::{Exported, Options, PATIENCE, Tree};

use crate::icloud::ICloud;

/// Bits of Go's `fs.FileMode`.
const DEVICE: u32 = 1 << 26;
const PIPE: u32 = 1 << 25;

fn tree() -> Tree {
    Tree::new().folder("/").folder("/sub").file("/a.txt", "a").file("/sub/b.txt", "b").file("/sub/c.txt", "c")
}

fn paths(icloud: &ICloud) -> Vec<String> {
    icloud.contents().into_keys().collect()
}

async fn restore(icloud: &ICloud, tree: &Tree) -> Exported {
    icloud.host.restore(&icloud.settings("icloud:///to"), &Options::default(), tree).await.unwrap()
}

/// A file that cannot be stored is an error, the others are restored, and the restore fails at its
/// end.
#[tokio::test]
async fn one_failed_upload_does_not_stop_the_others() {
    let icloud = ICloud::new();
    icloud.simulator.add_fault(icloud.fail(RequestKind::UploadWeb, 400).matching("b.txt"));
    let exported = restore(&icloud, &tree()).await;
    assert_eq!(exported.errors().into_keys().collect::<Vec<_>>(), ["/sub/b.txt"]);
    let end = exported.end.unwrap_err().message();
    assert!(end.starts_with("1 of "), "{end}");
    assert_eq!(paths(&icloud), ["/to/a.txt", "/to/sub/c.txt"]);
}

/// A failed upload is retried from the start of its content. Temporary failures are not reported.
#[tokio::test]
async fn a_failed_upload_is_retried_from_its_start() {
    let icloud = ICloud::new();
    let content = Content::Generated { seed: 5, size: 2_500_000 };
    let tree = tree().file("/large.bin", content.read(0, content.size()));
    icloud.simulator.add_fault(icloud.fail(RequestKind::ContentPost, 503).times(1));
    let exported = restore(&icloud, &tree).await;
    assert_eq!(exported.errors(), BTreeMap::new());
    exported.end.unwrap();
    assert_eq!(icloud.contents()["/to/large.bin"], content.sha256());
}

/// Content that ends early leaves no partial file under the file's name. A call that ends in the
/// middle of a file is an error and stores nothing.
#[tokio::test]
async fn content_that_plakar_cannot_read_to_its_end_is_discarded() {
    let icloud = ICloud::new();
    let start = Content::Generated { seed: 5, size: 2_500_000 };
    let tree = tree().broken("/sub/z.bin", start.read(0, start.size()));
    let exported = restore(&icloud, &tree).await;
    assert!(!exported.acks.iter().any(|ack| ack.record.pathname == "/sub/z.bin"));
    let end = exported.end.unwrap_err().message();
    assert!(end.contains("/sub/z.bin"), "{end}");
    assert_eq!(paths(&icloud), ["/to/a.txt", "/to/sub/b.txt", "/to/sub/c.txt"]);
}

/// A replacement whose content ends early leaves the old file unchanged.
#[tokio::test]
async fn an_incomplete_replacement_leaves_the_old_content() {
    let icloud = ICloud::new();
    icloud.put("to/z.bin", b"old");
    let before = icloud.contents();
    restore(&icloud, &Tree::new().folder("/").broken("/z.bin", "new")).await.end.unwrap_err();
    assert_eq!(icloud.contents(), before);
}

/// An item that the drive cannot store is a separate error and does not end the restore.
#[tokio::test]
async fn items_that_icloud_cannot_store_fail_one_by_one() {
    let icloud = ICloud::new();
    let tree = tree().link("/link", "a.txt").special("/device", DEVICE | 0o600).special("/pipe", PIPE | 0o600);
    let settings = icloud.settings("icloud:///to").with("links", "error");
    let exported = icloud.host.restore(&settings, &Options::default(), &tree).await.unwrap();
    let errors: Vec<&str> = exported.errors().into_keys().collect();
    assert_eq!(errors, ["/device", "/link", "/pipe"]);
    assert_eq!(exported.acks.len(), tree.len());
    assert_eq!(paths(&icloud), ["/to/a.txt", "/to/sub/b.txt", "/to/sub/c.txt"]);
}

/// A path with `..` is refused.
#[tokio::test]
async fn no_path_leads_out_of_the_destination() {
    let icloud = ICloud::new();
    let tree = tree().file("/sub/../../out.txt", "out").file("/../up.txt", "up");
    let exported = restore(&icloud, &tree).await;
    assert_eq!(exported.errors().into_keys().collect::<Vec<_>>(), ["/../up.txt", "/sub/../../out.txt"]);
    assert_eq!(paths(&icloud), ["/to/a.txt", "/to/sub/b.txt", "/to/sub/c.txt"]);
}

/// An interrupted restore leaves no partial file under a file's name.
#[tokio::test]
async fn the_exporter_ends_with_plakar_and_leaves_no_partial_files() {
    let icloud = ICloud::new();
    icloud.hold(RequestKind::ContentPost, "uploads");
    let exporter = icloud.host.exporter(&icloud.settings("icloud:///to"), &Options::default()).await.unwrap();
    let tree = tree();
    let (export, ()) = tokio::join!(exporter.export(&tree), async {
        icloud.until(RequestKind::ContentPost, 1).await;
        exporter.connector().hang_up();
    });
    export.unwrap().end.unwrap_err();
    exporter.into_connector().wait(PATIENCE).await.unwrap();
    assert_eq!(paths(&icloud), Vec::<String>::new());
}

/// A drive that refuses writes gives an error for each file, and the restore fails.
#[tokio::test]
async fn a_destination_that_cannot_be_written_fails_each_file() {
    let icloud = ICloud::new();
    icloud.simulator.make_folders("to/sub");
    for kind in [RequestKind::CreateFolders, RequestKind::UploadWeb] {
        icloud.simulator.add_fault(icloud.fail(kind, 403));
    }
    let exported = restore(&icloud, &tree()).await;
    assert_eq!(exported.errors().into_keys().collect::<Vec<_>>(), ["/a.txt", "/sub/b.txt", "/sub/c.txt"]);
    let end = exported.end.unwrap_err().message();
    assert!(end.starts_with("3 of "), "{end}");
}

/// Returns a tree of files of 1,000 bytes each.
fn many(count: usize) -> Tree {
    (0..count).fold(Tree::new().folder("/"), |tree, n| tree.file(&format!("/{n:05}"), vec![b'x'; 1_000]))
}

/// A drive that is too small ends the restore before the first file that does not fit is sent.
#[tokio::test]
async fn a_drive_that_is_too_small_refuses_no_upload() {
    let icloud = ICloud::new();
    icloud.simulator.rules(|rules| rules.drive.quota = 50_500);
    let exported = restore(&icloud, &many(400)).await;
    let end = exported.end.as_ref().unwrap_err().message();
    assert!(end.contains("it has 1.0 kB, and the destination has 500 bytes free"), "{end}");
    assert!(end.starts_with("the restore ended after 51 files and folders: cannot restore /to/"), "{end}");
    assert_eq!(exported.errors().len(), 1, "{:?}", exported.errors());
    assert_eq!((icloud.count(RequestKind::UploadWeb), icloud.contents().len()), (50, 50));

    // The files that are there need no room.
    icloud.simulator.rules(|rules| rules.drive.quota = 60_500);
    let exported = restore(&icloud, &many(60)).await;
    exported.end.unwrap();
    assert_eq!((icloud.count(RequestKind::UploadWeb), icloud.contents().len()), (60, 60));
}

/// Room that becomes free during a restore is used.
#[tokio::test]
async fn room_that_becomes_free_is_used() {
    let icloud = ICloud::new();
    icloud.simulator.rules(|rules| rules.drive.quota = 1_500);
    icloud.hold(RequestKind::ContentPost, "uploads");
    let (tree, settings, options) = (many(3), icloud.settings("icloud:///to"), Options::default());
    let (exported, ()) = tokio::join!(icloud.host.restore(&settings, &options, &tree), async {
        icloud.until(RequestKind::ContentPost, 1).await;
        icloud.simulator.rules(|rules| rules.drive.quota = 10_000);
        icloud.simulator.release("uploads");
    });
    exported.unwrap().end.unwrap();
    assert_eq!(icloud.contents().len(), 3);
}

/// A drive that becomes full in the middle is one error, and not one for each file.
#[tokio::test]
async fn a_drive_that_becomes_full_is_one_error() {
    let icloud = ICloud::new();
    icloud.simulator.add_fault(icloud.fail(RequestKind::StorageUsage, 400));
    icloud.simulator.rules(|rules| rules.drive.quota = 50_500);
    icloud.put("to/00000", b"old");
    let exported = restore(&icloud, &many(400)).await;
    let end = exported.end.as_ref().unwrap_err().message();
    assert!(end.contains("free some space in iCloud") && end.contains("the restore ended after"), "{end}");
    assert_eq!(exported.errors().len(), 1, "{:?}", exported.errors());
    // The replaced file is in the Trash and takes room. Uploads under way are refused, too.
    assert!(icloud.count(RequestKind::UploadWeb) < 200, "{}", icloud.count(RequestKind::UploadWeb));
    let contents = icloud.contents();
    assert!(contents.len() <= 50, "{contents:?}");
    let whole = Content::from(&[b'x'; 1_000][..]).sha256();
    assert!(contents.values().all(|digest| *digest == whole), "{contents:?}");
}

/// Close after a failure returns at once.
#[tokio::test]
async fn close_after_a_failure_returns() {
    let icloud = ICloud::new();
    icloud.simulator.add_fault(icloud.fail(RequestKind::List, 400));
    let exporter = icloud.host.exporter(&icloud.settings("icloud:///to"), &Options::default()).await.unwrap();
    exporter.export(&tree()).await.unwrap().end.unwrap_err();
    exporter.close().await.unwrap();
    exporter.into_connector().leave().await.unwrap();
}

/// If plakar does not read the acks, the connector accepts no further files and can still end.
#[tokio::test]
async fn the_process_ends_although_acks_are_not_read() {
    let icloud = ICloud::new();
    let exporter = icloud.host.exporter(&icloud.settings("icloud:///to"), &Options::default()).await.unwrap();
    let tree = tree();
    let (mut outgoing, acks) = exporter.start();
    for item in tree.iter() {
        outgoing.send(item).await.unwrap();
    }
    icloud.until(RequestKind::ContentPost, 1).await;
    drop(acks);
    exporter.close().await.unwrap();
    exporter.into_connector().leave().await.unwrap();
}
