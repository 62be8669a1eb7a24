//! The end of the connection: plakar does not wait for its own last calls, and may be killed.

use std::collections::BTreeMap;

use icloud_simulator::{FaultAction, FaultRule, RequestKind};
use plakar_host::{Connector, PATIENCE, Resource, Signal, Store, until};

use crate::icloud::ICloud;

const LOCK: [u8; 32] = [1; 32];
const NONE: [[u8; 32]; 0] = [];

async fn open_store(icloud: &ICloud) -> Store {
    icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap()
}

async fn locked(icloud: &ICloud) -> Store {
    icloud.put("kloset/CONFIG", b"config");
    let store = open_store(icloud).await;
    store.put(Resource::Lock, LOCK, "lock".into()).await.unwrap();
    store
}

fn locks(icloud: &ICloud) -> BTreeMap<String, String> {
    icloud.contents().into_iter().filter(|(path, _)| path.contains("/locks/")).collect()
}

/// Closes the connection while plakar's lock is being deleted.
async fn leave_while_held(icloud: &ICloud) -> Connector {
    let store = locked(icloud).await;
    icloud.hold(RequestKind::Trash, "deletions");
    store.delete(Resource::Lock, LOCK).await.unwrap();
    store.close().await.unwrap();
    icloud.until(RequestKind::Trash, 1).await;
    store.connector().hang_up();
    store.into_connector()
}

/// A pipeline that contains plakar ends before the deletion.
#[tokio::test]
async fn a_slow_deletion_is_completed_without_output_after_plakar_has_exited() {
    let icloud = ICloud::new();
    let mut connector = leave_while_held(&icloud).await;
    until(|| connector.is_silent()).await;
    assert_eq!(connector.stderr(), "");
    assert_eq!(locks(&icloud).len(), 1);
    icloud.simulator.release("deletions");
    connector.wait(PATIENCE).await.unwrap();
    assert_eq!(locks(&icloud), BTreeMap::new());
    assert_eq!(icloud.simulator.trash().len(), 0);
}

/// Maintenance runs right after a backup, on the same machine.
#[tokio::test]
async fn a_lock_that_is_being_deleted_is_not_listed() {
    let icloud = ICloud::new();
    let foreign = [0xee; 32];
    icloud.put(&format!("kloset/locks/{}", "ee".repeat(32)), b"of another machine");
    let mut connector = leave_while_held(&icloud).await;
    let next = open_store(&icloud).await;
    assert_eq!(locks(&icloud).len(), 2);
    assert_eq!(next.list(Resource::Lock).await.unwrap(), [foreign]);
    icloud.simulator.release("deletions");
    connector.wait(PATIENCE).await.unwrap();
}

/// plakar kills its connectors when a command fails or is interrupted.
#[tokio::test]
async fn the_next_process_deletes_the_lock_of_a_killed_process() {
    let icloud = ICloud::new();
    let (daemon, store) = (open_store(&icloud).await, locked(&icloud).await);
    assert_eq!(daemon.list(Resource::Lock).await.unwrap(), [LOCK]);
    store.connector().signal(Signal::KILL).unwrap();
    store.into_connector().wait(PATIENCE).await.unwrap();
    let next = open_store(&icloud).await;
    assert_eq!(next.list(Resource::Lock).await.unwrap(), NONE);
    icloud.until_gone("/locks/").await;
}

/// plakar's cache daemon ends soon after the command, and there may be no further command.
#[tokio::test]
async fn the_daemon_deletes_the_lock_of_a_killed_process_at_its_end() {
    let icloud = ICloud::new();
    let (daemon, store) = (open_store(&icloud).await, locked(&icloud).await);
    daemon.open().await.unwrap();
    store.connector().signal(Signal::KILL).unwrap();
    store.into_connector().wait(PATIENCE).await.unwrap();
    assert_eq!(locks(&icloud).len(), 1);
    daemon.into_connector().leave().await.unwrap();
    assert_eq!(locks(&icloud), BTreeMap::new());
}

#[tokio::test]
async fn a_lock_that_cannot_be_deleted_is_reported() {
    let icloud = ICloud::new();
    let store = locked(&icloud).await;
    icloud.simulator.add_fault(icloud.fail(RequestKind::Trash, 403));
    store.delete(Resource::Lock, LOCK).await.unwrap();
    let mut connector = store.into_connector();
    until(|| connector.stderr().contains("cannot delete /kloset/locks/0101")).await;
    assert!(connector.stderr().contains("10 minutes"), "{}", connector.stderr());
    connector.hang_up();
    connector.wait(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn close_waits_for_deletions_of_packfiles_but_not_of_locks() {
    let icloud = ICloud::new();
    let store = locked(&icloud).await;
    store.put(Resource::Packfile, [2; 32], "packfile".into()).await.unwrap();
    icloud.hold(RequestKind::Trash, "deletions");
    store.delete(Resource::Lock, LOCK).await.unwrap();
    icloud.until(RequestKind::Trash, 1).await;
    store.close().await.unwrap();
    store.delete(Resource::Packfile, [2; 32]).await.unwrap();
    let release = async {
        icloud.until(RequestKind::Trash, 2).await;
        store.mode().await.unwrap();
        icloud.simulator.release("deletions");
    };
    tokio::join!(async { store.close().await.unwrap() }, release);
    assert!(!icloud.contents().keys().any(|path| path.contains("/packfiles/")));
    store.into_connector().leave().await.unwrap();
    assert_eq!(locks(&icloud), BTreeMap::new());
}

/// The listings do not show the lock yet.
#[tokio::test]
async fn a_lock_is_deleted_even_if_no_listing_shows_it() {
    let icloud = ICloud::new();
    let store = locked(&icloud).await;
    let folder = icloud.simulator.snapshot().into_iter().find(|item| item.path == "kloset/locks").unwrap();
    let text = format!(
        r#"[{{"drivewsid":"{}","name":"locks","type":"FOLDER","etag":"{}","numberOfItems":0,"items":[],"status":"OK"}}]"#,
        folder.drive_id, folder.etag
    );
    let late = FaultRule::new(RequestKind::List, FaultAction::Replace { text, effect: false });
    icloud.simulator.add_fault(late.matching(folder.drive_id));
    assert_eq!(store.list(Resource::Lock).await.unwrap(), [LOCK]);
    store.delete(Resource::Lock, LOCK).await.unwrap();
    assert_eq!(store.list(Resource::Lock).await.unwrap(), NONE);
    icloud.until_gone("/locks/").await;
}

#[tokio::test]
async fn a_deletion_that_is_requested_after_close_is_carried_out() {
    let icloud = ICloud::new();
    let store = locked(&icloud).await;
    store.close().await.unwrap();
    store.delete(Resource::Lock, LOCK).await.unwrap();
    store.into_connector().leave().await.unwrap();
    assert_eq!(locks(&icloud), BTreeMap::new());
}

/// The lock is deleted even if plakar never requests it.
#[tokio::test]
async fn a_lock_is_deleted_when_its_plakar_has_exited() {
    let icloud = ICloud::new();
    let foreign = "e".repeat(64);
    icloud.put(&format!("kloset/locks/{foreign}"), b"of another machine");
    let store = locked(&icloud).await;
    store.close().await.unwrap();
    store.into_connector().leave().await.unwrap();
    assert_eq!(locks(&icloud).into_keys().collect::<Vec<_>>(), [format!("/kloset/locks/{foreign}")]);
}

/// A process is terminated by a signal when the system shuts down.
#[tokio::test]
async fn a_terminated_process_deletes_its_lock() {
    let icloud = ICloud::new();
    let store = locked(&icloud).await;
    store.connector().signal(Signal::TERM).unwrap();
    store.into_connector().wait(PATIENCE).await.unwrap();
    assert_eq!(locks(&icloud), BTreeMap::new());
}

/// plakar cancels all calls at once when a command fails, and then still unlocks.
#[tokio::test]
async fn hundreds_of_cancelled_calls_do_not_end_the_connection() {
    let icloud = ICloud::new();
    let store = locked(&icloud).await;
    icloud.hold(RequestKind::List, "listings");
    let calls: Vec<_> = (0..300).map(|_| Box::pin(store.open())).collect();
    let all = futures_util::future::select_all(calls);
    tokio::select! {
        _ = all => panic!("a listing was not held"),
        () = icloud.until(RequestKind::List, 2) => {}
    }
    icloud.simulator.release("listings");
    assert_eq!(store.mode().await.unwrap(), 6);
    assert_eq!(store.open().await.unwrap(), "config");
}
