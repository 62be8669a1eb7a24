//! Backups of a drive of which not everything can be saved.

use std::collections::BTreeMap;

use icloud_simulator::{Counters, FaultAction, FaultRule, OddListing, RequestKind, SeedTree};
use serde_json::Value;

use super::{Installed, files};

/// plakar keeps the snapshot, unless `on_partial` demands a complete one.
#[tokio::test]
async fn missing_items_of_a_listing_make_a_backup_partial() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    for number in 0..1003 {
        icloud.put(&format!("docs/many/{number:04}.txt"), b"x");
    }
    let summary = plakar.path("summary.json");
    let hidden = [(1, Counters::All), (10, Counters::OfTheFolder), (1000, Counters::Files)];
    for (on_partial, status) in [("keep", 0), ("fail", 1)] {
        for (items, counters) in hidden {
            let odd = OddListing::Hide { items, counters };
            let action = FaultAction::OddListing { folder: Some("docs/many".to_owned()), odd };
            icloud.simulator.add_fault(FaultRule::new(RequestKind::List, action));
            let settings = icloud.settings("icloud://").with("on_partial", on_partial).with("summary", &summary);
            let source = format!("{on_partial}{items}");
            plakar.define("source", &source, &settings).await.unwrap();
            let source = format!("@{source}");
            let ended = plakar.run(["at", &plakar.path("plain"), "backup", &source]).await.unwrap();
            assert_eq!(ended.status, Some(status), "{items}: {}", ended.output);
            let error = format!("does not list {items} of them");
            assert!(ended.output.contains("/docs/many"), "{items}: {}", ended.output);
            if counters != Counters::All {
                assert!(ended.output.contains(&error), "{items}: {}", ended.output);
            }
            let summary: Value = serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap();
            let numbers = ["missing", "failed", "files"].map(|name| summary[name].as_u64().unwrap());
            assert_eq!(numbers, [items as u64, 1, 1003 - items as u64], "{summary}");
            assert_eq!(summary["result"], if status == 0 { "partial" } else { "failed" }, "{summary}");
            icloud.simulator.clear_faults();
        }
    }
    assert_eq!(installed.at_plain(&["ls"]).await.lines().count(), hidden.len());
}

/// Of all requests, a twentieth fails, and the session ends meanwhile. The first session can be renewed,
/// the second one cannot.
#[tokio::test]
async fn a_backup_with_frequent_faults_is_complete_or_fails() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    let (prefix, modified_ms) = ("files".to_owned(), crate::icloud::MODIFIED);
    icloud.simulator.seed(&SeedTree { prefix, files: 300, folders: 12, size: 5_000, seed: 1, modified_ms });
    let settings = icloud.settings("icloud://").with("password", "correct horse");
    plakar.define("source", "drive", &settings).await.unwrap();
    for action in [
        FaultAction::Status { status: 503, body: String::new(), headers: BTreeMap::new() },
        FaultAction::ResetBefore,
        FaultAction::Truncate { bytes: 200, clean: false },
    ] {
        icloud.simulator.add_fault(FaultRule::any(action).probability(0.05 / 3.0));
    }
    icloud.simulator.end_sessions_after(100, 421);
    let output = installed.at_plain(&["backup", "@drive"]).await;
    assert!(output.contains("without errors"), "{output}");
    let target = plakar.path("restored");
    installed.at_plain(&["restore", "-to", &target]).await;
    assert_eq!(files(target.as_ref()), icloud.contents());

    icloud.simulator.end_trust();
    icloud.simulator.end_sessions(421);
    let ended = plakar.run(["at", &plakar.path("second"), "create", "-plaintext"]).await.unwrap();
    assert_eq!(ended.status, Some(0), "{}", ended.output);
    let ended = plakar.run(["at", &plakar.path("second"), "backup", "@drive"]).await.unwrap();
    assert_eq!(ended.status, Some(1), "{}", ended.output);
    assert_eq!(plakar.must(["at", &plakar.path("second"), "ls"]).await.unwrap(), "");
}
