//! The costs of reads, and wrong responses.

use bytes::Bytes;
use futures_util::future::join_all;
use icloud_simulator::{Content, FaultAction, FaultRule, RequestKind};
use plakar_host::{Resource, digest, until};

use crate::drive::{Drive, MIB, bytes, get, path, status};

#[tokio::test]
async fn small_reads_of_a_small_packfile_are_one_transfer() {
    let drive = Drive::new();
    let mac = drive.packfile(1, MIB + 5);
    let content = bytes(1, MIB + 5);
    let store = drive.store(&drive.settings()).await;
    for at in (0..MIB).rev().step_by(10_007) {
        assert_eq!(
            get(&store, mac, at, 3000).await.unwrap(),
            content.slice(at as usize..content.len().min(at as usize + 3000))
        );
    }
    assert_eq!((drive.requests(RequestKind::ById), drive.requests(RequestKind::ContentGet)), (1, 1));
}

#[tokio::test]
async fn a_sequential_read_of_a_large_packfile_takes_few_requests() {
    let drive = Drive::new();
    let size = 64 * MIB + 12_345;
    let mac = drive.packfile(2, size);
    let content = bytes(2, size);
    let store = drive.store(&drive.settings()).await;
    for at in (0..size).step_by(65_537) {
        assert_eq!(
            get(&store, mac, at, 65_537).await.unwrap(),
            content.slice(at as usize..size.min(at + 65_537) as usize)
        );
    }
    assert!(drive.requests(RequestKind::ContentGet) <= 12, "{}", drive.requests(RequestKind::ContentGet));
    assert_eq!(drive.fetched(), size);
}

#[tokio::test]
async fn large_ranges_in_a_packfile_are_fetched_with_little_around_them() {
    let drive = Drive::new();
    let mac = drive.packfile(3, 64 * MIB);
    let store = drive.store(&drive.settings()).await;
    for at in (10 * MIB..50 * MIB).step_by(5 * MIB as usize) {
        get(&store, mac, at + 77, 5 * MIB).await.unwrap();
    }
    assert!(drive.fetched() <= 52 * MIB, "{}", drive.fetched());
    assert!(drive.requests(RequestKind::ContentGet) <= 8, "{}", drive.requests(RequestKind::ContentGet));
}

#[tokio::test]
async fn scattered_reads_do_not_fetch_a_whole_large_packfile() {
    let drive = Drive::new();
    let mac = drive.packfile(4, 64 * MIB);
    let store = drive.store(&drive.settings()).await;
    for at in (0..10).map(|n| (n * 7 % 10) * 6 * MIB) {
        get(&store, mac, at + 1000, 1500).await.unwrap();
    }
    assert!(drive.fetched() <= 20 * MIB, "{}", drive.fetched());
}

/// plakar 1.2 merges the reads of neighbouring blobs into ranges of up to 4 MiB, for a batch of files
/// at once.
#[tokio::test]
async fn merged_ranges_are_fetched_with_little_around_them() {
    let drive = Drive::new();
    let macs: Vec<_> = (20..24).map(|seed| drive.packfile(seed, 16 * MIB)).collect();
    let store = drive.store(&drive.settings()).await;
    for at in [0, 4, 8, 12] {
        let ranges = macs.iter().map(|mac| get(&store, *mac, at * MIB + 100_000, 3 * MIB));
        join_all(ranges).await.into_iter().for_each(|range| assert_eq!(range.unwrap().len() as u64, 3 * MIB));
    }
    assert!(drive.fetched() <= 64 * MIB, "{}", drive.fetched());
    assert!(drive.requests(RequestKind::ContentGet) <= 32, "{}", drive.requests(RequestKind::ContentGet));
}

/// `plakar doctor -deep` reads every blob, in no order.
#[tokio::test]
async fn blobs_in_random_order_are_fetched_once() {
    let drive = Drive::new();
    let size = 16 * MIB;
    let macs: Vec<_> = (30..33).map(|seed| drive.packfile(seed, size)).collect();
    let store = drive.store(&drive.settings()).await;
    let blobs = 3 * size / 65_536;
    // Multiplication by a number without a common factor visits every blob once.
    for blob in (0..blobs).map(|number| number * 331 % blobs) {
        let (mac, at) = (macs[(blob % 3) as usize], blob / 3 * 65_536);
        assert_eq!(get(&store, mac, at, 65_536).await.unwrap().len(), 65_536);
    }
    assert!(drive.fetched() <= 3 * size * 5 / 4, "{}", drive.fetched());
    assert!(drive.requests(RequestKind::ContentGet) <= blobs / 2, "{}", drive.requests(RequestKind::ContentGet));
}

#[tokio::test]
async fn concurrent_reads_of_missing_blocks_share_a_transfer() {
    let drive = Drive::new();
    let mac = drive.packfile(5, 2 * MIB);
    let content = bytes(5, 2 * MIB);
    let store = drive.store(&drive.settings()).await;
    let reads = (0..64).map(|n| get(&store, mac, n * 30_000, 20_000));
    for (n, read) in join_all(reads).await.into_iter().enumerate() {
        assert_eq!(read.unwrap(), content.slice(n * 30_000..n * 30_000 + 20_000));
    }
    assert_eq!(drive.requests(RequestKind::ContentGet), 1);
    assert_eq!(drive.requests(RequestKind::List), 3, "the top, the kloset, the packfiles");
}

/// plakar reads each new state twice (K/repository/repository.go RebuildState).
#[tokio::test]
async fn a_state_that_is_read_again_needs_no_request() {
    let drive = Drive::new();
    let content = bytes(6, 20 * MIB);
    let mac = digest(&content);
    drive.simulator.put_file(&path("states", mac), Content::Generated { seed: 6, size: 20 * MIB }, 1_700_000_000_000);
    // Half of the memory is for content, which is just enough.
    let store = drive.store(&drive.settings().with("cache_memory", "41")).await;
    assert_eq!(store.get(Resource::State, mac, None).await.unwrap(), content);
    let once = drive.simulator.counts().total.requests;
    assert_eq!(store.get(Resource::State, mac, None).await.unwrap(), content);
    assert_eq!(drive.simulator.counts().total.requests, once);
}

#[tokio::test]
async fn packfiles_larger_than_the_memory_limit_are_read() {
    let drive = Drive::new();
    let mac = drive.packfile(12, 9 * MIB + 1);
    for memory in ["0", "1", "4"] {
        let store = drive.store(&drive.settings().with("cache_memory", memory)).await;
        let whole = store.get(Resource::Packfile, mac, None).await.unwrap();
        assert_eq!(whole, bytes(12, 9 * MIB + 1));
        assert_eq!(
            get(&store, mac, MIB + 1, 6 * MIB).await.unwrap(),
            whole.slice(MIB as usize + 1..7 * MIB as usize + 1)
        );
    }
}

/// plakar lists locks and then reads each of them, while others refresh theirs.
#[tokio::test]
async fn a_lock_that_was_stored_again_since_the_listing_is_read_in_its_new_version() {
    let drive = Drive::new();
    // Otherwise, the listed version could still be read.
    drive.simulator.rules(|rules| rules.drive.trashed_content = false);
    let (store, other) = (drive.store(&drive.settings()).await, drive.store(&drive.settings()).await);
    store.create("config").await.unwrap();
    let (refreshed, deleted) = ([10; 32], [11; 32]);
    other.put(Resource::Lock, refreshed, Bytes::from("first")).await.unwrap();
    other.put(Resource::Lock, deleted, Bytes::from("first")).await.unwrap();
    assert_eq!(store.list(Resource::Lock).await.unwrap().len(), 2);
    other.put(Resource::Lock, refreshed, Bytes::from("second, longer")).await.unwrap();
    other.delete(Resource::Lock, deleted).await.unwrap();
    let name = path("locks", deleted);
    until(|| !drive.simulator.snapshot().iter().any(|item| item.path == name)).await;
    assert_eq!(store.get(Resource::Lock, refreshed, None).await.unwrap(), "second, longer");
    let message = store.get(Resource::Lock, deleted, None).await.unwrap_err().message();
    assert!(message.contains("does not exist"), "{message}");
}

/// plakar lists the locks after it has stored its own lock, and reads this lock, too.
#[tokio::test]
async fn reading_its_own_lock_needs_no_request() {
    let drive = Drive::new();
    let (store, other) = (drive.store(&drive.settings()).await, drive.store(&drive.settings()).await);
    store.create("config").await.unwrap();
    let (own, others) = ([10; 32], [11; 32]);
    store.put(Resource::Lock, own, Bytes::from("own")).await.unwrap();
    other.put(Resource::Lock, others, Bytes::from("the other's")).await.unwrap();
    store.list(Resource::Lock).await.unwrap();
    let before = drive.requests(RequestKind::ContentGet);
    assert_eq!(store.get(Resource::Lock, own, None).await.unwrap(), "own");
    assert_eq!(drive.requests(RequestKind::ContentGet), before);
    assert_eq!(store.get(Resource::Lock, others, None).await.unwrap(), "the other's");
    // After a listing, the version that the service lists is read.
    other.put(Resource::Lock, own, Bytes::from("not its own")).await.unwrap();
    store.list(Resource::Lock).await.unwrap();
    assert_eq!(store.get(Resource::Lock, own, None).await.unwrap(), "not its own");
    store.delete(Resource::Lock, own).await.unwrap();
    store.get(Resource::Lock, own, None).await.unwrap_err();
}

#[tokio::test]
async fn deleted_and_replaced_objects_are_not_read_from_the_cache() {
    let drive = Drive::new();
    let store = drive.store(&drive.settings()).await;
    store.create("config").await.unwrap();
    let packfile = bytes(7, MIB);
    let mac = digest(&packfile);
    store.put(Resource::Packfile, mac, packfile.clone()).await.unwrap();
    assert_eq!(get(&store, mac, 5, 10).await.unwrap(), packfile.slice(5..15));
    store.delete(Resource::Packfile, mac).await.unwrap();
    get(&store, mac, 5, 10).await.unwrap_err();

    let lock = [9; 32];
    for text in ["first", "second, longer", "3rd"] {
        store.put(Resource::Lock, lock, Bytes::from(text)).await.unwrap();
        assert_eq!(store.get(Resource::Lock, lock, None).await.unwrap(), text);
    }
    assert_eq!(store.list(Resource::Lock).await.unwrap(), [lock]);
}

#[tokio::test]
async fn requests_with_short_overlong_or_refused_responses_are_repeated() {
    let faults = [
        FaultAction::Truncate { bytes: 300_000, clean: false },
        FaultAction::Truncate { bytes: 300_000, clean: true },
        FaultAction::Overlong { bytes: 10 },
        FaultAction::ResetBefore,
        FaultAction::ResetStream,
        FaultAction::HtmlPage { status: 200 },
        status(503),
        status(429),
    ];
    for (n, action) in faults.into_iter().enumerate() {
        for kind in [RequestKind::ContentGet, RequestKind::ById] {
            let drive = Drive::new();
            let number = u8::try_from(n).unwrap();
            let mac = drive.packfile(number, 6 * MIB);
            let store = drive.store(&drive.settings()).await;
            let fault = drive.simulator.add_fault(FaultRule::new(kind, action.clone()).times(1));
            let read = get(&store, mac, MIB + 100, 2 * MIB).await;
            let read = read.unwrap_or_else(|error| panic!("{action:?} of {kind:?}: {}", error.message()));
            assert_eq!(
                read,
                bytes(number, 6 * MIB).slice(MIB as usize + 100..3 * MIB as usize + 100),
                "{action:?} of {kind:?}"
            );
            assert_eq!(drive.simulator.faults_applied()[&fault], 1, "{action:?} of {kind:?}");
        }
    }
}

#[tokio::test]
async fn a_failed_read_has_an_error_and_a_later_read_succeeds() {
    let drive = Drive::new();
    let mac = drive.packfile(8, MIB);
    let store = drive.store(&drive.settings().with("tries", "2")).await;
    let truncated = FaultAction::Truncate { bytes: 1000, clean: true };
    let fault = drive.simulator.add_fault(FaultRule::new(RequestKind::ContentGet, truncated));
    let message = get(&store, mac, 5000, 100).await.unwrap_err().message();
    assert!(message.contains(&path("packfiles", mac)[17..]) && !message.contains('\n'), "{message}");
    drive.simulator.remove_fault(fault);
    assert_eq!(get(&store, mac, 5000, 100).await.unwrap(), bytes(8, MIB).slice(5000..5100));
}

#[tokio::test]
async fn later_processes_read_blocks_from_the_disk_cache() {
    let drive = Drive::new();
    let size = 9 * MIB + 4321;
    let mac = drive.packfile(11, size);
    let folder = tempfile::TempDir::new().unwrap();
    let settings = drive.settings().with("cache_dir", folder.path().join("blocks").to_string_lossy());
    let content = bytes(11, size);
    let first = drive.store(&settings).await;
    assert_eq!(get(&first, mac, 0, size).await.unwrap(), content);
    // Blocks are written to disk after they were passed on.
    let stored = || std::fs::read_dir(folder.path().join("blocks")).map_or(0, Iterator::count);
    until(|| stored() == 37).await;
    first.into_connector().leave().await.unwrap();
    drive.simulator.reset_counts();
    for damaged in [false, true] {
        if damaged {
            for block in std::fs::read_dir(folder.path().join("blocks")).unwrap() {
                std::fs::write(block.unwrap().path(), "damaged").unwrap();
            }
        }
        let next = drive.store(&settings).await;
        assert_eq!(get(&next, mac, 0, size).await.unwrap(), content);
        assert_eq!(drive.requests(RequestKind::ContentGet) > 0, damaged);
    }
}

#[tokio::test]
async fn processes_that_share_a_disk_cache_read_the_right_content() {
    let drive = Drive::new();
    let size = 9 * MIB + 4321;
    let mac = drive.packfile(13, size);
    let content = bytes(13, size);
    let folder = tempfile::TempDir::new().unwrap();
    // The limit is smaller than the packfile, so blocks are removed while others are read.
    let settings = drive.settings().with("cache_dir", folder.path().to_string_lossy()).with("cache_size", "8");
    let (one, other) = (drive.store(&settings).await, drive.store(&settings).await);
    let reads = (0..9).flat_map(|n| [(&one, n), (&other, 8 - n)]).map(|(store, n)| async move {
        let at = n * MIB + 99;
        (at, get(store, mac, at, MIB).await.unwrap())
    });
    for (at, read) in join_all(reads).await {
        assert_eq!(read, content.slice(at as usize..(at + MIB) as usize));
    }
    for store in [one, other] {
        store.into_connector().leave().await.unwrap();
    }
    let stored: u64 =
        std::fs::read_dir(folder.path()).unwrap().map(|block| block.unwrap().metadata().unwrap().len()).sum();
    assert!(stored > 0 && stored <= 8 * MIB, "{stored}");
    let next = drive.store(&settings).await;
    assert_eq!(get(&next, mac, 0, size).await.unwrap(), content);
}

#[tokio::test]
async fn a_disk_cache_that_cannot_be_written_causes_one_warning_and_no_failure() {
    let drive = Drive::new();
    let size = 9 * MIB;
    let mac = drive.packfile(14, size);
    let settings = drive.settings().with("cache_dir", "/dev/null/blocks");
    let store = drive.store(&settings).await;
    let warnings = || store.connector().stderr().matches("cannot be stored in cache_dir=/dev/null/blocks").count();
    for at in (0..9).rev().map(|n| n * MIB) {
        assert_eq!(get(&store, mac, at, MIB).await.unwrap(), bytes(14, size).slice(at as usize..(at + MIB) as usize));
    }
    until(|| warnings() > 0).await;
    assert_eq!(warnings(), 1, "{}", store.connector().stderr());
}
