//! The last runs of an account.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use icloud_simulator::{Content, FaultAction, FaultRule, RequestKind};
use plakar_host::{Backup, Options, Settings, Snapshot};
use serde_json::Value;

use crate::person::Person;

#[tokio::test]
async fn the_last_runs_are_shown() {
    let person = Person::signed_in();
    let none = person.run(&["last"]).ends(0);
    assert!(none.stderr.contains("No run"), "{none:?}");
    assert_eq!(person.run(&["last", "--json"]).ends(0).json(), serde_json::json!([]));
    person.simulator.put_file("a.txt", Content::from(&b"hello"[..]), 1_700_000_000_000);
    let host = person.host();
    let first = host.backup(&Settings::new("icloud://"), &Options::default(), Backup::first()).await.unwrap();
    host.backup(&Settings::new("icloud://"), &Options::default(), Backup::after(&first)).await.unwrap();
    let exported = host.restore(&Settings::new("icloud:///to"), &Options::default(), &first.restore("/")).await;
    exported.unwrap().end.unwrap();
    host.backup(&Settings::new("icloud:///missing"), &Options::default(), Backup::first()).await.unwrap_err();
    let runs = person.run(&["last", "--json"]).ends(0).json();
    let of = |name: &str| runs.as_array().unwrap().iter().map(|run| run[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("kind"), ["backup", "backup", "restore", "backup"]);
    assert_eq!(of("result"), ["complete", "complete", "complete", "failed"]);
    assert_eq!(of("unchanged"), [0, 1, 0, 0]);
    assert_eq!(of("account"), ["icloud"; 4]);
    let shown = person.run(&["last", "-n", "2"]).ends(0).stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(matches!(lines[..], [restore, failed]
        if restore.contains("restore complete /to: 1 file and ") && failed.contains("failed") && failed.contains("/missing")));
    person.run(&["logout"]).ends(0);
    assert!(!person.state().join("runs").read_dir().is_ok_and(|mut left| left.next().is_some()));
}

/// Runs a backup with one importer, so that the service counts only its requests. Checks that
/// the summary, the list of the last runs and the service have counted the same, and returns the
/// snapshot and the summary.
async fn counted_backup(person: &Person, backup: Backup<'_>) -> (Snapshot, Value) {
    let file = person.file("summary.json");
    let settings = Settings::new("icloud://").with("summary", file.to_str().unwrap());
    person.simulator.reset_counts();
    let importer = person.host().importer(&settings, &Options::default()).await.unwrap();
    let snapshot = importer.import(backup).await.unwrap();
    let counts = person.simulator.counts();
    importer.close().await.unwrap();
    importer.into_connector().leave().await.unwrap();
    let summary: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(person.run(&["last", "-n", "1", "--json"]).ends(0).json()[0], summary);

    let items = person.simulator.snapshot();
    let folders = 1 + items.iter().filter(|item| item.folder).count(); // and the top
    let files = items.len() + 1 - folders;
    let requests = person.simulator.requests();
    let downloads: BTreeSet<&str> = requests
        .iter()
        .filter(|request| request.kind == RequestKind::ContentGet)
        .filter_map(|request| request.subjects.iter().find(|subject| items.iter().any(|item| item.path == **subject)))
        .map(String::as_str)
        .collect();
    let number = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!((number("files"), number("folders")), (files as u64, folders as u64), "{summary}");
    assert_eq!(number("requests"), counts.total.requests, "{summary}");
    assert_eq!(number("read") + number("failed"), downloads.len() as u64, "{summary} {downloads:?}");
    assert_eq!(number("read") + number("failed") + number("unchanged"), files as u64, "{summary}");
    let read = snapshot.opened.iter().filter(|path| !snapshot.errors.contains_key(*path));
    let bytes: u64 = read.map(|path| snapshot.entries[path].content.as_ref().unwrap().size).sum();
    assert_eq!(number("bytes"), bytes, "{summary}");
    (snapshot, summary)
}

#[tokio::test]
async fn the_counts_of_a_run_are_those_of_the_service() {
    let person = Person::signed_in();
    let simulator = &person.simulator;
    let put =
        |path: &str, size| simulator.put_file(path, Content::from(Bytes::from(vec![7_u8; size])), 1_700_000_000_000);
    for number in 0..20_usize {
        put(&format!("docs/{}/{number}.txt", number % 3), 1 + number * 100);
    }
    put("large.bin", 3_000_000);
    put("docs/lost.txt", 10);
    simulator.make_folders("empty/inner");
    simulator.add_app_library("Notes", "com.example.notes");
    let entries = [("data".to_owned(), Bytes::from_static(b"song"))];
    simulator.put_package("song.band", &entries, None, 1_700_000_000_000);
    let content_bytes =
        || person.simulator.counts().kinds.get(&RequestKind::ContentGet).map_or(0, |kind| kind.bytes_out);

    let (first, summary) = counted_backup(&person, Backup::first()).await;
    assert_eq!(summary["result"], "complete");
    assert_eq!(summary["bytes"], content_bytes());
    let (_, summary) = counted_backup(&person, Backup::after(&first)).await;
    assert_eq!((summary["read"].as_u64(), summary["bytes"].as_u64(), content_bytes()), (Some(0), Some(0), 0));

    // Refused and broken requests are counted, and the results are the same.
    for (kind, action) in [
        (RequestKind::List, unavailable()),
        (RequestKind::ById, unavailable()),
        (RequestKind::DownloadBatch, unavailable()),
        (RequestKind::ContentGet, unavailable()),
        (RequestKind::ContentGet, FaultAction::Truncate { bytes: 50, clean: false }),
    ] {
        simulator.add_fault(FaultRule::new(kind, action).times(2));
    }
    simulator.end_sessions(421);
    let (with_faults, summary) = counted_backup(&person, Backup::first()).await;
    assert_eq!((summary["result"].as_str(), with_faults.contents()), (Some("complete"), first.contents()));

    let lost = FaultAction::Status { status: 404, body: String::new(), headers: BTreeMap::new() };
    simulator.add_fault(FaultRule::new(RequestKind::ContentGet, lost).matching("docs/lost.txt"));
    let (_, summary) = counted_backup(&person, Backup::first()).await;
    assert_eq!((summary["result"].as_str(), summary["failed"].as_u64()), (Some("partial"), Some(1)), "{summary}");
}

fn unavailable() -> FaultAction {
    FaultAction::Status { status: 503, body: String::new(), headers: BTreeMap::new() }
}
