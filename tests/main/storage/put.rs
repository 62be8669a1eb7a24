//! An object is stored in full or not at all.

use bytes::Bytes;
use icloud_simulator::{Content, FaultAction, FaultRule, HoldAt, RequestKind};
use plakar_host::{Mac, PATIENCE, Resource, Signal, Store, digest};

use crate::disk::Disk;
use crate::icloud::{ICloud, hex};

async fn kloset(icloud: &ICloud) -> Store {
    icloud.put("kloset/CONFIG", b"config");
    icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap()
}

fn packfile(size: u64) -> (Mac, Bytes) {
    let content = Content::Generated { seed: size, size }.read(0, size);
    (digest(&content), content)
}

/// Returns the objects of a drive, without the configuration.
fn objects(icloud: &ICloud) -> Vec<String> {
    icloud.contents().into_keys().filter(|path| !path.ends_with("/CONFIG")).collect()
}

#[tokio::test]
async fn objects_of_every_size_are_stored() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    for size in [0, 1, 124, 1024 * 1024, 3 * 1024 * 1024 + 1] {
        let (mac, content) = packfile(size);
        let written = store.put(Resource::Packfile, mac, content.clone()).await.unwrap();
        assert_eq!(written.cast_unsigned(), size);
        assert_eq!(store.get(Resource::Packfile, mac, None).await.unwrap(), content);
    }
}

/// After an interrupted backup, packfiles are stored a second time.
#[tokio::test]
async fn an_object_can_be_stored_again() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (mac, content) = packfile(100_000);
    for _ in 0..2 {
        store.put(Resource::Packfile, mac, content.clone()).await.unwrap();
    }
    assert_eq!(objects(&icloud), [format!("/kloset/packfiles/{}", hex(&mac))]);
}

/// A process that is killed during a Put leaves no partial object.
#[tokio::test]
async fn a_killed_process_leaves_no_packfile() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (mac, content) = packfile(2_000_000);
    icloud.hold(RequestKind::ContentPost, "uploads");
    let (put, ()) = tokio::join!(store.put(Resource::Packfile, mac, content.clone()), async {
        icloud.until(RequestKind::ContentPost, 1).await;
        store.connector().signal(Signal::KILL).unwrap();
    });
    put.unwrap_err();
    store.into_connector().wait(PATIENCE).await.unwrap();
    assert_eq!(objects(&icloud), Vec::<String>::new());
    icloud.simulator.release("uploads");
    let store = kloset(&icloud).await;
    store.put(Resource::Packfile, mac, content.clone()).await.unwrap();
    assert_eq!(store.get(Resource::Packfile, mac, None).await.unwrap(), content);
}

/// What a killed process has left on a disk is removed by the next process that stores an object.
#[tokio::test]
async fn a_partial_object_is_removed_by_the_next_put() {
    let disk = Disk::new();
    disk.put("CONFIG", "config");
    let (mac, content) = packfile(48 << 20);
    let partial = || {
        let files = std::fs::read_dir(disk.path("packfiles")).into_iter().flatten().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "plakar-partial")).count()
    };
    let open = async || disk.host.store(&disk.settings()).await.unwrap();
    for round in 0.. {
        assert!(round < 50, "no kill came in time");
        let store = open().await;
        tokio::select! {
            _ = store.put(Resource::Packfile, mac, content.clone()) => {}
            () = plakar_host::until(|| partial() > 0) => {}
        }
        let _ = store.connector().signal(Signal::KILL);
        store.into_connector().wait(PATIENCE).await.unwrap();
        if partial() > 0 {
            break;
        }
    }
    let store = open().await;
    let (mac, content) = packfile(100);
    store.put(Resource::Packfile, mac, content).await.unwrap();
    store.close().await.unwrap();
    store.into_connector().leave().await.unwrap();
    assert_eq!(partial(), 0);
}

/// An object whose end plakar did not send is not stored.
#[tokio::test]
async fn a_put_without_a_half_close_is_not_stored() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (mac, content) = packfile(2_000_000);
    let mut put = store.start_put(Resource::Packfile, mac).await.unwrap();
    put.send(content.slice(..1_000_000)).await.unwrap();
    put.send(content.slice(1_000_000..)).await.unwrap();
    store.mode().await.unwrap();
    let mut connector = store.into_connector();
    connector.hang_up();
    connector.wait(PATIENCE).await.unwrap();
    drop(put);
    assert_eq!(objects(&icloud), Vec::<String>::new());
    assert_eq!(icloud.count(RequestKind::UploadWeb), 0);
}

/// An object whose end plakar did not send is not stored.
#[tokio::test]
async fn a_put_that_is_reset_is_not_stored() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (mac, content) = packfile(500_000);
    let mut put = store.start_put(Resource::Packfile, mac).await.unwrap();
    put.send(content.clone()).await.unwrap();
    put.cancel().await;
    assert_eq!(store.list(Resource::Packfile).await.unwrap().len(), 0);
    assert_eq!(icloud.count(RequestKind::UploadWeb), 0);
    store.put(Resource::Packfile, mac, content).await.unwrap();
    assert_eq!(store.list(Resource::Packfile).await.unwrap(), [mac]);
    assert_eq!(icloud.traces(), Vec::<std::path::PathBuf>::new());
}

/// Each reset arrives while a chunk is being written to the disk. Storing on a disk is so fast that
/// a faulty connector would store some of the objects.
#[tokio::test]
async fn none_of_many_reset_puts_is_stored() {
    let disk = Disk::new();
    disk.put("CONFIG", "config");
    let store = disk.host.store(&disk.settings().with("spool_memory", "0")).await.unwrap();
    let (_, content) = packfile(300_000);
    for n in 0..200 {
        let mut put = store.start_put(Resource::Packfile, [n; 32]).await.unwrap();
        put.send(content.clone()).await.unwrap();
        put.cancel().await;
        // The connector has seen the reset before the next Put.
        store.mode().await.unwrap();
    }
    store.close().await.unwrap();
    store.into_connector().leave().await.unwrap();
    assert!(!disk.path("packfiles").exists(), "something was uploaded");
}

/// plakar refreshes its lock during a backup, while packfiles use all uploads. It ignores a lock
/// that was not refreshed for ten minutes.
#[tokio::test]
async fn a_lock_does_not_wait_for_packfiles() {
    let icloud = ICloud::new();
    icloud.put("kloset/CONFIG", b"config");
    let store = icloud.host.store(&icloud.settings("icloud:///kloset").with("uploads", "1")).await.unwrap();
    let (mac, content) = packfile(100_000);
    let hold = FaultAction::Hold { gate: "packfiles".to_owned(), at: HoldAt::Arrival };
    icloud.simulator.add_fault(FaultRule::new(RequestKind::UploadWeb, hold).matching(hex(&mac)));
    let (put, ()) = tokio::join!(store.put(Resource::Packfile, mac, content), async {
        icloud.until(RequestKind::UploadWeb, 1).await;
        store.put(Resource::Lock, [1; 32], "lock".into()).await.unwrap();
        icloud.simulator.release("packfiles");
    });
    put.unwrap();
}

/// Temporary failures of the service are not visible to plakar.
#[tokio::test]
async fn a_temporary_failure_of_a_put_is_retried() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    for (size, kind, status) in [
        (1_500_000, RequestKind::ContentPost, 503),
        (1_500_001, RequestKind::UploadWeb, 503),
        (1_500_002, RequestKind::UpdateDocuments, 503),
        (1_500_003, RequestKind::UploadWeb, 429),
    ] {
        let (mac, content) = packfile(size);
        icloud.simulator.add_fault(icloud.fail(kind, status).times(1));
        store.put(Resource::Packfile, mac, content.clone()).await.unwrap();
        assert_eq!(store.get(Resource::Packfile, mac, None).await.unwrap(), content, "{status} on {kind:?}");
    }
}

#[tokio::test]
async fn the_error_of_a_full_drive_says_what_to_do() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    icloud.simulator.rules(|rules| rules.drive.quota = 1000);
    let (mac, content) = packfile(100_000);
    let message = store.put(Resource::Packfile, mac, content).await.unwrap_err().message();
    assert!(message.contains("free some space in iCloud"), "{message}");
    assert_eq!(objects(&icloud), Vec::<String>::new());
}

#[tokio::test]
async fn a_spool_folder_that_cannot_be_written_is_named_and_nothing_is_stored() {
    let icloud = ICloud::new();
    icloud.put("kloset/CONFIG", b"config");
    let settings = icloud.settings("icloud:///kloset").with("spool_memory", "0").with("spool_dir", "/dev/null/spool");
    let store = icloud.host.store(&settings).await.unwrap();
    let (mac, content) = packfile(100_000);
    let message = store.put(Resource::Packfile, mac, content).await.unwrap_err().message();
    assert!(message.contains(&hex(&mac)) && message.contains("set spool_dir="), "{message}");
    assert!(!message.contains('\n'), "{message}");
    assert_eq!(objects(&icloud), Vec::<String>::new());
}

#[tokio::test]
async fn stalled_puts_do_not_block_other_calls() {
    let icloud = ICloud::new();
    let store = kloset(&icloud).await;
    let (mac, content) = packfile(40_000_000);
    icloud.hold(RequestKind::UploadWeb, "uploads");
    let mut stalled = Vec::new();
    for n in 0..9 {
        let mut put = store.start_put(Resource::Packfile, [n; 32]).await.unwrap();
        put.send(content.slice(..1_000_000)).await.unwrap();
        stalled.push(put);
    }
    let (put, ()) = tokio::join!(store.put(Resource::Packfile, mac, content.clone()), async {
        icloud.until(RequestKind::UploadWeb, 1).await;
        assert_eq!(store.mode().await.unwrap(), 6);
        store.delete(Resource::Lock, [1; 32]).await.unwrap();
        assert_eq!(store.list(Resource::Packfile).await.unwrap().len(), 0);
        icloud.simulator.release("uploads");
    });
    put.unwrap();
    store.close().await.unwrap();
}

/// The service does not respond during the uploads.
#[tokio::test]
async fn nine_concurrent_puts_need_little_memory() {
    let icloud = ICloud::new();
    icloud.put("kloset/CONFIG", b"config");
    let settings = icloud.settings("icloud:///kloset").with("spool_memory", "8");
    let store = icloud.host.store(&settings).await.unwrap();
    assert_eq!(store.list(Resource::Packfile).await.unwrap().len(), 0);
    let idle = store.connector().resident();
    icloud.hold(RequestKind::ContentPost, "uploads");
    let (_, content) = packfile(8 * 1024 * 1024);
    let puts = (0..9).map(|n| store.put(Resource::Packfile, [n; 32], content.clone()));
    let (puts, busy) = tokio::join!(futures_util::future::try_join_all(puts), async {
        let mut busy = Vec::new();
        for uploads in 1..=9 {
            icloud.until(RequestKind::ContentPost, uploads).await;
            assert_eq!(store.mode().await.unwrap(), 6);
            busy.extend(store.connector().resident().map(|resident| resident.anonymous));
            icloud.simulator.release("uploads");
        }
        busy.into_iter().max()
    });
    puts.unwrap();
    assert_eq!(store.list(Resource::Packfile).await.unwrap().len(), 9);
    assert_eq!(icloud.traces(), Vec::<std::path::PathBuf>::new());
    let (Some(idle), Some(busy)) = (idle, busy) else { return };
    let grown = busy.saturating_sub(idle.anonymous) / 1024;
    assert!(grown < 72, "{grown} MiB for nine packfiles of 8 MiB and a spool of 8 MiB");
}

/// If a Put fails while plakar is sending, plakar reports "EOF" or "context canceled".
#[tokio::test]
async fn the_cause_of_a_failed_put_is_printed_once() {
    let icloud = ICloud::new();
    icloud.put("kloset/CONFIG", b"config");
    let missing = icloud.host.surroundings().root().join("missing").display().to_string();
    let settings = icloud.settings("icloud:///kloset").with("spool_memory", "0").with("spool_dir", &missing);
    let store = icloud.host.store(&settings).await.unwrap();
    for size in [1000, 2000] {
        let (mac, content) = packfile(size);
        let error = store.put(Resource::Packfile, mac, content).await.unwrap_err();
        assert!(error.message().contains("spool folder"), "{error}");
    }
    super::assert_ends_with_one_cause(store).await;
}
