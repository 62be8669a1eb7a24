//! Contents that differ from the checksums that the service reports for them.

use icloud_simulator::{FaultAction, FaultRule, RequestKind};
use plakar_host::{Backup, Options, Snapshot};

use crate::icloud::{ICloud, assert_sound, digests};

/// Inverts a byte of each download of a file, at most `times` times.
fn flip(icloud: &ICloud, path: &str, times: u64) {
    let rule = FaultRule::new(RequestKind::ContentGet, FaultAction::WrongByte { offset: 0 });
    icloud.simulator.add_fault(rule.matching(path).times(times));
}

/// Returns a drive with a file that a backup has read, and this backup.
async fn with_proof() -> (ICloud, Snapshot) {
    let icloud = ICloud::new();
    icloud.put("a.txt", b"a");
    let first = icloud.backup("icloud://").await;
    assert_sound(&first);
    icloud.simulator.reset_counts();
    (icloud, first)
}

#[tokio::test]
async fn a_damaged_download_is_repeated() {
    let (icloud, first) = with_proof().await;
    icloud.put("b.txt", b"content");
    flip(&icloud, "b.txt", 1);
    let second = icloud.backup_after("icloud://", &first).await;
    assert_sound(&second);
    assert_eq!(digests(&second), icloud.contents());
    assert_eq!(icloud.count(RequestKind::ContentGet), 3);
}

/// plakar has the first pieces already, so the file is read again by the next backup.
#[tokio::test]
async fn a_damaged_download_of_a_large_file_is_an_error_of_the_file() {
    let (icloud, first) = with_proof().await;
    for (path, size) in [("large.bin", 2_500_000), ("in parts.bin", 17_000_000)] {
        icloud.put(path, &vec![7; size]);
        flip(&icloud, path, 1);
    }
    let second = icloud.backup_after("icloud://", &first).await;
    assert_eq!(second.errors.keys().collect::<Vec<_>>(), ["/in parts.bin", "/large.bin"]);
    assert!(second.errors["/large.bin"].contains("checksum"), "{:?}", second.errors);
    assert_eq!(digests(&second), digests(&first));
    let third = icloud.backup_after("icloud://", &second).await;
    assert_sound(&third);
    assert_eq!(digests(&third), icloud.contents());
}

/// What the service always delivers is saved, because there is nothing better.
#[tokio::test]
async fn a_content_that_always_differs_from_its_checksum_is_saved_with_a_warning() {
    let (icloud, first) = with_proof().await;
    for (path, size) in [("b.txt", 10), ("large.bin", 2_500_000)] {
        icloud.put(path, &vec![7; size]);
        flip(&icloud, path, 100);
    }
    let importer = icloud.host.importer(&icloud.settings("icloud://"), &Options::default()).await.unwrap();
    let second = importer.import(Backup::after(&first)).await.unwrap();
    assert_sound(&second);
    assert_eq!(second.contents().len(), 3);
    let told = importer.connector().stderr();
    let warnings = told.lines().filter(|line| line.contains("differs from the checksum")).count();
    assert!(warnings == 2 && told.contains("\"b.txt\""), "{told}");
    importer.into_connector().leave().await.unwrap();
}

/// Checksums that no content of the account has are not used.
#[tokio::test]
async fn checksums_of_another_algorithm_are_not_used() {
    let icloud = ICloud::new();
    icloud.simulator.rules(|rules| rules.drive.published_checksums = false);
    for number in 0..40 {
        icloud.put(&format!("{number}.txt"), b"content");
    }
    let snapshot = icloud.backup("icloud://").await;
    assert_sound(&snapshot);
    assert_eq!(icloud.count(RequestKind::ContentGet), 40);
}

/// If the service begins to report other checksums, a process stops to use them.
#[tokio::test]
async fn checksums_that_become_wrong_are_not_used_for_long() {
    let (icloud, first) = with_proof().await;
    icloud.simulator.rules(|rules| rules.drive.published_checksums = false);
    for number in 0..60 {
        icloud.put(&format!("{number}.txt"), b"content");
    }
    let options = Options::concurrency(1);
    let second = icloud.host.backup(&icloud.settings("icloud://"), &options, Backup::after(&first)).await.unwrap();
    assert_sound(&second);
    assert_eq!(digests(&second), icloud.contents());
    // The file of the first backup may have been read ahead.
    let downloads = icloud.count(RequestKind::ContentGet);
    assert!((80..=81).contains(&downloads), "{downloads}");
}
