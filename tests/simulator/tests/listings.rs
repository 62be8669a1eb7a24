//! Listings and identities of items.

mod client;

use client::{DOCS, DRIVE, ROOT, id, names, put, start};
use icloud_simulator::{Content, DetailsForm, MissingFolder, NameMatching, OverBatch, SeedTree, Simulator};
use serde_json::{Value, json};

#[test]
fn a_listing_has_the_counters_of_its_folder() {
    let (simulator, client) = start();
    put(&simulator, "a/one.txt", "12345");
    put(&simulator, "a/b/two.tar.gz", "123");
    simulator.make_folders("a/c");
    let root = &client.list_all(&[ROOT]).json()[0];
    assert_eq!(
        (&root["fileCount"], &root["assetQuota"], &root["directChildrenCount"]),
        (&json!(2), &json!(8), &json!(1))
    );
    let folder = &client.list_all(&[id(&root["items"][0])]).json()[0];
    assert_eq!((&folder["fileCount"], &folder["assetQuota"]), (&json!(2), &json!(8)));
    assert_eq!((&folder["directChildrenCount"], &folder["numberOfItems"]), (&json!(3), &json!(3)));
    let inner = folder["items"].as_array().unwrap().iter().find(|item| item["name"] == "b").unwrap();
    assert_eq!(
        (&inner["fileCount"], &inner["assetQuota"], &inner["directChildrenCount"]),
        (&json!(1), &json!(3), &json!(1))
    );

    client.change("moveItemsToTrash", inner, &json!({}));
    let root = &client.list_all(&[ROOT]).json()[0];
    assert_eq!((&root["fileCount"], &root["assetQuota"]), (&json!(1), &json!(5)));
}

#[test]
fn files_are_split_into_name_and_extension_and_dated_in_seconds() {
    let (simulator, client) = start();
    for name in ["two.tar.gz", ".hidden", "dot.", "plain"] {
        put(&simulator, name, "x");
    }
    let listed: Vec<(Value, Value)> = client
        .list(ROOT)
        .into_iter()
        .map(|item| {
            assert_eq!(item["dateModified"], "2023-11-14T22:13:20Z");
            assert!(item["etag"].as_str().unwrap().contains("::"));
            (item["name"].clone(), item["extension"].clone())
        })
        .collect();
    let expected = [(".hidden", None), ("dot.", None), ("plain", None), ("two.tar", Some("gz"))];
    assert_eq!(listed, expected.map(|(name, extension)| (json!(name), json!(extension))));
}

#[test]
fn names_are_equal_regardless_of_composition_and_returned_decomposed() {
    let (simulator, client) = start();
    put(&simulator, "\u{e9}t\u{e9}.txt", "composed");
    put(&simulator, "e\u{301}te\u{301}.txt", "decomposed");
    let items = client.list(ROOT);
    assert_eq!(names(&items), ["e\u{301}te\u{301}"]);
    assert_eq!(client.download(id(&items[0])), b"decomposed");
}

#[test]
fn names_differ_by_case_if_the_rule_says_so_but_never_by_composition() {
    let (simulator, client) = start();
    for name in ["a.txt", "A.txt", "\u{e9}", "e\u{301}"] {
        put(&simulator, name, name);
    }
    assert_eq!(names(&client.list(ROOT)), ["A", "a", "e\u{301}"]);
    simulator.rules(|rules| rules.drive.name_matching = NameMatching::IgnoringCase);
    assert_eq!(client.list(ROOT).len(), 3, "nothing is lost");
    put(&simulator, "E\u{301}", "the same file");
    assert_eq!(client.list(ROOT).len(), 3);
    for item in client.list(ROOT) {
        assert_eq!(client.change("moveItemsToTrash", &item, &json!({}))["parentId"], "TRASH_ROOT");
    }
    assert!(simulator.snapshot().is_empty());
}

#[test]
fn listings_are_returned_in_the_order_of_the_request() {
    let (simulator, client) = start();
    simulator.seed(&SeedTree { folders: 20, ..SeedTree::default() });
    let ids: Vec<String> = client.list(ROOT).iter().rev().map(|item| id(item).to_owned()).collect();
    let requested: Vec<&str> = ids.iter().map(String::as_str).collect();
    let listings = client.list_all(&requested).json();
    let listed: Vec<&str> = listings.as_array().unwrap().iter().map(id).collect();
    assert_eq!(listed, requested);
}

#[test]
fn a_request_over_the_batch_limit_is_refused_or_gets_only_the_first_listing() {
    let (simulator, client) = start();
    simulator.rules(|rules| rules.drive.max_batch = 2);
    assert_eq!(client.list_all(&[ROOT, ROOT]).json().as_array().unwrap().len(), 2);
    assert_eq!(client.list_all(&[ROOT, ROOT, ROOT]).status, 400);
    simulator.rules(|rules| rules.drive.over_batch = OverBatch::FirstOnly);
    assert_eq!(client.list_all(&[ROOT, ROOT, ROOT]).json().as_array().unwrap().len(), 1);
}

#[test]
fn a_missing_folder_gets_an_invalid_entry_or_status_404() {
    let (simulator, client) = start();
    let missing = "FOLDER::com.apple.CloudDocs::NOWHERE";
    assert_eq!(client.list_all(&[missing]).json()[0]["status"], "ID_INVALID");
    simulator.rules(|rules| rules.drive.missing_folder = MissingFolder::NotFound);
    assert_eq!(client.list_all(&[missing]).status, 404);
}

#[test]
fn partial_data_and_the_hierarchy_are_returned_on_request() {
    let (simulator, client) = start();
    put(&simulator, "a/b/c.txt", "x");
    let a = client.in_root("a");
    let b = client.list(id(&a))[0].clone();
    let wanted = json!([{ "drivewsid": id(&b), "partialData": true, "includeHierarchy": true }]);
    let response = client.post(&format!("{DRIVE}/retrieveItemDetailsInFolders"), &wanted).json()[0].clone();
    assert_eq!(response["hierarchy"][0], json!({ "drivewsid": ROOT }));
    assert_eq!(response["hierarchy"][1]["name"], "a");
    assert_eq!(response["items"][0].as_object().unwrap().len(), 3);
}

#[test]
fn details_have_no_children_and_include_items_in_the_trash() {
    let (simulator, client) = start();
    put(&simulator, "a/b.txt", "x");
    let file = client.list(id(&client.in_root("a")))[0].clone();
    let details = client.post(&format!("{DRIVE}/retrieveItemDetails"), &json!({ "items": [{ "drivewsid": ROOT }] }));
    assert_eq!(details.json()["items"][0]["directChildrenCount"], 1);
    assert!(details.json()["items"][0]["items"].is_null());
    assert_eq!(client.details(id(&file)), file, "as listed");
    client.change("moveItemsToTrash", &file, &json!({}));
    let trashed = client.details(id(&file));
    assert_eq!((&trashed["parentId"], &trashed["restorePath"]), (&json!("TRASH_ROOT"), &json!("a/b.txt")));
    assert_eq!(client.details("FOLDER::com.apple.CloudDocs::NO")["status"], "ID_INVALID");
}

#[test]
fn only_the_form_of_the_rule_is_accepted_for_details() {
    let (simulator, client) = start();
    let url = format!("{DRIVE}/retrieveItemDetails");
    let object = json!({ "items": [{ "drivewsid": ROOT }] });
    assert_eq!(client.post(&url, &json!([object])).status, 400);
    simulator.rules(|rules| rules.drive.details_form = DetailsForm::Array);
    assert_eq!(client.post(&url, &json!([object])).json()[0]["drivewsid"], ROOT);
    assert_eq!(client.post(&url, &object).status, 400);
}

#[test]
fn the_trash_is_listed_under_either_id() {
    let (simulator, client) = start();
    put(&simulator, "a.txt", "x");
    client.change("moveItemsToTrash", &client.in_root("a"), &json!({}));
    let listing = client.list_all(&["TRASH_ROOT", "FOLDER::com.apple.CloudDocs::TRASH_ROOT"]).json();
    assert_eq!((&listing[0]["drivewsid"], &listing[0]["numberOfItems"]), (&json!("TRASH_ROOT"), &json!(1)));
    assert_eq!(listing[0], listing[1]);
}

#[test]
fn items_are_found_by_path_and_by_either_id() {
    let (simulator, client) = start();
    put(&simulator, "a/b.txt", "xy");
    let by_path = |path: &str, unified: bool| {
        client
            .post(&format!("{DOCS}/ws/com.apple.CloudDocs/list/lookup_by_path?unified_format={unified}"), &json!(path))
    };
    assert_eq!(by_path("a", true).json()[0]["directChildrenCount"], 1);
    let document = by_path("a/b.txt", false).json()[0].clone();
    assert_eq!((&document["name"], &document["size"], &document["type"]), (&json!("b.txt"), &json!(2), &json!("FILE")));
    assert_eq!(by_path("a/c", true).status, 404);
    for key in ["document_id", "item_id"] {
        let url =
            format!("{DOCS}/ws/com.apple.CloudDocs/list/lookup_by_id?document_id={}", document[key].as_str().unwrap());
        assert_eq!(client.get(&url).json()["document_id"], document["document_id"], "{key}");
    }
    let raw = client.get(&format!("{DOCS}/v1/item/{}", document["item_id"].as_str().unwrap())).json();
    assert_eq!(raw["item_info"]["size"], "2");
    let folder = by_path("a", false).json()[0]["item_id"].as_str().unwrap().to_owned();
    let children = client.get(&format!("{DOCS}/v1/enumerate/{folder}?limit=10")).json();
    assert_eq!(children["drive_item"], json!([raw]));
}

#[test]
fn an_app_library_has_its_own_zone() {
    let (simulator, client) = start();
    simulator.add_app_library("Pages", "com.apple.Pages");
    put(&simulator, "Pages/folder/a.txt", "x");
    let library = client.in_root("Pages");
    assert_eq!(library["type"], "APP_LIBRARY");
    assert_eq!(library["drivewsid"], "FOLDER::com.apple.Pages::documents");
    let folder = client.list(id(&library))[0].clone();
    assert_eq!(folder["zone"], "com.apple.Pages");

    let document = folder["docwsid"].as_str().unwrap();
    let refused = client.upload("com.apple.CloudDocs", document, "b.txt", b"x");
    assert_eq!(refused.status, 412);
    assert!(refused.json()["serverErrorCode"] == "VALIDATING_REFERENCE_ERROR");
    assert_eq!(client.upload("com.apple.Pages", document, "b.txt", b"x").status, 200);
    assert_eq!(client.upload("com.apple.Pages", "documents", "top.txt", b"x").status, 200);

    let url = format!("{DOCS}/ws/com.apple.CloudDocs/list/lookup_by_path?unified_format=true");
    assert_eq!(
        client.post(&url, &json!("Pages/folder")).status,
        404,
        "a lookup in CloudDocs does not find items of another zone"
    );
}

#[test]
fn the_drive_host_refuses_folders_below_the_top_of_a_share() {
    let (simulator, client) = start();
    put(&simulator, "shared/top.txt", "top");
    put(&simulator, "shared/inner/deep.txt", "deep");
    simulator.share("shared").unwrap();
    let root = client.in_root("shared");
    assert!(id(&root).starts_with("SHARED_FOLDER::"));
    assert_eq!((&root["share"], &root["type"]), (&json!("TO_ME"), &json!("FOLDER")));
    let items = client.list(id(&root));
    assert_eq!(names(&items), ["inner", "top"]);
    assert_eq!(client.download(id(&items[1])), b"top");

    let inner = &items[0];
    assert!(id(inner).starts_with("FOLDER_IN_SHARED_FOLDER::"));
    assert_eq!(inner["shareID"], root["shareID"]);
    assert_eq!(client.list_all(&[id(inner)]).status, 400);
    assert!(client.create_folder(id(inner), "x").is_null());
    assert_eq!(client.upload("com.apple.CloudDocs", inner["docwsid"].as_str().unwrap(), "x", b"x").status, 400);

    let children = client.get(&format!("{DOCS}/v1/enumerate/{}", inner["item_id"].as_str().unwrap())).json();
    let url = children["drive_item"][0]["item_info"]["urls"]["url_download"].as_str().unwrap().to_owned();
    let deep = simulator.snapshot().into_iter().find(|item| item.path.ends_with("deep.txt")).unwrap();
    assert_eq!(client.content_url(&deep.drive_id).status, 404);
    let redirect = client.get(&url);
    assert_eq!(redirect.status, 330);
    assert_eq!(client.get(redirect.header("location")).body, b"deep");
}

#[test]
fn the_same_seed_gives_the_same_tree() {
    let tree = SeedTree { prefix: "s".into(), files: 6, folders: 2, size: 1000, seed: 7, modified_ms: 1000 };
    let (first, client) = start();
    let (second, _) = start();
    first.seed(&tree);
    second.seed(&tree);
    let files =
        |simulator: &Simulator| -> Vec<_> { simulator.snapshot().into_iter().filter(|item| !item.folder).collect() };
    assert_eq!(files(&first).len(), 6);
    assert_eq!(files(&first), files(&second));
    let item = client.list(id(&client.list(id(&client.in_root("s")))[1]))[0].clone();
    let expected = Content::Generated { seed: 8, size: 1000 };
    assert_eq!(client.download(id(&item)), expected.read(0, 1000));
}
