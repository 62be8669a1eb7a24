//! Queries of photo libraries that other clients send.

mod client;

use client::{Client, start};
use icloud_simulator::{Content, NewAsset, PRIMARY_ZONE};
use serde_json::{Value, json};

const DATABASE: &str = "https://p123-ckdatabasews.icloud.com/database/1/com.apple.photos.cloud/production/private";

/// Returns the response to a request of the photo database.
fn post(client: &Client, operation: &str, body: &Value) -> Value {
    let response = client.post(&format!("{DATABASE}/{operation}"), body);
    assert_eq!(response.status, 200, "{}", response.json());
    response.json()
}

/// Smart albums are listed and counted alike, without hidden photos.
#[test]
fn a_smart_album_is_an_index() {
    let (simulator, client) = start();
    let favorites = simulator.photos(|library| {
        let mut favorites = Vec::new();
        for number in 0..4 {
            let image = NewAsset::image(&format!("{number}.HEIC"), number, Content::Generated { seed: 1, size: 1 });
            let id = library.add(PRIMARY_ZONE, NewAsset { favorite: number > 0, hidden: number == 3, ..image });
            if number == 1 || number == 2 {
                favorites.push(json!(id));
            }
        }
        favorites
    });
    let equals = |field: &str, value: Value| json!({ "fieldName": field, "fieldValue": { "value": value } });
    let zone = json!({ "zoneName": PRIMARY_ZONE });
    let listed = post(
        &client,
        "records/query",
        &json!({
            "query": {
                "recordType": "CPLAssetAndMasterInSmartAlbumByAssetDate",
                "filterBy": [
                    equals("startRank", json!(0)), equals("direction", json!("ASCENDING")),
                    equals("smartAlbum", json!("FAVORITE")),
                ],
            },
            "zoneID": zone,
        }),
    );
    let records = listed["records"].as_array().unwrap();
    let assets: Vec<&Value> = records
        .iter()
        .filter(|record| record["recordType"] == "CPLAsset")
        .map(|record| &record["recordName"])
        .collect();
    assert_eq!(assets, favorites.iter().collect::<Vec<_>>());
    assert_eq!(records.len(), 2 * assets.len());

    let filter = json!({
        "fieldName": "indexCountID", "fieldValue": { "value": ["CPLAssetInSmartAlbumByAssetDate:Favorite"] },
    });
    let query = json!({ "recordType": "HyperionIndexCountLookup", "filterBy": filter });
    let request = json!({ "query": query, "zoneID": zone });
    let counted = post(&client, "internal/records/query/batch", &json!({ "batch": [request] }));
    assert_eq!(counted["batch"][0]["records"][0]["fields"]["itemCount"]["value"], 2);
    let counted = post(&client, "records/query", &request);
    assert_eq!(counted["records"][0]["fields"]["itemCount"]["value"], 2);
}

#[test]
fn zones_have_two_lists() {
    let (simulator, client) = start();
    simulator.photos(|library| library.add_zone("SharedSync-1", false));
    let [listed, changed] = ["zones/list", "changes/database"].map(|operation| post(&client, operation, &json!({})));
    assert_eq!(listed["zones"], changed["zones"]);
    assert_eq!(listed["zones"].as_array().map(Vec::len), Some(2));
}

/// Folders that contain each other are in no list, but can be looked up.
#[test]
fn folders_that_contain_each_other_are_not_listed() {
    let (simulator, client) = start();
    let [one, two] = simulator.photos(|library| {
        let folders = ["One", "Two"].map(|name| library.add_album(PRIMARY_ZONE, name, "", true));
        library.move_album(PRIMARY_ZONE, &folders[0], &folders[1]);
        library.move_album(PRIMARY_ZONE, &folders[1], &folders[0]);
        folders
    });
    let zone = json!({ "zoneName": PRIMARY_ZONE });
    let query = json!({ "query": { "recordType": "CPLAlbumByPositionLive", "filterBy": [] }, "zoneID": zone });
    let listed = post(&client, "records/query", &query);
    assert_eq!(listed["records"].as_array().map(Vec::len), Some(1), "only the root folder");
    let wanted = json!({ "records": [{ "recordName": one }, { "recordName": two }], "zoneID": zone });
    let found = post(&client, "records/lookup", &wanted);
    assert_eq!(found["records"][0]["fields"]["parentId"]["value"], json!(two));
    assert_eq!(found["records"][1]["fields"]["parentId"]["value"], json!(one));
}
