//! Calls in plakar's usual order, and in the order of its failures.

use icloud_simulator::{Content, RequestKind};
use plakar_host::{Backup, Keep, Options};
use plakar_protocol::connectors::Record;

use crate::icloud::{ICloud, MODIFIED, assert_sound};

/// A dry run opens no file.
#[tokio::test]
async fn counting_downloads_nothing() {
    let icloud = ICloud::new();
    icloud.furnish();
    let importer = icloud.host.importer(&icloud.settings("icloud://"), &Options::default()).await.unwrap();
    let counts = importer.count().await.unwrap();
    assert_eq!((counts.files, counts.folders, counts.errors), (6, 4, 0));
    assert_eq!(counts.bytes, 100 + 2_000 + 70_000 + 1 + 3_000_001);
    assert_eq!(icloud.count(RequestKind::ById) + icloud.count(RequestKind::ContentGet), 0);
    importer.close().await.unwrap();
    importer.into_connector().leave().await.unwrap();
}

/// A check of the configuration sends no requests to the service.
#[tokio::test]
async fn init_sends_no_requests() {
    let icloud = ICloud::new();
    icloud.furnish();
    let importer = icloud.host.importer(&icloud.settings("icloud:///docs"), &Options::default()).await.unwrap();
    assert_eq!(importer.identity().origin, "user@example.com");
    assert_eq!(importer.identity().root, "/docs");
    importer.close().await.unwrap();
    importer.into_connector().leave().await.unwrap();
    assert_eq!(icloud.simulator.counts().total.requests, 0);
}

/// A ping reaches the account, and fails if the trust was revoked.
#[tokio::test]
async fn ping_reaches_the_account() {
    let icloud = ICloud::new();
    icloud.furnish();
    let importer = icloud.host.importer(&icloud.settings("icloud:///docs"), &Options::default()).await.unwrap();
    importer.ping().await.unwrap();
    assert!(icloud.simulator.counts().total.requests > 0);
    let missing = icloud.host.importer(&icloud.settings("icloud:///none"), &Options::default()).await.unwrap();
    assert!(missing.ping().await.unwrap_err().message().contains("/none"));
    icloud.simulator.end_sessions(421);
    icloud.simulator.end_trust();
    let revoked = icloud.host.importer(&icloud.settings("icloud:///docs"), &Options::default()).await.unwrap();
    revoked.ping().await.unwrap_err();
}

/// At most as many files are open concurrently as plakar requests.
#[tokio::test]
async fn eight_concurrent_large_downloads_need_little_memory() {
    const SIZE: u64 = 12 * 1024 * 1024;
    let icloud = ICloud::new();
    for seed in 0..24 {
        icloud.simulator.put_file(&format!("{seed}.bin"), Content::Generated { seed, size: SIZE }, MODIFIED);
    }
    let options = Options::concurrency(8);
    let importer = icloud.host.importer(&icloud.settings("icloud://"), &options).await.unwrap();
    let idle = importer.connector().resident();
    let snapshot = importer.import(Backup { keep: Keep::Size, ..Backup::first() }).await.unwrap();
    assert_sound(&snapshot);
    assert_eq!(snapshot.bytes(), 24 * SIZE);
    assert_eq!(snapshot.most_open, 8);
    let in_flight = icloud.simulator.counts().kinds[&RequestKind::ContentGet].max_in_flight;
    assert!((2..=8).contains(&in_flight), "{in_flight} downloads at once");
    let (Some(idle), Some(busy)) = (idle, importer.connector().resident()) else { return };
    assert!(!busy.may_use_huge_pages, "small allocations keep huge pages in memory");
    let grown = busy.most.saturating_sub(idle.now) / 1024;
    assert!(grown < 128, "{grown} MiB for 8 downloads");
}

/// Close returns during an import.
#[tokio::test]
async fn close_does_not_wait_for_a_running_import() {
    let icloud = ICloud::new();
    icloud.furnish();
    icloud.hold(RequestKind::List, "listings");
    let importer = icloud.host.importer(&icloud.settings("icloud://"), &Options::default()).await.unwrap();
    let (count, ()) = tokio::join!(importer.count(), async {
        icloud.until(RequestKind::List, 1).await;
        importer.close().await.unwrap();
        importer.connector().hang_up();
    });
    assert!(count.is_err(), "a listing without a response ended: {count:?}");
    importer.into_connector().leave().await.unwrap();
}

#[tokio::test]
async fn a_path_that_was_not_listed_cannot_be_opened() {
    let icloud = ICloud::new();
    icloud.furnish();
    let importer = icloud.host.importer(&icloud.settings("icloud:///docs"), &Options::default()).await.unwrap();
    let record = Record { pathname: "/a.txt".to_owned(), ..Record::default() };
    let error = importer.read(&record, Keep::Size).await.unwrap_err();
    assert!(error.message().contains("/a.txt"), "{error}");
}
