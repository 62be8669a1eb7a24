//! Reading, replacing and deleting objects.

use bytes::Bytes;
use icloud_simulator::{Content, FaultAction, FaultRule, RequestKind};
use plakar_host::{Mac, PATIENCE, Range, Resource, Store, digest};

use crate::icloud::{ICloud, MODIFIED, hex};

const MIB: u64 = 1024 * 1024;

async fn kloset(icloud: &ICloud) -> Store {
    icloud.put("kloset/CONFIG", b"config");
    icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap()
}

/// Stores a packfile in the drive and returns its name and its content.
fn packfile(icloud: &ICloud, size: u64) -> (Mac, Bytes) {
    let content = Content::Generated { seed: size, size };
    let bytes = content.read(0, size);
    let mac = digest(&bytes);
    icloud.simulator.put_file(&format!("kloset/packfiles/{}", hex(&mac)), content, MODIFIED);
    (mac, bytes)
}

/// A range beyond the end returns the bytes that exist. Any other range returns exactly its length.
#[tokio::test]
async fn a_get_returns_exactly_the_range() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (mac, content) = packfile(&icloud, 13 * MIB + 7);
    let size = content.len() as u64;
    for (offset, length) in [
        (0, 1),
        (1, 1),
        (size - 1, 1),
        (4095, 4098),
        (12_345, 65_536),
        (MIB - 1, 1_048_578),
        (777, 5_870_000),
        (1, 12 * 1024 * 1024),
        (size - 100, 101),
        (size - 3, u32::MAX),
        (0, u32::MAX),
    ] {
        let part = store.get(Resource::Packfile, mac, Some(Range { offset, length })).await.unwrap();
        let end = size.min(offset + u64::from(length));
        assert_eq!(part, content.slice(offset as usize..end as usize), "{length} bytes at {offset}");
    }
    for offset in [size, size + 1, u64::MAX] {
        let part = store.get(Resource::Packfile, mac, Some(Range { offset, length: 10 })).await.unwrap();
        assert_eq!(part.len(), 0, "at {offset}");
    }
    assert_eq!(store.get(Resource::Packfile, mac, None).await.unwrap(), content);
}

#[tokio::test]
async fn the_error_about_a_missing_object_names_it() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    for resource in [Resource::Packfile, Resource::State, Resource::Lock] {
        for range in [None, Some(Range { offset: 0, length: 10 })] {
            let message = store.get(resource, [7; 32], range).await.unwrap_err().message();
            assert!(message.contains(&hex(&[7; 32])), "{message}");
        }
    }
}

/// Temporary failures of the service are not visible to plakar.
#[tokio::test]
async fn a_temporary_failure_of_a_get_is_retried() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (mac, content) = packfile(&icloud, 300_000);
    for (kind, status) in [(RequestKind::ById, 503), (RequestKind::ContentGet, 503), (RequestKind::ById, 429)] {
        icloud.simulator.add_fault(icloud.fail(kind, status).times(1));
        let range = Some(Range { offset: 1000, length: 200_000 });
        let part = store.get(Resource::Packfile, mac, range).await.unwrap();
        assert_eq!(part, content.slice(1000..201_000), "{status} on {kind:?}");
    }
}

/// plakar gets the whole content.
#[tokio::test]
async fn a_broken_download_is_resumed() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (mac, content) = packfile(&icloud, 3 * MIB);
    let cut = icloud_simulator::FaultAction::Truncate { bytes: 1_500_000, clean: false };
    icloud.simulator.add_fault(icloud_simulator::FaultRule::new(RequestKind::ContentGet, cut).times(1));
    assert_eq!(store.get(Resource::Packfile, mac, None).await.unwrap(), content);
}

/// A lock that is stored again has its new content, once.
#[tokio::test]
async fn a_lock_that_is_stored_again_is_replaced() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    for content in ["first", "second and longer", "3rd"] {
        store.put(Resource::Lock, [1; 32], content.into()).await.unwrap();
        assert_eq!(store.list(Resource::Lock).await.unwrap(), [[1; 32]]);
        assert_eq!(store.get(Resource::Lock, [1; 32], None).await.unwrap(), content);
    }
    store.delete(Resource::Lock, [1; 32]).await.unwrap();
    assert_eq!(store.list(Resource::Lock).await.unwrap().len(), 0);
    icloud.until_gone("/locks/").await;
}

/// The listings show the object even after its deletion, in this process and in the next one.
#[tokio::test]
async fn a_deleted_object_is_not_listed_even_if_listings_lag() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (mac, _) = packfile(&icloud, 10);
    assert_eq!(store.list(Resource::Packfile).await.unwrap(), [mac]);
    let old = icloud.listing("kloset/packfiles");
    store.delete(Resource::Packfile, mac).await.unwrap();
    icloud.until_gone("/packfiles/").await;
    icloud.simulator.add_fault(old);
    assert_eq!(store.list(Resource::Packfile).await.unwrap(), [[0; 32]; 0]);
    store.get(Resource::Packfile, mac, None).await.unwrap_err();
    let next = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    assert_eq!(next.list(Resource::Packfile).await.unwrap(), [[0; 32]; 0]);
}

/// The content of the Trash counts against the quota.
#[tokio::test]
async fn deletions_are_permanent_and_made_together() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let macs: Vec<Mac> = (1..60).map(|size| packfile(&icloud, size).0).collect();
    icloud.put("kloset/packfiles/notes.txt", b"not of the kloset");
    store.list(Resource::Packfile).await.unwrap();
    for mac in macs {
        store.delete(Resource::Packfile, mac).await.unwrap();
    }
    store.close().await.unwrap();
    assert_eq!(icloud.contents().into_keys().collect::<Vec<_>>(), ["/kloset/CONFIG", "/kloset/packfiles/notes.txt"]);
    // The Trash is emptied in the background, before the process ends.
    let mut connector = store.into_connector();
    connector.hang_up();
    connector.wait(PATIENCE).await.unwrap();
    assert_eq!(icloud.simulator.trash().len(), 0);
}

#[tokio::test]
async fn the_deletion_of_a_missing_object_succeeds() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (mac, _) = packfile(&icloud, 10);
    store.delete(Resource::State, mac).await.unwrap();
    store.delete(Resource::Packfile, mac).await.unwrap();
    store.delete(Resource::Packfile, mac).await.unwrap();
    assert_eq!(store.list(Resource::Packfile).await.unwrap().len(), 0);
}

/// A process that has deleted an object lists it again as soon as another process stores it.
#[tokio::test]
async fn an_object_that_another_process_stores_after_a_deletion_is_listed() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let content = Bytes::from_static(b"content");
    let mac = digest(&content);
    store.delete(Resource::Packfile, mac).await.unwrap();
    let other = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    other.put(Resource::Packfile, mac, content).await.unwrap();
    assert_eq!(store.list(Resource::Packfile).await.unwrap(), [mac]);
}

/// Objects that another machine stores and deletes while this process runs.
#[tokio::test]
async fn changes_by_other_machines_are_seen() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (first, _) = packfile(&icloud, 10);
    assert_eq!(store.list(Resource::Packfile).await.unwrap(), [first]);
    let (second, content) = packfile(&icloud, 20);
    assert_eq!(store.get(Resource::Packfile, second, None).await.unwrap(), content);
    assert_eq!(store.list(Resource::Packfile).await.unwrap().len(), 2);
    icloud.simulator.mutate(&format!("kloset/packfiles/{}", hex(&first)), icloud_simulator::Mutation::Trash).unwrap();
    assert_eq!(store.list(Resource::Packfile).await.unwrap(), [second]);
    store.get(Resource::Packfile, first, None).await.unwrap_err();
}

#[tokio::test]
async fn sixty_four_concurrent_reads_succeed() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (mac, content) = packfile(&icloud, MIB);
    let gets = (0..64_u32).map(|n| {
        let range = Range { offset: u64::from(n) * 1000, length: 1000 };
        store.get(Resource::Packfile, mac, Some(range))
    });
    let parts = futures_util::future::try_join_all(gets).await.unwrap();
    for (n, part) in parts.iter().enumerate() {
        assert_eq!(*part, content.slice(n * 1000..n * 1000 + 1000), "range {n}");
    }
}

/// If contents cannot be read, nor a packfile that was read before, nothing more is requested.
#[tokio::test]
async fn an_outage_of_the_content_host_ends_a_store() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let macs: Vec<Mac> = [1000, 2000, 3000].map(|size| packfile(&icloud, size).0).into();
    store.get(Resource::Packfile, macs[0], None).await.unwrap();
    icloud.simulator.add_fault(FaultRule::new(RequestKind::ContentGet, FaultAction::ResetBefore));
    store.get(Resource::Packfile, macs[1], None).await.unwrap_err();
    let requests = icloud.count(RequestKind::ContentGet);
    store.get(Resource::Packfile, macs[2], None).await.unwrap_err();
    assert_eq!(icloud.count(RequestKind::ContentGet), requests);
    super::assert_ends_with_one_cause(store).await;
}

/// The command of `on_event` runs, because plakar's own message may not be read.
#[tokio::test]
async fn a_store_that_cannot_be_opened_is_reported() {
    let icloud = ICloud::new();
    icloud.put("kloset/CONFIG", b"config");
    icloud.simulator.end_trust();
    icloud.simulator.end_sessions(421);
    let events = icloud.host.surroundings().root().join("events");
    let command = format!("echo $PLAKAR_ICLOUD_EVENT >> {}", events.display());
    let store = icloud.host.store(&icloud.settings("icloud:///kloset").with("on_event", &command)).await.unwrap();
    store.open().await.unwrap_err();
    let told = || std::fs::read_to_string(&events).unwrap_or_default();
    plakar_host::until(|| told().lines().any(|event| event == "store-failed")).await;
}
