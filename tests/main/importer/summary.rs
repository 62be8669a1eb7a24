//! The result of a backup as a file.

use std::path::PathBuf;

use plakar_host::{Backup, Options, Settings, Snapshot};
use serde_json::{Value, json};

use crate::icloud::ICloud;

struct Source {
    icloud: ICloud,
    file: PathBuf,
    settings: Settings,
}

impl Source {
    fn new() -> Self {
        let icloud = ICloud::new();
        icloud.furnish();
        let file = icloud.host.surroundings().root().join("summary.json");
        let settings = icloud.settings("icloud://").with("summary", file.to_str().unwrap());
        Self { icloud, file, settings }
    }

    async fn backup(&self, parent: Option<&Snapshot>) -> (Snapshot, Value) {
        self.icloud.simulator.reset_counts();
        let backup = parent.map_or_else(Backup::first, Backup::after);
        let snapshot = self.icloud.host.backup(&self.settings, &Options::default(), backup).await.unwrap();
        (snapshot, self.summary())
    }

    fn summary(&self) -> Value {
        serde_json::from_slice(&std::fs::read(&self.file).unwrap()).unwrap()
    }
}

fn members(summary: &Value, names: &[&str]) -> Value {
    names.iter().map(|&name| (name.to_owned(), summary[name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn the_summary_has_the_counts_of_the_backup() {
    let source = Source::new();
    let names = ["kind", "result", "files", "folders", "read", "unchanged", "bytes", "failed", "missing"];
    let (first, summary) = source.backup(None).await;
    let bytes = 100 + 2_000 + 70_000 + 1 + 3_000_001;
    assert_eq!(
        members(&summary, &names),
        json!({
            "kind": "backup", "result": "complete", "files": 6, "folders": 4, "read": 6, "unchanged": 0,
            "bytes": bytes, "failed": 0, "missing": 0,
        })
    );
    assert_eq!(summary["account"], "user@example.com");
    assert_eq!(summary["location"], "/");
    assert!(summary["requests"].as_u64().unwrap() >= 6, "{summary}");
    source.icloud.put("docs/b.txt", b"changed");
    source.icloud.fail_content("docs/b.txt", 404);
    let (_, summary) = source.backup(Some(&first)).await;
    assert_eq!(
        members(&summary, &names),
        json!({
            "kind": "backup", "result": "partial", "files": 6, "folders": 4, "read": 0, "unchanged": 5,
            "bytes": 0, "failed": 1, "missing": 0,
        })
    );
    let causes = summary["causes"].as_object().unwrap();
    assert!(causes.len() == 1 && causes.values().all(|count| count == 1), "{causes:?}");
}

/// With one importer, because the summary has only the requests of the importer that reads.
#[tokio::test]
async fn the_requests_are_those_that_the_service_counts() {
    let source = Source::new();
    let importer = source.icloud.host.importer(&source.settings, &Options::default()).await.unwrap();
    importer.import(Backup::first()).await.unwrap();
    let counted = source.icloud.simulator.counts().total.requests;
    importer.close().await.unwrap();
    importer.into_connector().leave().await.unwrap();
    assert_eq!(source.summary()["requests"], counted);
}

#[tokio::test]
async fn the_summary_of_a_failed_backup_has_the_reason() {
    let source = Source::new();
    source.icloud.simulator.end_sessions(421);
    source.icloud.simulator.end_trust();
    source.icloud.host.backup(&source.settings, &Options::default(), Backup::first()).await.unwrap_err();
    let summary = source.summary();
    assert_eq!(summary["result"], "failed", "{summary}");
    assert!(summary["reason"].as_str().unwrap().contains("plakar-icloud login"), "{summary}");
}

#[tokio::test]
async fn a_backup_succeeds_even_if_its_summary_cannot_be_written() {
    let source = Source::new();
    let root = source.icloud.host.surroundings().root();
    let fifo = root.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    for path in [std::path::Path::new("/nowhere/summary.json"), &fifo, root] {
        let path = path.to_str().unwrap();
        let settings = source.settings.clone().with("summary", path).with("metrics_file", path);
        let importer = source.icloud.host.importer(&settings, &Options::default()).await.unwrap();
        let snapshot = importer.import(Backup::first()).await.unwrap();
        assert_eq!(snapshot.contents().len(), 6);
        importer.close().await.unwrap();
        let told = importer.connector().stderr();
        assert_eq!(told.matches("cannot be written to").count(), 2, "{told}");
        importer.into_connector().leave().await.unwrap();
    }
}
