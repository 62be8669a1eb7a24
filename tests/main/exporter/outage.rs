//! An outage of the service or the death of plakar during a restore, and the lines that report the
//! result.

use std::collections::BTreeMap;
use std::time::Duration;

use icloud_simulator::{FaultAction, FaultRule, HoldAt, RequestKind};
use plakar_host::{Exported, Exporter, Options, PATIENCE, Settings, Tree};

use crate::icloud::ICloud;

/// Returns settings with few attempts, so that a file fails soon.
fn settings(icloud: &ICloud) -> Settings {
    icloud.settings("icloud:///to").with("tries", "2").with("uploads", "2")
}

fn tree_of_forty() -> Tree {
    let mut tree = Tree::new().folder("/");
    for folder in 0..4 {
        tree = tree.folder(&format!("/{folder}"));
        for n in 0..10 {
            tree = tree.file(&format!("/{folder}/{n}.txt"), "content");
        }
    }
    tree
}

async fn exporter(icloud: &ICloud, settings: &Settings) -> Exporter {
    icloud.host.exporter(settings, &Options::default()).await.unwrap()
}

/// Restores while `during` runs. Returns the outcome and the lines on stderr.
async fn restore(icloud: &ICloud, tree: &Tree, during: impl Future<Output = ()>) -> (Exported, Vec<String>) {
    let exporter = exporter(icloud, &settings(icloud)).await;
    let (exported, ()) = tokio::join!(exporter.export(tree), during);
    (exported.unwrap(), stderr_of(exporter).await)
}

async fn stderr_of(exporter: Exporter) -> Vec<String> {
    let mut connector = exporter.into_connector();
    connector.hang_up();
    connector.wait(PATIENCE).await.unwrap();
    connector.stderr().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_loss_of_the_network_ends_the_restore_with_one_line() {
    let icloud = ICloud::new();
    icloud.hold(RequestKind::ContentPost, "uploads");
    let (exported, lines) = restore(&icloud, &tree_of_forty(), async {
        icloud.until(RequestKind::ContentPost, 1).await;
        icloud.simulator.add_fault(FaultRule::any(FaultAction::ResetBefore));
        icloud.simulator.release("uploads");
    })
    .await;
    let message = exported.end.unwrap_err().message();
    assert!(message.starts_with("the restore ended after "), "{message}");
    assert!(exported.acks.len() < 40, "every file was tried: {}", exported.acks.len());
    let causes: Vec<&String> = lines.iter().filter(|line| line.contains("the restore ended after")).collect();
    assert_eq!(causes.len(), 1, "{lines:?}");
}

#[tokio::test]
async fn a_folder_that_refuses_files_fails_only_its_files() {
    let icloud = ICloud::new();
    icloud.simulator.make_folders("to/2");
    let drive_id = icloud.drive_id("to/2");
    let document = drive_id.rsplit("::").next().unwrap();
    icloud.simulator.add_fault(icloud.fail(RequestKind::UpdateDocuments, 500).matching(document));
    let (exported, lines) = restore(&icloud, &tree_of_forty(), async {}).await;
    let errors = exported.errors();
    assert_eq!(errors.len(), 10, "{errors:?}");
    assert!(errors.keys().all(|path| path.starts_with("/2/")), "{errors:?}");
    let message = exported.end.unwrap_err().message();
    assert!(message.starts_with("10 of 45 files and folders failed: 10 × "), "{message}");
    assert!(lines.iter().any(|line| line.contains("10 of 45")), "{lines:?}");
}

#[tokio::test]
async fn a_restore_prints_its_result_and_runs_the_command_if_it_failed() {
    let icloud = ICloud::new();
    let events = icloud.host.surroundings().root().join("events");
    let command =
        format!("echo $PLAKAR_ICLOUD_EVENT $PLAKAR_ICLOUD_FILES $PLAKAR_ICLOUD_FAILED >> {}", events.display());
    let settings = settings(&icloud).with("on_event", &command);
    let first = exporter(&icloud, &settings).await;
    assert_eq!(first.export(&tree_of_forty()).await.unwrap().errors(), BTreeMap::new());
    let lines = stderr_of(first).await;
    let expected = "plakar-icloud: restore: 40 files and 5 folders, 280 bytes transferred, none failed; ";
    assert!(matches!(&lines[..], [line] if line.starts_with(expected)), "{lines:?}");
    icloud.simulator.add_fault(icloud.fail(RequestKind::UploadWeb, 400).matching("7.txt"));
    let second = exporter(&icloud, &settings.with("skip_identical", "false")).await;
    second.export(&tree_of_forty()).await.unwrap().end.unwrap_err();
    stderr_of(second).await;
    // The connector does not wait for the command.
    while !std::fs::read_to_string(&events).is_ok_and(|told| told.ends_with('\n')) {
        tokio::task::yield_now().await;
    }
    assert_eq!(std::fs::read_to_string(&events).unwrap(), "restore-failed 40 4\n");
}

/// While the replacement is under way, the old file is in the Trash and the new one has another
/// name.
#[tokio::test]
async fn a_replacement_under_way_is_completed_after_plakar_has_exited() {
    let icloud = ICloud::new();
    icloud.put("to/a.txt", b"old");
    let hold = FaultAction::Hold { gate: "trash".to_owned(), at: HoldAt::Arrival };
    icloud.simulator.add_fault(FaultRule::new(RequestKind::Trash, hold));
    let exporter = exporter(&icloud, &settings(&icloud)).await;
    let tree = Tree::new().folder("/").file("/a.txt", "new");
    let (_, ()) = tokio::join!(exporter.export(&tree), async {
        icloud.until(RequestKind::Trash, 1).await;
        exporter.connector().hang_up();
    });
    let mut connector = exporter.into_connector();
    connector.wait(Duration::from_millis(500)).await.expect_err("the process ended in the middle of a replacement");
    icloud.simulator.release("trash");
    connector.wait(PATIENCE).await.unwrap();
    assert_eq!(icloud.contents().into_keys().collect::<Vec<_>>(), ["/to/a.txt"]);
    let content = icloud.simulator.content("to/a.txt").unwrap();
    assert_eq!(&*content.read(0, content.size()), b"new");
}

/// Current versions of plakar do not send extended attributes.
#[tokio::test]
async fn an_extended_attribute_is_not_stored_as_the_file() {
    let icloud = ICloud::new();
    let tree = Tree::new().folder("/").file("/a.txt", "content");
    let mut item = tree.iter().last().unwrap().clone();
    item.record.is_xattr = true;
    item.record.xattr_name = "user.colour".to_owned();
    let exporter = exporter(&icloud, &settings(&icloud)).await;
    let (mut outgoing, mut acks) = exporter.start();
    outgoing.send(tree.iter().next().unwrap()).await.unwrap();
    outgoing.send(&item).await.unwrap();
    drop(outgoing);
    acks.next().await.unwrap();
    let ack = acks.next().await.unwrap().unwrap();
    assert!(ack.error.contains("extended attribute"), "{}", ack.error);
    acks.next().await.unwrap_err();
    assert_eq!(icloud.contents(), BTreeMap::new());
}
