//! Uploads and downloads.

mod client;

use client::{Client, DOCS, ROOT, id, start, update_body};
use icloud_simulator::{BatchGap, Content, RequestKind, Simulator};
use serde_json::{Value, json};
use ureq::http::Method;

const ZONE: &str = "com.apple.CloudDocs";

/// Creates a file of ten digits, and returns its content URL.
fn digits(simulator: &Simulator, client: &Client) -> String {
    simulator.put_file("digits", b"0123456789"[..].into(), 0);
    let item = client.in_root("digits");
    client.content_url(id(&item)).json()["data_token"]["url"].as_str().unwrap().to_owned()
}

#[test]
fn an_upload_in_three_steps_becomes_a_document() {
    let (simulator, client) = start();
    let reply = client.upload(ZONE, "root", "\u{e9}.txt", b"hello").json();
    let document = &reply["results"][0]["document"];
    assert_eq!((&document["size"], &document["name"]), (&json!(5), &json!("e\u{301}.txt")));
    assert_eq!(reply["status"]["status_code"], 0);
    let stored = &simulator.snapshot()[0];
    assert_eq!((stored.path.as_str(), stored.modified_ms), ("\u{e9}.txt", 1_700_000_001_000));
    let listed = &client.list(ROOT)[0];
    assert_eq!((&listed["etag"], &listed["dateCreated"]), (&document["etag"], &json!("2023-11-14T22:13:20Z")));
    assert_eq!(client.download(listed["drivewsid"].as_str().unwrap()), b"hello");
}

#[test]
fn the_bytes_can_be_sent_as_a_multipart_form() {
    let (simulator, client) = start();
    let ticket = client.upload_web(ZONE, "a.txt", 5).json()[0].clone();
    let body = b"--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.txt\"\r\n\r\nhello\r\n--b--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let posted = client.try_send(Method::POST, ticket["url"].as_str().unwrap(), &headers, body).unwrap();
    assert_eq!(posted.json()["singleFile"]["size"], 5);
    let update = update_body(&ticket, &posted.json()["singleFile"], "root", "a.txt");
    assert_eq!(client.post(&format!("{DOCS}/ws/{ZONE}/update/documents"), &update).status, 200);
    assert_eq!(simulator.content("a.txt").unwrap().read(0, 9), "hello");
}

#[test]
fn an_upload_with_another_size_than_announced_is_refused() {
    let (simulator, client) = start();
    let ticket = client.upload_web(ZONE, "a.txt", 5).json()[0].clone();
    let posted = client.try_send(Method::POST, ticket["url"].as_str().unwrap(), &[], b"hell").unwrap();
    assert_eq!(posted.status, 400);
    let forged = json!({ "fileChecksum": "x", "size": 4, "receipt": "x" });
    let update = update_body(&ticket, &forged, "root", "a.txt");
    assert_eq!(client.post(&format!("{DOCS}/ws/{ZONE}/update/documents"), &update).status, 400);
    assert!(simulator.snapshot().is_empty());
}

#[test]
fn receipt_signature_and_size_must_be_those_of_the_upload() {
    let (_simulator, client) = start();
    let ticket = client.upload_web(ZONE, "a.txt", 5).json()[0].clone();
    let posted = client.try_send(Method::POST, ticket["url"].as_str().unwrap(), &[], b"hello").unwrap().json();
    let update = |key: &str, value: serde_json::Value| {
        let mut single_file = posted["singleFile"].clone();
        single_file[key] = value;
        let update = update_body(&ticket, &single_file, "root", "a.txt");
        client.post(&format!("{DOCS}/ws/{ZONE}/update/documents"), &update).status
    };
    assert_eq!(update("receipt", json!("other")), 400);
    assert_eq!(update("fileChecksum", json!("other")), 400);
    assert_eq!(update("size", json!(4)), 400);
    let mut invented = update_body(&ticket, &posted["singleFile"], "root", "a.txt");
    invented["document_id"] = json!("INVENTED");
    assert_eq!(client.post(&format!("{DOCS}/ws/{ZONE}/update/documents"), &invented).status, 400);
    assert_eq!(update("unrelated", json!(1)), 200);
}

#[test]
fn an_empty_file_gets_no_receipt_and_a_content_url_if_the_rule_says_so() {
    let (simulator, client) = start();
    let ticket = client.upload_web(ZONE, "empty", 0).json()[0].clone();
    let posted = client.try_send(Method::POST, ticket["url"].as_str().unwrap(), &[], b"").unwrap().json();
    assert!(posted["singleFile"]["receipt"].is_null());
    assert_eq!(client.upload(ZONE, "root", "empty", b"").status, 200);
    let item = client.in_root("empty");
    assert_eq!(item["size"], 0);
    assert_eq!(client.download(id(&item)), b"");
    simulator.rules(|rules| rules.drive.empty_content = false);
    assert_eq!(client.content_url(id(&item)).status, 400);
}

#[test]
fn a_document_with_a_taken_name_gets_a_number_unless_conflicts_are_not_allowed() {
    let (simulator, client) = start();
    simulator.put_file("a.tar.gz", b"old"[..].into(), 0);
    let reply = client.upload(ZONE, "root", "a.tar.gz", b"new").json();
    assert_eq!(reply["results"][0]["document"]["name"], "a.tar 2.gz");
    assert_eq!(simulator.content("a.tar.gz").unwrap().read(0, 9), "old");

    let ticket = client.upload_web(ZONE, "a.tar.gz", 1).json()[0].clone();
    let posted = client.try_send(Method::POST, ticket["url"].as_str().unwrap(), &[], b"x").unwrap().json();
    let mut update = update_body(&ticket, &posted["singleFile"], "root", "a.tar.gz");
    update["allow_conflict"] = json!(false);
    let refused = client.post(&format!("{DOCS}/ws/{ZONE}/update/documents"), &update);
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["reason"], "Uniqueness constraint violation. Rejecting update");
}

#[test]
fn an_update_sent_twice_creates_one_document() {
    let (simulator, client) = start();
    let ticket = client.upload_web(ZONE, "a.txt", 5).json()[0].clone();
    let posted = client.try_send(Method::POST, ticket["url"].as_str().unwrap(), &[], b"hello").unwrap().json();
    let update = update_body(&ticket, &posted["singleFile"], "root", "a.txt");
    for _ in 0..2 {
        assert_eq!(client.post(&format!("{DOCS}/ws/{ZONE}/update/documents"), &update).status, 200);
    }
    assert_eq!(simulator.snapshot().len(), 1);
}

#[test]
fn an_update_of_an_existing_document_replaces_its_content_in_place() {
    let (simulator, client) = start();
    simulator.put_file("a.txt", b"old"[..].into(), 0);
    let before = client.in_root("a");
    let ticket = client.upload_web(ZONE, "a.txt", 3).json()[0].clone();
    let posted = client.try_send(Method::POST, ticket["url"].as_str().unwrap(), &[], b"new").unwrap().json();
    let mut update = update_body(&ticket, &posted["singleFile"], "root", "a.txt");
    update["document_id"] = before["docwsid"].clone();
    update["allow_conflict"] = json!(false);
    let url = format!("{DOCS}/ws/{ZONE}/update/documents");
    let document = client.post(&url, &update).json()["results"][0]["document"].clone();
    assert_eq!((&document["document_id"], &document["name"]), (&before["docwsid"], &json!("a.txt")));
    assert_ne!(document["etag"], before["etag"]);
    assert_eq!(client.download(before["drivewsid"].as_str().unwrap()), b"new");
    assert!(simulator.trash().is_empty());
    assert_eq!(client.post(&url, &update).status, 200, "a repeated update changes nothing");

    update["data"]["signature"] = json!("other");
    assert_eq!(client.post(&url, &update).status, 400);
}

#[test]
fn a_document_in_an_unknown_or_trashed_folder_is_refused() {
    let (simulator, client) = start();
    simulator.make_folders("gone");
    let folder = client.in_root("gone");
    client.change("moveItemsToTrash", &folder, &json!({}));
    simulator.add_app_library("Pages", "com.apple.Pages");
    let library = client.in_root("Pages");
    for document in ["NOWHERE", folder["docwsid"].as_str().unwrap(), library["item_id"].as_str().unwrap()] {
        assert_eq!(client.upload(ZONE, document, "a.txt", b"x").status, 412);
    }
}

#[test]
fn an_upload_over_the_quota_is_refused_and_the_trash_counts() {
    let (simulator, client) = start();
    simulator.rules(|rules| rules.drive.quota = 10);
    simulator.put_file("a", b"123456"[..].into(), 0);
    let refused = client.upload_web(ZONE, "b", 5);
    assert_eq!(refused.status, 413);
    assert_eq!(refused.json()["serverErrorCode"], "QUOTA_EXCEEDED");
    assert_eq!(client.upload_web(ZONE, "b", 4).status, 200);
    client.change("moveItemsToTrash", &client.in_root("a"), &json!({}));
    assert_eq!(client.upload_web(ZONE, "b", 5).status, 413);
    let trashed = client.list("TRASH_ROOT")[0].clone();
    client.change("deleteItems", &trashed, &json!({}));
    assert_eq!(client.upload_web(ZONE, "b", 5).status, 200);
}

#[test]
fn a_range_request_returns_exactly_the_range() {
    let (simulator, client) = start();
    let url = digits(&simulator, &client);
    let get = |range: &str| {
        let reply = client.try_send(Method::GET, &url, &[("range", range)], b"").unwrap();
        (reply.status, String::from_utf8(reply.body.clone()).unwrap(), reply.header("content-range").to_owned())
    };
    let part = |text: &str, range: &str| (206, text.to_owned(), format!("bytes {range}/10"));
    assert_eq!(get("bytes=2-4"), part("234", "2-4"));
    assert_eq!(get("bytes=7-"), part("789", "7-9"));
    assert_eq!(get("bytes=-3"), part("789", "7-9"));
    assert_eq!(get("bytes=8-99"), part("89", "8-9"));
    assert_eq!(get("bytes=10-"), (416, String::new(), String::from("bytes */10")));
    assert_eq!(get("bytes=x"), (200, String::from("0123456789"), String::new()));
    assert_eq!(simulator.requests().last().unwrap().range.as_deref(), Some("bytes=x"));
}

#[test]
fn a_content_url_expires_after_a_number_of_uses_and_after_its_lifetime() {
    for status in [403, 404, 410] {
        let (simulator, client) = start();
        simulator.rules(|rules| {
            rules.drive.url_uses = 2;
            rules.drive.spent_url_status = status;
        });
        let url = digits(&simulator, &client);
        let seen: Vec<u16> = (0..3).map(|_| client.get(&url).status).collect();
        assert_eq!(seen, [200, 200, status]);
        let url = digits(&simulator, &client);
        simulator.advance_clock(3600);
        assert_eq!(client.get(&url).status, status);
        assert_eq!(client.get(&url.replace("&s=", "&s=forged")).status, 403);
    }
}

#[test]
fn a_content_url_needs_no_cookie_and_its_content_does_not_change() {
    let (simulator, client) = start();
    let url = digits(&simulator, &client);
    simulator.put_file("digits", b"changed"[..].into(), 0);
    assert_eq!(Client::new(&simulator).get(&url).body, b"0123456789");
}

#[test]
fn a_missing_item_and_a_folder_have_no_content_url() {
    let (_simulator, client) = start();
    assert_eq!(client.content_url("FILE::com.apple.CloudDocs::NOWHERE").status, 404);
    assert_eq!(client.content_url("FILE::com.apple.Pages::root").status, 404, "another zone");
    assert_eq!(client.content_url(ROOT).status, 400);
}

#[test]
fn a_file_in_the_trash_can_be_downloaded_if_the_rule_says_so() {
    let (simulator, client) = start();
    simulator.put_file("a", b"x"[..].into(), 0);
    let item = client.in_root("a");
    client.change("moveItemsToTrash", &item, &json!({}));
    assert_eq!(client.download(id(&item)), b"x");
    simulator.rules(|rules| rules.drive.trashed_content = false);
    assert_eq!(client.content_url(id(&item)).status, 404);
}

/// Creates the files `a`, `b` and `c`, whose contents are their names, and returns their ids.
fn three(simulator: &Simulator, client: &Client) -> Vec<String> {
    for name in ["a", "b", "c"] {
        simulator.put_file(name, name.as_bytes().into(), 0);
    }
    client.list(ROOT).iter().map(|item| id(item).to_owned()).collect()
}

#[test]
fn a_batch_returns_the_content_urls_of_several_documents_in_order() {
    let (simulator, client) = start();
    let ids = three(&simulator, &client);
    let wanted = [ids[2].as_str(), &ids[0], &ids[1]];
    let response = client.batch(&wanted).json();
    let response = response.as_array().unwrap();
    assert_eq!(response.len(), 3);
    for ((element, id), bytes) in response.iter().zip(wanted).zip(["c", "a", "b"]) {
        assert!(id.ends_with(element["document_id"].as_str().unwrap()));
        let single = client.content_url(id).json();
        assert_eq!(element["double_etag"], single["double_etag"]);
        assert_eq!(element["data_token"]["signature"], single["data_token"]["signature"]);
        assert_eq!(client.get(element["data_token"]["url"].as_str().unwrap()).body, bytes.as_bytes());
    }
    assert_eq!(simulator.counts().of(RequestKind::DownloadBatch), 1);
    let named = simulator.requests().into_iter().find(|entry| entry.kind == RequestKind::DownloadBatch).unwrap();
    assert!(["a", "b", "c"].iter().all(|path| named.subjects.iter().any(|subject| subject == path)));
}

#[test]
fn a_batch_has_an_element_for_a_missing_document_if_the_rule_says_so() {
    let (simulator, client) = start();
    let ids = three(&simulator, &client);
    let wanted = [ids[0].as_str(), "FILE::com.apple.CloudDocs::NOWHERE", &ids[1]];
    let tokens = |response: Value| -> Vec<bool> {
        response.as_array().unwrap().iter().map(|element| element["data_token"].is_object()).collect()
    };
    let response = client.batch(&wanted).json();
    assert_eq!(response[1], json!({ "document_id": "NOWHERE" }));
    assert_eq!(tokens(response), [true, false, true]);
    simulator.rules(|rules| rules.drive.download_batch_gap = BatchGap::Omitted);
    assert_eq!(tokens(client.batch(&wanted).json()), [true, true]);
    simulator.rules(|rules| rules.drive.download_batch_gap = BatchGap::NotFound);
    assert_eq!(client.batch(&wanted).status, 404);
    simulator.rules(|rules| rules.drive.download_batch_tokenless = 2);
    assert_eq!(tokens(client.batch(&[&ids[0], &ids[1], &ids[2]]).json()), [true, false, true]);
}

#[test]
fn a_batch_can_be_limited_or_refused() {
    let (simulator, client) = start();
    let ids = three(&simulator, &client);
    let all: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(client.batch(&[]).status, 400);
    simulator.rules(|rules| rules.drive.download_batch_max = 2);
    assert_eq!((client.batch(&all[..2]).status, client.batch(&all).status), (200, 400));
    for status in [400, 404] {
        simulator.rules(|rules| rules.drive.download_batch_refused = status);
        assert_eq!(client.batch(&all[..1]).status, status);
    }
}

#[test]
fn only_the_requested_range_of_generated_content_is_generated() {
    let (simulator, client) = start();
    let size = 40 * 1024 * 1024 * 1024;
    simulator.put_file("large", Content::Generated { seed: 3, size }, 0);
    let item = client.in_root("large");
    let url = client.content_url(id(&item)).json()["data_token"]["url"].clone();
    let range = format!("bytes={}-{}", size - 5, size - 1);
    let tail = client.try_send(Method::GET, url.as_str().unwrap(), &[("range", &range)], b"").unwrap();
    assert_eq!(tail.body, Content::Generated { seed: 3, size }.read(size - 5, 5));
    assert_eq!(simulator.counts().kinds[&RequestKind::ContentGet].bytes_out, 5);
}
