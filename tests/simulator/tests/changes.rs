//! Changes of items.

mod client;

use std::time::Duration;

use bytes::Bytes;

use client::{Client, DOCS, DRIVE, ROOT, id, put, start};
use icloud_simulator::{
    ExistingFolder, FaultAction, FaultRule, HoldAt, Mutation, NameRule, RequestKind, Simulator, TakenName,
};
use serde_json::{Value, json};

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
fn a_created_folder_is_listed() {
    let (_simulator, client) = start();
    let folder = client.create_folder(ROOT, "new.folder");
    assert_eq!((&folder["status"], &folder["clientId"]), (&json!("OK"), &json!("FOLDER::TempId-1")));
    let inner = client.create_folder(id(&folder), "inner");
    let listed = client.in_root("new");
    assert_eq!((&listed["drivewsid"], &listed["extension"]), (&folder["drivewsid"], &json!("folder")));
    assert_eq!(client.list(id(&folder))[0]["drivewsid"], inner["drivewsid"]);
}

#[test]
fn a_folder_that_exists_is_refused_or_gets_another_name_as_the_rule_says() {
    let (simulator, client) = start();
    simulator.make_folders("Caf\u{e9}");
    let create = || client.create_folder(ROOT, "Cafe\u{301}");
    assert_eq!(create()["status"], "UNKNOWN");
    simulator.rules(|rules| rules.drive.existing_folder = ExistingFolder::AlreadyExists);
    assert_eq!(create()["status"], "ALREADY_EXISTS");
    assert_eq!(client.list(ROOT).len(), 1);
    simulator.rules(|rules| rules.drive.existing_folder = ExistingFolder::Bounce);
    assert_eq!(create()["name"], "Cafe\u{301} 2");
    assert_eq!(create()["name"], "Cafe\u{301} 3");
}

#[test]
fn a_refused_name_is_refused_by_every_request_that_sets_a_name() {
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
fn a_rename_accepts_the_whole_name_or_name_and_extension() {
    let (simulator, client) = start();
    put(&simulator, "a.txt", "x");
    let renamed = client.change("renameItems", &client.in_root("a"), &json!({ "name": "b.md" }));
    assert_eq!((&renamed["name"], &renamed["extension"]), (&json!("b"), &json!("md")));
    let renamed = client.change("renameItems", &renamed, &json!({ "name": "c", "extension": "txt" }));
    assert_eq!((&renamed["name"], &renamed["extension"]), (&json!("c"), &json!("txt")));
    let same_but_case = client.change("renameItems", &renamed, &json!({ "name": "C.txt" }));
    assert_eq!(same_but_case["name"], "C");
}

/// Creates `a.txt` in the root, mutates it, and returns it as it was before the mutation.
fn stale(simulator: &Simulator, client: &Client, mutation: Mutation) -> Value {
    put(simulator, "a.txt", "x");
    simulator.make_folders("folder");
    let stale = client.in_root("a");
    simulator.mutate("a.txt", mutation).unwrap();
    stale
}

fn mutations_of_content_and_of_metadata() -> [Mutation; 2] {
    [Mutation::Write { content: b"new"[..].into(), modified_ms: 1 }, Mutation::Touch { modified_ms: 1 }]
}

#[test]
fn moves_and_deletions_refuse_an_outdated_etag_and_return_the_current_one() {
    for mutation in mutations_of_content_and_of_metadata() {
        let (simulator, client) = start();
        let stale = stale(&simulator, &client, mutation);
        let folder = client.in_root("folder");
        let present = client.in_root("a");
        for conflict in [
            client.move_to(&stale, id(&folder)),
            client.change("moveItemsToTrash", &stale, &json!({})),
            client.change("deleteItems", &stale, &json!({})),
        ] {
            let expected = json!({
                "drivewsid": id(&present), "parentId": ROOT, "etag": present["etag"], "status": "ETAG_CONFLICT",
            });
            assert_eq!(conflict, expected);
        }
        assert_eq!(client.in_root("a"), present, "nothing has changed");
    }
}

#[test]
fn a_rename_accepts_an_outdated_etag() {
    for mutation in mutations_of_content_and_of_metadata() {
        let (simulator, client) = start();
        let stale = stale(&simulator, &client, mutation);
        let present = client.in_root("a");
        let renamed = client.change("renameItems", &stale, &json!({ "name": "b.txt" }));
        assert_eq!((&renamed["status"], &renamed["name"], id(&renamed)), (&json!("OK"), &json!("b"), id(&stale)));
        assert!(renamed["etag"] != stale["etag"] && renamed["etag"] != present["etag"]);
    }
}

#[test]
fn rules_can_make_renames_check_etags_and_moves_not() {
    let (simulator, client) = start();
    simulator.rules(|rules| {
        rules.drive.rename_checks_etag = true;
        rules.drive.move_checks_etag = false;
    });
    let stale = stale(&simulator, &client, Mutation::BumpEtag);
    let conflict = client.change("renameItems", &stale, &json!({ "name": "b.txt" }));
    assert_eq!(conflict["status"], "ETAG_CONFLICT");
    assert_eq!(client.change("renameItems", &conflict, &json!({ "name": "b.txt" }))["status"], "OK");
    let folder = client.in_root("folder");
    assert_eq!(client.move_to(&stale, id(&folder))["parentId"], id(&folder));
}

#[test]
fn every_change_changes_the_etag_and_that_of_the_folder_if_the_rule_says_so() {
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
    assert_eq!(content_tag(&last.1), content_tag(&before.1), "a new time does not change the content");
    simulator.mutate("folder/a.txt", Mutation::Write { content: b"new"[..].into(), modified_ms: 7 }).unwrap();
    assert_ne!(content_tag(&etags().1), content_tag(&last.1));
}

#[test]
fn a_taken_name_gets_a_number_or_is_refused() {
    let (simulator, client) = start();
    put(&simulator, "a.txt", "a");
    put(&simulator, "b.txt", "b");
    put(&simulator, "folder/b.txt", "d");
    let bounced = client.change("renameItems", &client.in_root("a"), &json!({ "name": "b.txt" }));
    assert_eq!((&bounced["name"], &bounced["extension"]), (&json!("b 2"), &json!("txt")));
    let inner = client.list(id(&client.in_root("folder")));
    let moved = inner.iter().find(|item| item["name"] == "b").unwrap();
    let moved = client.move_to(moved, ROOT);
    assert_eq!((&moved["name"], &moved["extension"]), (&json!("b 3"), &json!("txt")));
    simulator.rules(|rules| rules.drive.taken_name = TakenName::Refuse);
    let refused = client.change("renameItems", &client.in_root("b 2"), &json!({ "name": "b.txt" }));
    assert_eq!(refused["status"], "ALREADY_EXISTS");
    assert_eq!(client.in_root("b 2")["name"], "b 2");
}

#[test]
fn a_folder_moves_with_its_contents_but_not_into_itself() {
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
fn a_folder_in_the_trash_keeps_its_contents_and_can_be_put_back() {
    let (simulator, client) = start();
    put(&simulator, "a/b/c.txt", "x");
    let a = client.in_root("a");
    let b = client.list(id(&a))[0].clone();
    assert_eq!(client.change("moveItemsToTrash", &b, &json!({}))["status"], "OK");
    let trashed: Vec<String> = simulator.trash().into_iter().map(|item| item.path).collect();
    assert_eq!(trashed, ["TRASH_ROOT/b", "TRASH_ROOT/b/c.txt"]);
    let listed = client.list("TRASH_ROOT")[0].clone();
    assert_eq!((&listed["restorePath"], &listed["parentId"]), (&json!("a/b"), &json!("TRASH_ROOT")));
    assert_eq!(
        client.change("moveItemsToTrash", &listed, &json!({}))["status"],
        "ID_INVALID",
        "it is in the Trash already"
    );

    assert_eq!(client.change("putBackItemsFromTrash", &listed, &json!({}))["status"], "OK");
    assert_eq!(simulator.content("a/b/c.txt").unwrap().read(0, 9), Bytes::from("x"));
    assert!(simulator.trash().is_empty());
}

#[test]
fn deleted_items_are_not_in_the_trash() {
    let (simulator, client) = start();
    put(&simulator, "a.txt", "x");
    client.change("moveItemsToTrash", &client.in_root("a"), &json!({}));
    let trashed = client.list("TRASH_ROOT")[0].clone();
    assert_eq!(client.change("deleteItems", &trashed, &json!({}))["isDeleted"], true);
    assert!(simulator.trash().is_empty() && simulator.snapshot().is_empty());
}

#[test]
fn a_copy_is_created_beside_its_original_and_moved_by_an_update() {
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
fn an_item_moved_into_an_app_library_gets_its_zone() {
    let (simulator, client) = start();
    simulator.add_app_library("Pages", "com.apple.Pages");
    put(&simulator, "folder/a.txt", "x");
    let moved = client.move_to(&client.in_root("folder"), "FOLDER::com.apple.Pages::documents");
    assert!(id(&moved).starts_with("FOLDER::com.apple.Pages::"));
    assert_eq!(client.download(id(&client.list(id(&moved))[0])), b"x");
}

#[test]
fn mutations_rename_and_erase_items() {
    let (simulator, _client) = start();
    put(&simulator, "a.txt", "x");
    simulator.make_folders("folder");
    simulator.mutate("a.txt", Mutation::Rename { to: String::from("folder/b.txt") }).unwrap();
    assert!(simulator.content("folder/b.txt").is_ok());
    simulator.mutate("folder", Mutation::Erase).unwrap();
    assert!(simulator.snapshot().is_empty() && simulator.trash().is_empty());
    assert!(simulator.mutate("folder", Mutation::BumpEtag).is_err());
}

#[test]
fn a_file_gets_another_name_in_the_trash_and_keeps_it_if_the_rule_says_so() {
    let (simulator, client) = start();
    simulator.rules(|rules| rules.drive.trash_renames = true);
    put(&simulator, "folder/a.txt", "x");
    let file = client.list(id(&client.in_root("folder")))[0].clone();
    let trashed = client.change("moveItemsToTrash", &file, &json!({}));
    assert_eq!((&trashed["name"], id(&trashed)), (&json!("a 2"), id(&file)));
    assert_eq!(trashed["restorePath"], "folder/a.txt");
    let back = client.change("putBackItemsFromTrash", &trashed, &json!({}));
    assert_eq!((&back["name"], id(&back)), (&json!("a 2"), id(&file)));
    assert_eq!(client.download(id(&file)), b"x");
}
