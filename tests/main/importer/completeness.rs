//! Listings that lack items which the counters of the service include.

use icloud_simulator::{Counters, FaultAction, FaultRule, OddListing, RequestKind};
use plakar_host::{Backup, Options, Snapshot};
use serde_json::Value;

use crate::icloud::{ICloud, assert_sound};

fn hide(items: usize, counters: Counters) -> FaultRule {
    let odd = OddListing::Hide { items, counters };
    FaultRule::new(RequestKind::List, FaultAction::OddListing { folder: Some("docs/many".to_owned()), odd })
}

/// Runs a backup. Returns the snapshot and the summary.
async fn backup(icloud: &ICloud) -> (Snapshot, Value) {
    run(icloud, Backup::first()).await
}

async fn backup_after(icloud: &ICloud, parent: &Snapshot) -> (Snapshot, Value) {
    run(icloud, Backup::after(parent)).await
}

async fn run(icloud: &ICloud, backup: Backup<'_>) -> (Snapshot, Value) {
    let file = icloud.host.surroundings().root().join("summary.json");
    let settings = icloud.settings("icloud://").with("summary", file.to_str().unwrap());
    let snapshot = icloud.host.backup(&settings, &Options::default(), backup).await.unwrap();
    (snapshot, serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}

#[tokio::test]
async fn items_that_are_counted_but_not_listed_are_reported_as_missing() {
    for hidden in [1, 10, 1000] {
        for counters in [Counters::All, Counters::OfTheFolder, Counters::Files] {
            let icloud = ICloud::new();
            for n in 0..hidden + 3 {
                icloud.put(&format!("docs/many/{n:04}.txt"), b"x");
            }
            icloud.put("docs/other.txt", b"other");
            icloud.simulator.add_fault(hide(hidden, counters));
            let (snapshot, summary) = backup(&icloud).await;
            assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/docs/many"], "{counters:?}");
            assert!(snapshot.errors["/docs/many"].contains("the service counts"), "{:?}", snapshot.errors);
            assert_eq!(snapshot.contents().len(), 4);
            assert_eq!(summary["missing"], hidden, "{counters:?} {summary}");
            assert_eq!((summary["result"].as_str(), summary["failed"].as_u64()), (Some("partial"), Some(1)));
        }
    }
}

/// The repeated listing is complete.
#[tokio::test]
async fn a_listing_that_lacks_items_once_is_repeated() {
    for counters in [Counters::All, Counters::OfTheFolder, Counters::Files] {
        let icloud = ICloud::new();
        for n in 0..5 {
            icloud.put(&format!("docs/many/{n}.txt"), b"x");
        }
        // Other listings do not count as one.
        let fault = hide(2, counters).matching(icloud.drive_id("docs/many")).times(1);
        let fault = icloud.simulator.add_fault(fault);
        let snapshot = icloud.backup("icloud://").await;
        assert_sound(&snapshot);
        assert_eq!(snapshot.contents().len(), 5, "{counters:?}");
        assert_eq!(icloud.simulator.faults_applied()[&fault], 1);
    }
}

/// The counters in a listing may be older than those that are requested by the id of the folder.
#[tokio::test]
async fn old_counters_of_a_listing_are_not_reported() {
    let icloud = ICloud::new();
    for n in 0..5 {
        icloud.put(&format!("docs/many/{n}.txt"), b"x");
    }
    icloud.simulator.add_fault(hide(2, Counters::OfTheFolder));
    let id = icloud.drive_id("docs/many");
    let folder = serde_json::json!({
        "drivewsid": id, "parentId": "p", "etag": "1", "name": "many", "type": "FOLDER", "status": "OK",
        "directChildrenCount": 3, "fileCount": 3,
    });
    let text = serde_json::json!({ "items": [folder] }).to_string();
    let details = FaultAction::Replace { text, effect: false };
    let fault = icloud.simulator.add_fault(FaultRule::new(RequestKind::ListDetails, details).matching(id));
    let snapshot = icloud.backup("icloud://").await;
    assert_sound(&snapshot);
    assert_eq!(snapshot.contents().len(), 3);
    assert!(icloud.simulator.faults_applied()[&fault] > 0);
}

/// The folders of two apps may have the same display name. Their names are the same in each backup.
#[tokio::test]
async fn folders_of_apps_with_equal_names_get_different_names() {
    let icloud = ICloud::new();
    for zone in ["com.example.one", "com.example.two"] {
        icloud.simulator.add_app_library("Notes", zone);
    }
    let first = icloud.backup("icloud://").await;
    assert_sound(&first);
    let names: Vec<&str> = first.entries.keys().map(String::as_str).filter(|path| path.starts_with("/Notes")).collect();
    assert!(matches!(names[..], ["/Notes", other] if other.starts_with("/Notes (")), "{names:?}");
    let second = icloud.backup_after("icloud://", &first).await;
    assert_eq!(second.entries.keys().collect::<Vec<_>>(), first.entries.keys().collect::<Vec<_>>());
}

/// Packages, shared folders and the folders of apps, whose counters are unknown.
#[tokio::test]
async fn nothing_is_reported_as_missing_in_a_complete_drive() {
    let icloud = ICloud::new();
    icloud.furnish();
    icloud.simulator.add_app_library("Pages", "com.apple.Pages");
    icloud.put("Pages/letter.txt", b"letter");
    icloud.put("team/plans/deep/plan.txt", b"plan");
    icloud.simulator.share("team").unwrap();
    let entries = [("projectData".to_owned(), bytes::Bytes::from_static(b"song"))];
    icloud.simulator.put_package("docs/song.band", &entries, Some(4), crate::icloud::MODIFIED);
    let (snapshot, summary) = backup(&icloud).await;
    assert_sound(&snapshot);
    assert_eq!(summary["missing"], 0);
    let numbers = ["files", "read", "packages", "shared", "failed"].map(|name| summary[name].as_u64().unwrap());
    assert_eq!(numbers, [9, 9, 1, 4, 0], "{summary}");
    let (_, later) = backup_after(&icloud, &snapshot).await;
    let numbers = ["files", "read", "unchanged", "packages"].map(|name| later[name].as_u64().unwrap());
    assert_eq!(numbers, [9, 0, 9, 1], "{later}");
}
