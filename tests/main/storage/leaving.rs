//! plakar leaves without waiting for its own last calls.

use std::collections::BTreeMap;

use icloud_simulator::{FaultAction, FaultRule, RequestKind};
use plakar_host::{PATIENCE, Resource, Store};

use crate::icloud::ICloud;

async fn locked(icloud: &ICloud) -> Store {
    icloud.put("kloset/CONFIG", b"config");
    let store = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    store.put(Resource::Lock, [1; 32], "lock".into()).await.unwrap();
    store
}

fn locks(icloud: &ICloud) -> BTreeMap<String, String> {
    icloud.contents().into_iter().filter(|(path, _)| path.contains("/locks/")).collect()
}

/// S16
#[tokio::test]
async fn a_slow_delete_is_finished_after_plakar_has_left() {
    let icloud = ICloud::new();
    let store = locked(&icloud).await;
    icloud.hold(RequestKind::Trash, "deletions");
    let (delete, ()) = tokio::join!(store.delete(Resource::Lock, [1; 32]), async {
        icloud.until(RequestKind::Trash, 1).await;
        store.connector().hang_up();
        icloud.simulator.release("deletions");
    });
    delete.unwrap_err();
    store.into_connector().wait(PATIENCE).await.unwrap();
    assert_eq!(locks(&icloud), BTreeMap::new());
}

/// S16
#[tokio::test]
async fn close_waits_for_a_delete_that_is_under_way() {
    let icloud = ICloud::new();
    let store = locked(&icloud).await;
    icloud.hold(RequestKind::Trash, "deletions");
    let deleted = async {
        store.delete(Resource::Lock, [1; 32]).await.unwrap();
    };
    let closed = async {
        icloud.until(RequestKind::Trash, 1).await;
        tokio::join!(async { store.close().await.unwrap() }, async {
            store.mode().await.unwrap();
            icloud.simulator.release("deletions");
        });
        assert_eq!(locks(&icloud), BTreeMap::new());
    };
    tokio::join!(deleted, closed);
}

/// plakar waits for Close without a limit of its own
#[tokio::test]
async fn close_does_not_wait_for_ever() {
    let icloud = ICloud::new();
    let store = locked(&icloud).await;
    icloud.hold(RequestKind::Trash, "deletions");
    let (delete, ()) = tokio::join!(store.delete(Resource::Lock, [1; 32]), async {
        icloud.until(RequestKind::Trash, 1).await;
        store.close().await.unwrap();
        icloud.simulator.release("deletions");
    });
    delete.unwrap();
    assert_eq!(locks(&icloud), BTreeMap::new());
}

/// S16: a listing that does not show it yet
#[tokio::test]
async fn a_lock_is_deleted_though_no_listing_shows_it() {
    let icloud = ICloud::new();
    let store = locked(&icloud).await;
    let folder = icloud.simulator.snapshot().into_iter().find(|item| item.path == "kloset/locks").unwrap();
    let text = format!(
        r#"[{{"drivewsid":"{}","name":"locks","type":"FOLDER","etag":"{}","numberOfItems":0,"items":[],"status":"OK"}}]"#,
        folder.drive_id, folder.etag
    );
    let late = FaultRule::new(RequestKind::List, FaultAction::Replace { text, effect: false });
    icloud.simulator.add_fault(late.matching(folder.drive_id));
    assert_eq!(store.list(Resource::Lock).await.unwrap(), [[1; 32]]);
    store.delete(Resource::Lock, [1; 32]).await.unwrap();
    assert_eq!(locks(&icloud), BTreeMap::new());
}

/// S17
#[tokio::test]
async fn a_delete_after_close_is_carried_out() {
    let icloud = ICloud::new();
    let store = locked(&icloud).await;
    store.close().await.unwrap();
    store.delete(Resource::Lock, [1; 32]).await.unwrap();
    assert_eq!(locks(&icloud), BTreeMap::new());
    store.into_connector().leave().await.unwrap();
}

/// S17: the Delete never comes at all
#[tokio::test]
async fn a_lock_goes_with_the_plakar_that_took_it() {
    let icloud = ICloud::new();
    let foreign = "e".repeat(64);
    icloud.put(&format!("kloset/locks/{foreign}"), b"of another machine");
    let store = locked(&icloud).await;
    store.close().await.unwrap();
    store.into_connector().leave().await.unwrap();
    assert_eq!(locks(&icloud).into_keys().collect::<Vec<_>>(), [format!("/kloset/locks/{foreign}")]);
}
