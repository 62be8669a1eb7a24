//! Listings and changes of items.

mod client;

use std::time::Duration;

use bytes::Bytes;
use client::{Client, DOCS, DRIVE, ROOT};
use icloud_simulator::{
    Config, Content, ExistingFolder, FaultAction, FaultRule, HoldAt, MissingFolder, Mutation, NameMatching, NameRule,
    OverBatch, RequestKind, SeedTree, Simulator, TakenName,
};
use serde_json::{Value, json};

fn start() -> (Simulator, Client) {
    let simulator = Simulator::start(Config::default()).unwrap();
    let client = Client::signed_in(&simulator);
    (simulator, client)
}

fn put(simulator: &Simulator, path: &str, text: &str) {
    simulator.put_file(path, text.as_bytes().into(), 1_700_000_000_999);
}

fn names(items: &[Value]) -> Vec<&str> {
    items.iter().filter_map(|item| item["name"].as_str()).collect()
}

fn id(item: &Value) -> &str {
    item["drivewsid"].as_str().unwrap()
}

#[test]
fn a_listing_carries_apples_counters() {
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
fn names_are_one_regardless_of_case_and_composition_and_answered_decomposed() {
    let (simulator, client) = start();
    put(&simulator, "\u{e9}t\u{e9}.txt", "composed");
    put(&simulator, "E\u{301}TE\u{301}.TXT", "decomposed, upper case");
    let items = client.list(ROOT);
    assert_eq!(names(&items), ["e\u{301}te\u{301}"]);
    assert_eq!(client.download(id(&items[0])), b"decomposed, upper case");
}

#[test]
fn case_may_make_a_difference_but_composition_never() {
    let (simulator, client) = start();
    simulator.rules(|rules| rules.drive.name_matching = NameMatching::CaseSensitive);
    for name in ["a.txt", "A.txt", "\u{e9}", "e\u{301}"] {
        put(&simulator, name, name);
    }
    assert_eq!(names(&client.list(ROOT)), ["A", "a", "e\u{301}"]);
    simulator.rules(|rules| rules.drive.name_matching = NameMatching::IgnoringCase);
    assert_eq!(client.list(ROOT).len(), 3, "nothing is lost");
    for item in client.list(ROOT) {
        assert_eq!(client.change("moveItemsToTrash", &item, &json!({}))["parentId"], "TRASH_ROOT");
    }
    assert!(simulator.snapshot().is_empty());
}

#[test]
fn a_locked_zone_rejects_a_second_write() {
    let (simulator, client) = start();
    simulator.rules(|rules| rules.drive.zone_lock = true);
    let hold = FaultAction::Hold { gate: String::from("gate"), at: HoldAt::Arrival };
    simulator.add_fault(FaultRule::new(RequestKind::CreateFolders, hold).times(1));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| client.create_folder(ROOT, "first"));
        simulator.wait_for_blocking(RequestKind::CreateFolders, 1, Duration::from_secs(60)).unwrap();
        while simulator.requests()[0].subjects.is_empty() {
            std::thread::yield_now();
        }
        let body = json!({ "destinationDrivewsId": ROOT, "folders": [{ "clientId": "x", "name": "second" }] });
        let rejected = client.post(&format!("{DRIVE}/createFolders"), &body);
        simulator.release("gate");
        assert_eq!((rejected.status, &rejected.json()["serverErrorCode"]), (409, &json!("ZONE_BUSY")));
        assert_eq!(first.join().unwrap()["status"], "OK");
    });
    assert_eq!(client.create_folder(ROOT, "second")["status"], "OK");
}

#[test]
fn several_folders_are_answered_in_order() {
    let (simulator, client) = start();
    simulator.seed(&SeedTree { folders: 20, ..SeedTree::default() });
    let ids: Vec<String> = client.list(ROOT).iter().rev().map(|item| id(item).to_owned()).collect();
    let asked: Vec<&str> = ids.iter().map(String::as_str).collect();
    let answered = client.list_all(&asked).json();
    let answered: Vec<&str> = answered.as_array().unwrap().iter().map(id).collect();
    assert_eq!(answered, asked);
}

#[test]
fn a_batch_limit_refuses_or_answers_the_first_only() {
    let (simulator, client) = start();
    simulator.rules(|rules| rules.drive.max_batch = 2);
    assert_eq!(client.list_all(&[ROOT, ROOT]).json().as_array().unwrap().len(), 2);
    assert_eq!(client.list_all(&[ROOT, ROOT, ROOT]).status, 400);
    simulator.rules(|rules| rules.drive.over_batch = OverBatch::FirstOnly);
    assert_eq!(client.list_all(&[ROOT, ROOT, ROOT]).json().as_array().unwrap().len(), 1);
}

#[test]
fn a_missing_folder_is_invalid_or_not_found() {
    let (simulator, client) = start();
    let missing = "FOLDER::com.apple.CloudDocs::NOWHERE";
    assert_eq!(client.list_all(&[missing]).json()[0]["status"], "ID_INVALID");
    simulator.rules(|rules| rules.drive.missing_folder = MissingFolder::NotFound);
    assert_eq!(client.list_all(&[missing]).status, 404);
}

#[test]
fn partial_data_and_hierarchy_are_given_when_asked_for() {
    let (simulator, client) = start();
    put(&simulator, "a/b/c.txt", "x");
    let a = client.in_root("a");
    let b = client.list(id(&a))[0].clone();
    let wanted = json!([{ "drivewsid": id(&b), "partialData": true, "includeHierarchy": true }]);
    let answer = client.post(&format!("{DRIVE}/retrieveItemDetailsInFolders"), &wanted).json()[0].clone();
    assert_eq!(answer["hierarchy"][0], json!({ "drivewsid": ROOT }));
    assert_eq!(answer["hierarchy"][1]["name"], "a");
    assert_eq!(answer["items"][0].as_object().unwrap().len(), 3);
}

#[test]
fn details_come_without_children_in_the_form_they_were_asked() {
    let (simulator, client) = start();
    simulator.make_folders("a");
    let items = json!({ "items": [{ "drivewsid": ROOT }, { "drivewsid": "FOLDER::com.apple.CloudDocs::NO" }] });
    let url = format!("{DRIVE}/retrieveItemDetails");
    let as_object = client.post(&url, &items).json();
    let as_array = client.post(&url, &json!([items])).json();
    assert_eq!(as_object["items"], as_array);
    assert_eq!(as_array[0]["directChildrenCount"], 1);
    assert!(as_array[0]["items"].is_null());
    assert_eq!(as_array[1]["status"], "ID_INVALID");
}

#[test]
fn a_created_folder_is_listed() {
    let (_simulator, client) = start();
    let folder = client.create_folder(ROOT, "new.folder");
    assert_eq!((&folder["status"], &folder["clientId"]), (&json!("OK"), &json!("FOLDER::TempId-1")));
    let inner = client.create_folder(id(&folder), "inner");
    assert_eq!(client.in_root("new.folder")["drivewsid"], folder["drivewsid"]);
    assert_eq!(client.list(id(&folder))[0]["drivewsid"], inner["drivewsid"]);
}

#[test]
fn an_existing_folder_is_answered_by_the_rule() {
    let (simulator, client) = start();
    simulator.make_folders("Caf\u{e9}");
    let create = || client.create_folder(ROOT, "CAFE\u{301}");
    assert_eq!(create()["status"], "UNKNOWN");
    simulator.rules(|rules| rules.drive.existing_folder = ExistingFolder::AlreadyExists);
    assert_eq!(create()["status"], "ALREADY_EXISTS");
    assert_eq!(client.list(ROOT).len(), 1);
    simulator.rules(|rules| rules.drive.existing_folder = ExistingFolder::Bounce);
    assert_eq!(create()["name"], "CAFE\u{301} 2");
    assert_eq!(create()["name"], "CAFE\u{301} 3");
}

#[test]
fn refused_names_are_refused_everywhere() {
    let (simulator, client) = start();
    put(&simulator, "a.txt", "x");
    let item = client.in_root("a");
    let long = "x".repeat(256);
    for name in ["", ".", "..", "a/b", "a\\b", "a\u{7}b", "a\u{7f}", &long] {
        assert!(client.create_folder(ROOT, name).is_null(), "folder {name:?}");
        assert!(client.change("renameItems", &item, &json!({ "name": name })).is_null(), "rename {name:?}");
        assert_eq!(client.upload_web("com.apple.CloudDocs", name, 1).status, 400, "upload {name:?}");
    }
    for name in [" a ", "a.", ".a", "a:b", &"x".repeat(255)] {
        assert_eq!(client.create_folder(ROOT, name)["status"], "OK", "{name:?}");
    }
    simulator.rules(|rules| {
        rules.drive.refuse_names.insert(NameRule::LeadingDot, true);
        rules.drive.refuse_names.insert(NameRule::Backslash, false);
    });
    assert!(client.create_folder(ROOT, ".b").is_null());
    assert_eq!(client.create_folder(ROOT, "b\\c")["status"], "OK");
}

#[test]
fn rename_takes_the_whole_name_or_name_and_extension() {
    let (simulator, client) = start();
    put(&simulator, "a.txt", "x");
    let renamed = client.change("renameItems", &client.in_root("a"), &json!({ "name": "b.md" }));
    assert_eq!((&renamed["name"], &renamed["extension"]), (&json!("b"), &json!("md")));
    let renamed = client.change("renameItems", &renamed, &json!({ "name": "c", "extension": "txt" }));
    assert_eq!((&renamed["name"], &renamed["extension"]), (&json!("c"), &json!("txt")));
    let same_but_case = client.change("renameItems", &renamed, &json!({ "name": "C.txt" }));
    assert_eq!(same_but_case["name"], "C");
}

#[test]
fn a_stale_etag_conflicts_and_tells_the_present_one() {
    let (simulator, client) = start();
    put(&simulator, "a.txt", "x");
    simulator.make_folders("folder");
    let folder = client.in_root("folder");
    let stale = client.in_root("a");
    simulator.mutate("a.txt", Mutation::BumpEtag).unwrap();
    let conflicts = [
        client.change("renameItems", &stale, &json!({ "name": "b.txt" })),
        client.move_to(&stale, id(&folder)),
        client.change("moveItemsToTrash", &stale, &json!({})),
        client.change("deleteItems", &stale, &json!({})),
    ];
    let present = client.in_root("a");
    for conflict in &conflicts {
        assert_eq!(conflict["parentId"], ROOT, "it stays where it is");
        assert_eq!((&conflict["status"], &conflict["etag"]), (&json!("ETAG_CONFLICT"), &present["etag"]));
    }
    assert_eq!(client.change("renameItems", &conflicts[0], &json!({ "name": "b.txt" }))["status"], "OK");
}

#[test]
fn every_change_changes_the_etag_and_the_folders_by_rule() {
    let (simulator, client) = start();
    put(&simulator, "folder/a.txt", "x");
    let etags = || {
        let folder = client.in_root("folder");
        let file = client.list(id(&folder))[0]["etag"].clone();
        (folder["etag"].clone(), file)
    };
    let before = etags();
    simulator.mutate("folder/a.txt", Mutation::Touch { modified_ms: 5 }).unwrap();
    let after = etags();
    assert!(before.0 != after.0 && before.1 != after.1);
    simulator.rules(|rules| rules.drive.folder_etag_follows_children = false);
    simulator.mutate("folder/a.txt", Mutation::Touch { modified_ms: 6 }).unwrap();
    let last = etags();
    assert!(last.0 == after.0 && last.1 != after.1);
    let content_tag = |etag: &Value| etag.as_str().unwrap().split_once("::").unwrap().1.to_owned();
    assert_eq!(content_tag(&last.1), content_tag(&before.1), "a new time is no new content");
    simulator.mutate("folder/a.txt", Mutation::Write { content: b"new"[..].into(), modified_ms: 7 }).unwrap();
    assert_ne!(content_tag(&etags().1), content_tag(&last.1));
}

#[test]
fn a_taken_name_bounces_or_is_refused() {
    let (simulator, client) = start();
    put(&simulator, "a.txt", "a");
    put(&simulator, "b.txt", "b");
    put(&simulator, "folder/A.TXT", "c");
    let bounced = client.change("renameItems", &client.in_root("a"), &json!({ "name": "B.txt" }));
    assert_eq!(bounced["name"], "B 2");
    let moved = client.move_to(&client.list(id(&client.in_root("folder")))[0], ROOT);
    assert_eq!(moved["name"], "A", "the name is free again");
    simulator.rules(|rules| rules.drive.taken_name = TakenName::Refuse);
    let refused = client.change("renameItems", &client.in_root("A"), &json!({ "name": "b.txt" }));
    assert_eq!(refused["status"], "ALREADY_EXISTS");
    assert_eq!(client.in_root("A")["name"], "A");
}

#[test]
fn a_folder_moves_with_all_it_holds_but_not_into_itself() {
    let (simulator, client) = start();
    put(&simulator, "a/b/c.txt", "x");
    simulator.make_folders("target");
    let (a, target) = (client.in_root("a"), client.in_root("target"));
    let b = client.list(id(&a))[0].clone();
    assert_eq!(client.move_to(&a, id(&b))["status"], "INVALID");
    assert_eq!(client.move_to(&a, id(&target))["status"], "OK");
    let paths: Vec<String> = simulator.snapshot().into_iter().map(|item| item.path).collect();
    assert_eq!(paths, ["target", "target/a", "target/a/b", "target/a/b/c.txt"]);
}

#[test]
fn the_trash_keeps_a_whole_folder_and_gives_it_back() {
    let (simulator, client) = start();
    put(&simulator, "a/b/c.txt", "x");
    let a = client.in_root("a");
    let b = client.list(id(&a))[0].clone();
    assert_eq!(client.change("moveItemsToTrash", &b, &json!({}))["status"], "OK");
    let trashed: Vec<String> = simulator.trash().into_iter().map(|item| item.path).collect();
    assert_eq!(trashed, ["TRASH_ROOT/b", "TRASH_ROOT/b/c.txt"]);
    let listed = client.list("TRASH_ROOT")[0].clone();
    assert_eq!((&listed["restorePath"], &listed["parentId"]), (&json!("a/b"), &json!("TRASH_ROOT")));
    assert_eq!(client.change("moveItemsToTrash", &listed, &json!({}))["status"], "ID_INVALID", "it is there already");

    assert_eq!(client.change("putBackItemsFromTrash", &listed, &json!({}))["status"], "OK");
    assert_eq!(simulator.content("a/b/c.txt").unwrap().read(0, 9), Bytes::from("x"));
    assert!(simulator.trash().is_empty());
}

#[test]
fn deleted_items_are_gone_for_good() {
    let (simulator, client) = start();
    put(&simulator, "a.txt", "x");
    client.change("moveItemsToTrash", &client.in_root("a"), &json!({}));
    let trashed = client.list("TRASH_ROOT")[0].clone();
    assert_eq!(client.change("deleteItems", &trashed, &json!({}))["isDeleted"], true);
    assert!(simulator.trash().is_empty() && simulator.snapshot().is_empty());
}

#[test]
fn items_are_found_by_path_and_by_either_id() {
    let (simulator, client) = start();
    put(&simulator, "a/b.txt", "xy");
    let by_path = |path: &str, unified: bool| {
        client
            .post(&format!("{DOCS}/ws/com.apple.CloudDocs/list/lookup_by_path?unified_format={unified}"), &json!(path))
    };
    assert_eq!(by_path("A", true).json()[0]["directChildrenCount"], 1);
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
fn a_copy_lies_beside_its_original_and_is_placed_by_an_update() {
    let (simulator, client) = start();
    put(&simulator, "a.txt", "x");
    simulator.make_folders("folder");
    let original = client.in_root("a");
    let item_id = original["item_id"].as_str().unwrap();
    let copy = client.post(&format!("{DOCS}/v1/item/copy/{item_id}"), &json!({ "info_to_update": {} })).json();
    assert_eq!(copy["item_info"]["name"], "a 2.txt");
    let found = client
        .get(&format!(
            "{DOCS}/ws/com.apple.CloudDocs/list/lookup_by_id?document_id={}",
            copy["item_id"].as_str().unwrap()
        ))
        .json();
    let update = json!({
        "command": "add_file", "allow_conflict": true, "document_id": found["document_id"], "data": found["data"],
        "mtime": 1000, "btime": 1000,
        "path": { "path": "b.txt", "starting_document_id": client.in_root("folder")["docwsid"] },
    });
    assert_eq!(client.post(&format!("{DOCS}/ws/com.apple.CloudDocs/update/documents"), &update).status, 200);
    let mut paths: Vec<String> = simulator.snapshot().into_iter().map(|item| item.path).collect();
    paths.sort();
    assert_eq!(paths, ["a.txt", "folder", "folder/b.txt"]);
}

#[test]
fn an_app_library_is_a_zone_of_its_own() {
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
    assert_eq!(client.post(&url, &json!("Pages/folder")).status, 404, "CloudDocs does not see into another zone");
}

#[test]
fn what_moves_into_an_app_library_takes_its_zone() {
    let (simulator, client) = start();
    simulator.add_app_library("Pages", "com.apple.Pages");
    put(&simulator, "folder/a.txt", "x");
    let moved = client.move_to(&client.in_root("folder"), "FOLDER::com.apple.Pages::documents");
    assert!(id(&moved).starts_with("FOLDER::com.apple.Pages::"));
    assert_eq!(client.download(id(&client.list(id(&moved))[0])), b"x");
}

#[test]
fn below_the_top_of_a_share_the_drive_host_refuses() {
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
fn a_package_is_listed_with_one_size_and_downloaded_as_a_zip_of_another() {
    let (simulator, client) = start();
    let entries = [(String::from("index.xml"), Bytes::from("<x/>")), (String::from("data/a"), Bytes::from("1"))];
    simulator.put_package("report.pages", &entries, 4321, 0);
    let item = client.in_root("report");
    assert_eq!((&item["extension"], &item["size"], &item["type"]), (&json!("pages"), &json!(4321), &json!("FILE")));
    let ticket = client.content_url(id(&item)).json();
    assert!(ticket["data_token"].is_null());
    let archive = client.get(ticket["package_token"]["url"].as_str().unwrap()).body;
    assert_ne!(archive.len(), 4321);
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    assert_eq!(std::io::read_to_string(archive.by_name("data/a").unwrap()).unwrap(), "1");
}

#[test]
fn seeded_trees_are_the_same_each_time_and_read_back() {
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

#[test]
fn another_device_can_rename_and_erase() {
    let (simulator, _client) = start();
    put(&simulator, "a.txt", "x");
    simulator.make_folders("folder");
    simulator.mutate("a.txt", Mutation::Rename { to: String::from("folder/b.txt") }).unwrap();
    assert!(simulator.content("folder/b.txt").is_ok());
    simulator.mutate("folder", Mutation::Erase).unwrap();
    assert!(simulator.snapshot().is_empty() && simulator.trash().is_empty());
    assert!(simulator.mutate("folder", Mutation::BumpEtag).is_err());
}
