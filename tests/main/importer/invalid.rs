//! Listings with items that cannot be used.

use icloud_simulator::{FaultAction, FaultRule, RequestKind};
use serde_json::{Value, json};

use crate::icloud::{ICloud, digests};

/// Runs a backup in which the listing of `docs` has additional items.
async fn backup_with(icloud: &ICloud, more: Vec<Value>) -> plakar_host::Snapshot {
    let docs = icloud.drive_id("docs");
    let mut items: Vec<Value> = vec![json!({
        "drivewsid": icloud.drive_id("docs/good.txt"), "name": "good", "extension": "txt", "type": "FILE",
        "parentId": docs, "size": 4, "etag": "1", "dateModified": "2024-03-05T06:07:08Z",
    })];
    items.extend(more);
    let text = json!([{
        "drivewsid": docs, "name": "docs", "type": "FOLDER", "status": "OK",
        "numberOfItems": items.len(), "items": items,
    }]);
    let malformed = FaultAction::Replace { text: text.to_string(), effect: false };
    icloud.simulator.add_fault(FaultRule::new(RequestKind::List, malformed).matching(docs));
    icloud.backup("icloud:///docs").await
}

fn with_a_file() -> ICloud {
    let icloud = ICloud::new();
    icloud.put("docs/good.txt", b"good");
    icloud
}

#[tokio::test]
async fn an_item_that_cannot_be_used_is_one_error() {
    let id = "FILE::com.apple.CloudDocs::ODD";
    let cases = [
        (json!({ "drivewsid": id, "name": "odd", "type": "FILE", "size": -5 }), "/docs/odd", "size of -5 bytes"),
        (json!({ "drivewsid": id, "name": "odd/name", "type": "FILE", "size": 5 }), "/docs", "odd/name"),
        (json!({ "drivewsid": id, "type": "FILE", "size": 5 }), "/docs", "without a name"),
        (json!({ "name": "odd", "type": "FILE", "size": 5 }), "/docs/odd", "without an id"),
        (json!(7), "/docs", "not a JSON object"),
    ];
    for (item, path, reason) in cases {
        let icloud = with_a_file();
        let snapshot = backup_with(&icloud, vec![item.clone()]).await;
        assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), [path], "{item}");
        assert!(snapshot.errors[path].contains(reason), "{item}: {}", snapshot.errors[path]);
        assert!(digests(&snapshot).keys().eq(["/good.txt"]), "{item}: the rest is not saved");
        assert_eq!(snapshot.violations, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_folder_within_itself_is_one_error() {
    let icloud = with_a_file();
    let again = json!({ "drivewsid": icloud.drive_id("docs"), "name": "again", "type": "FOLDER", "etag": "1" });
    let snapshot = backup_with(&icloud, vec![again]).await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/docs/again"]);
    assert!(snapshot.errors["/docs/again"].contains("within itself"));
    assert!(digests(&snapshot).keys().eq(["/good.txt"]));
}
