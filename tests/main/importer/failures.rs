//! The effect of a failure: on a file, a folder or the backup.

use std::collections::BTreeMap;
use std::time::Duration;

use icloud_simulator::{Content, FaultAction, FaultRule, RequestKind};
use plakar_host::{Backup, Error, Options, PATIENCE, Signal};

use crate::icloud::{ICloud, MODIFIED, digests};

/// The time within which a connector must exit after plakar has died.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

async fn backup_with_spoiled_content(fault: FaultAction) {
    let icloud = ICloud::new();
    icloud.furnish();
    let first = icloud.backup("icloud://").await;
    icloud.simulator.put_file("spoiled.bin", Content::Generated { seed: 3, size: 300_000 }, MODIFIED);
    let document = icloud.simulator.add_fault(FaultRule::new(RequestKind::ContentGet, fault));
    let second = icloud.backup_after("icloud://", &first).await;
    assert!(icloud.simulator.faults_applied()[&document] > 0);
    assert_eq!(second.errors.keys().collect::<Vec<_>>(), ["/spoiled.bin"]);
    assert!(!second.errors["/spoiled.bin"].is_empty());
    assert!(!second.entries.contains_key("/spoiled.bin"), "damaged content was stored");
    assert_eq!(digests(&second), digests(&first));
    icloud.simulator.clear_faults();
    let third = icloud.backup_after("icloud://", &second).await;
    assert_eq!(third.errors, BTreeMap::new());
    assert_eq!(third.opened.iter().collect::<Vec<_>>(), ["/spoiled.bin"]);
    assert_eq!(digests(&third), icloud.contents());
}

/// A file that is shorter than it was listed is an error and not in the snapshot.
#[tokio::test]
async fn content_shorter_than_listed_is_an_error() {
    backup_with_spoiled_content(FaultAction::Truncate { bytes: 0, clean: true }).await;
}

/// A file that is longer than it was listed is not downloaded again and again.
#[tokio::test]
async fn content_longer_than_listed_is_an_error() {
    backup_with_spoiled_content(FaultAction::Overlong { bytes: 100_000 }).await;
}

/// A file that fails in the middle is an error, and the others are saved.
#[tokio::test]
async fn a_download_that_breaks_is_an_error_of_that_file() {
    backup_with_spoiled_content(FaultAction::Truncate { bytes: 0, clean: false }).await;
}

/// A file that fails in the middle is an error, and the others are saved.
#[tokio::test]
async fn a_download_that_is_refused_is_an_error_of_that_file() {
    let status = FaultAction::Status { status: 403, body: String::new(), headers: BTreeMap::new() };
    backup_with_spoiled_content(status).await;
}

/// A folder that cannot be listed is one error, and the others are saved.
#[tokio::test]
async fn a_folder_that_cannot_be_listed_is_one_error() {
    let icloud = ICloud::new();
    icloud.furnish();
    let deep = icloud.drive_id("docs/deep");
    icloud.simulator.add_fault(icloud.fail(RequestKind::List, 400).matching(deep));
    let snapshot = icloud.backup("icloud://").await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/docs/deep"]);
    assert_eq!(snapshot.violations, Vec::<String>::new());
    let mut expected = icloud.contents();
    expected.retain(|path, _| !path.starts_with("/docs/deep"));
    assert_eq!(digests(&snapshot), expected);
}

#[tokio::test]
async fn an_incomplete_listing_is_backed_up_and_is_an_error() {
    let icloud = ICloud::new();
    icloud.furnish();
    icloud.put("part/seen.txt", b"seen");
    let first = icloud.backup("icloud:///part").await;
    icloud.simulator.add_fault(icloud.hide_from_listing("part", 1));
    let second = icloud.backup_after("icloud:///part", &first).await;
    assert_eq!(second.errors.keys().collect::<Vec<_>>(), ["/part"]);
    assert!(second.errors["/part"].contains("0 of the 1 items"), "{:?}", second.errors);
    assert_eq!(second.violations, Vec::<String>::new());
}

/// A root that cannot be listed ends the backup, and no snapshot is kept.
#[tokio::test]
async fn a_root_that_cannot_be_listed_ends_the_backup() {
    let icloud = ICloud::new();
    icloud.furnish();
    icloud.simulator.add_fault(icloud.fail(RequestKind::List, 400));
    let settings = icloud.settings("icloud://");
    let error = icloud.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}

/// A root that cannot be listed ends the backup, and no snapshot is kept.
#[tokio::test]
async fn a_missing_root_ends_the_backup() {
    let icloud = ICloud::new();
    let settings = icloud.settings("icloud:///no/such/folder");
    let error = icloud.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap_err();
    assert!(error.message().contains("/no/such/folder"), "{error}");
}

/// A refused sign-in ends the backup with one line that says what to do.
#[tokio::test]
async fn an_ended_session_ends_the_backup_with_one_line() {
    let icloud = ICloud::new();
    icloud.furnish();
    icloud.simulator.end_sessions(421);
    icloud.simulator.end_trust();
    let settings = icloud.settings("icloud://");
    let error = icloud.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap_err();
    let message = error.message();
    assert!(!message.contains('\n') && !message.contains("goroutine"), "{message}");
    assert!(message.contains("the session has ended") && message.contains("plakar-icloud login"), "{message}");
    assert!(!message.contains(settings.parameters()["trust_token"].as_str()), "{message}");
}

/// The session ends after the listing, while files are read. Without this check, plakar would keep
/// an incomplete snapshot and exit with 0.
#[tokio::test]
async fn a_session_that_ends_while_files_are_read_ends_the_backup() {
    let icloud = ICloud::new();
    for n in 0..40 {
        icloud.put(&format!("{n}.txt"), b"content");
    }
    icloud.hold(RequestKind::ById, "downloads");
    let importer = icloud.host.importer(&icloud.settings("icloud://"), &Options::concurrency(2)).await.unwrap();
    let (import, ()) = tokio::join!(importer.import(Backup::first()), async {
        icloud.until(RequestKind::ById, 1).await;
        icloud.simulator.end_sessions(421);
        icloud.simulator.end_trust();
        icloud.simulator.release("downloads");
    });
    let message = import.unwrap_err().message();
    assert!(message.contains("the backup ended") && message.contains("plakar-icloud login"), "{message}");
    assert!(!message.contains('\n'), "{message}");
    importer.close().await.unwrap();
    importer.into_connector().leave().await.unwrap();
}

/// A killed importer ends the backup, and no snapshot is kept.
#[tokio::test]
async fn a_killed_importer_ends_the_backup() {
    let icloud = ICloud::new();
    icloud.furnish();
    icloud.hold(RequestKind::ById, "downloads");
    let importer = icloud.host.importer(&icloud.settings("icloud://"), &Options::default()).await.unwrap();
    let (import, ()) = tokio::join!(importer.import(Backup::first()), async {
        icloud.until(RequestKind::ById, 1).await;
        importer.connector().signal(Signal::KILL).unwrap();
    });
    assert!(matches!(import.unwrap_err(), Error::Refused { .. }));
    importer.into_connector().wait(PATIENCE).await.unwrap();
}

/// The importer ends within two seconds of plakar's death.
#[tokio::test]
async fn the_importer_ends_with_plakar() {
    let icloud = ICloud::new();
    icloud.furnish();
    icloud.hold(RequestKind::ById, "downloads");
    let importer = icloud.host.importer(&icloud.settings("icloud://"), &Options::default()).await.unwrap();
    let (import, ()) = tokio::join!(importer.import(Backup::first()), async {
        icloud.until(RequestKind::ById, 1).await;
        importer.connector().hang_up();
    });
    import.unwrap_err();
    importer.into_connector().wait(EXIT_LIMIT).await.unwrap();
}
