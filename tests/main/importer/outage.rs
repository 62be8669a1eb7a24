//! An outage of the service during a backup, and the lines that report the result.

use std::collections::BTreeMap;

use icloud_simulator::{FaultAction, FaultRule, RequestKind};
use plakar_host::{Backup, Error, Importer, Options, PATIENCE, Settings, Snapshot};

use crate::icloud::ICloud;

/// Returns settings with few attempts, so that a file fails soon.
fn settings(icloud: &ICloud) -> Settings {
    icloud.settings("icloud://").with("tries", "2")
}

fn drive_of_forty() -> ICloud {
    let icloud = ICloud::new();
    for n in 0..40 {
        icloud.put(&format!("{}/{n}.txt", n % 4), b"content");
    }
    icloud
}

/// Imports while `during` runs. Returns the outcome and the lines on stderr.
async fn backup(
    icloud: &ICloud,
    settings: &Settings,
    during: impl Future<Output = ()>,
) -> (Result<Snapshot, Error>, Vec<String>) {
    let importer = icloud.host.importer(settings, &Options::concurrency(2)).await.unwrap();
    let (import, ()) = tokio::join!(importer.import(Backup::first()), during);
    let lines = stderr_of(importer).await;
    (import, lines)
}

async fn stderr_of(importer: Importer) -> Vec<String> {
    importer.close().await.unwrap();
    let mut connector = importer.into_connector();
    connector.hang_up();
    connector.wait(PATIENCE).await.unwrap();
    connector.stderr().lines().map(str::to_owned).collect()
}

/// Returns the lines about the end of a backup.
fn ends(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.contains("the backup ended") || line.contains("plakar-icloud: backup:")).collect()
}

/// Otherwise plakar would keep a snapshot without most of the files, and exit with 0.
#[tokio::test]
async fn the_loss_of_the_network_ends_the_backup() {
    let icloud = drive_of_forty();
    icloud.hold(RequestKind::ById, "downloads");
    let (import, lines) = backup(&icloud, &settings(&icloud), async {
        icloud.until(RequestKind::ById, 1).await;
        icloud.simulator.add_fault(FaultRule::any(FaultAction::ResetBefore));
        icloud.simulator.release("downloads");
    })
    .await;
    let message = import.unwrap_err().message();
    assert!(message.contains("the backup ended, and nothing of it is kept"), "{message}");
    let ends = ends(&lines);
    assert_eq!(ends.len(), 1, "{lines:?}");
    assert!(ends[0].contains("error") && ends[0].contains("cannot read"), "{lines:?}");
}

/// The other hosts respond, so only requests for content show the outage.
#[tokio::test]
async fn an_outage_of_the_content_host_ends_the_backup() {
    let icloud = drive_of_forty();
    icloud.simulator.add_fault(icloud.fail(RequestKind::ContentGet, 500).skip(3));
    let (import, _) = backup(&icloud, &settings(&icloud), async {}).await;
    let message = import.unwrap_err().message();
    assert!(message.contains("the backup ended"), "{message}");
}

#[tokio::test]
async fn a_backup_that_can_read_no_content_fails() {
    let icloud = drive_of_forty();
    icloud.simulator.add_fault(FaultRule::new(RequestKind::ContentGet, FaultAction::ResetBefore));
    let (import, _) = backup(&icloud, &settings(&icloud), async {}).await;
    import.unwrap_err();
}

/// The service cannot deliver one file, but it is available.
#[tokio::test]
async fn a_file_that_cannot_be_read_fails_alone() {
    let icloud = drive_of_forty();
    icloud.fail_content("2/10.txt", 500);
    let (import, lines) = backup(&icloud, &settings(&icloud), async {}).await;
    assert_eq!(import.unwrap().errors.into_keys().collect::<Vec<_>>(), ["/2/10.txt"]);
    let ends = ends(&lines);
    assert_eq!(ends.len(), 1, "{lines:?}");
    assert!(ends[0].contains("40 files and 5 folders") && ends[0].contains("1 failed: 1 × "), "{lines:?}");
}

#[tokio::test]
async fn a_backup_that_lacks_files_fails_with_on_partial_fail() {
    let icloud = drive_of_forty();
    icloud.fail_content("2/10.txt", 404);
    let events = icloud.host.surroundings().root().join("events");
    let command = format!("echo $PLAKAR_ICLOUD_EVENT $PLAKAR_ICLOUD_FAILED >> {}", events.display());
    for (on_partial, event) in [("keep", "backup-partial 1"), ("fail", "backup-failed 1")] {
        let settings = settings(&icloud).with("on_partial", on_partial).with("on_event", &command);
        let (import, lines) = backup(&icloud, &settings, async {}).await;
        assert_eq!(import.is_ok(), on_partial == "keep", "{import:?}");
        assert_eq!(ends(&lines).len(), 1, "{lines:?}");
        // The connector does not wait for the command.
        while !std::fs::read_to_string(&events).is_ok_and(|told| told.contains(event)) {
            tokio::task::yield_now().await;
        }
    }
    let told = std::fs::read_to_string(&events).unwrap();
    assert_eq!(told.lines().count(), 2, "{told}");
}

/// plakar starts two importers for a backup. The one that only counts reports nothing.
#[tokio::test]
async fn two_importers_of_a_backup_report_it_once() {
    let icloud = drive_of_forty();
    let settings = settings(&icloud);
    let options = Options::concurrency(2);
    let reads = icloud.host.importer(&settings, &options).await.unwrap();
    let counts = icloud.host.importer(&settings, &options).await.unwrap();
    let (import, counted) = tokio::join!(reads.import(Backup::first()), counts.count());
    assert_eq!((import.unwrap().errors, counted.unwrap().files), (BTreeMap::new(), 40));
    counts.close().await.unwrap();
    let lines = [stderr_of(reads).await, stderr_of(counts).await].concat();
    let ends = ends(&lines);
    assert_eq!(ends.len(), 1, "{lines:?}");
    assert!(ends[0].contains("280 bytes transferred, 40 read, none failed; "), "{lines:?}");
}

/// The listings of the two importers may fail differently. The result is that of the importer that
/// reads, also if nothing has to be read.
#[tokio::test]
async fn an_unchanged_backup_has_the_result_of_the_importer_that_reads() {
    let icloud = drive_of_forty();
    let file = icloud.host.surroundings().root().join("summary.json");
    let settings = settings(&icloud).with("summary", file.to_str().unwrap());
    let options = Options::concurrency(2);
    let first = icloud.host.backup(&settings, &options, Backup::first()).await.unwrap();
    for (fails_in_reader, result) in [(true, "partial"), (false, "complete")] {
        let reads = icloud.host.importer(&settings, &options).await.unwrap();
        let counts = icloud.host.importer(&settings, &options).await.unwrap();
        let refused = || icloud.fail(RequestKind::List, 403).matching(icloud.drive_id("2"));
        let fail = || icloud.simulator.add_fault(refused());
        if fails_in_reader {
            fail();
        }
        let import = reads.import(Backup::after(&first)).await.unwrap();
        icloud.simulator.clear_faults();
        if !fails_in_reader {
            fail();
        }
        let counted = counts.count().await.unwrap();
        icloud.simulator.clear_faults();
        assert_eq!((import.errors.is_empty(), counted.errors == 0), (!fails_in_reader, fails_in_reader));
        assert!(import.opened.is_empty(), "{:?}", import.opened);
        // plakar closes the importer that it has started last first.
        let lines = [stderr_of(counts).await, stderr_of(reads).await].concat();
        assert_eq!(ends(&lines).len(), 1, "{lines:?}");
        let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(summary["result"], result, "{summary}");
    }
}
