//! Packages: folders that the service lists as files.

mod client;

use std::io::{Cursor, Read, Write};

use bytes::Bytes;
use client::{Client, DOCS, ROOT, id, start};
use icloud_simulator::Simulator;
use serde_json::{Value, json};
use ureq::http::Method;
use zip::write::SimpleFileOptions;

const ZONE: &str = "com.apple.CloudDocs";

/// Creates a package of two files and an empty folder; its size in listings is 5.
fn put_report(simulator: &Simulator) {
    let entries = [("index.xml", "<x/>"), ("data/a", "1"), ("data/empty/", "")];
    let entries = entries.map(|(name, text)| (name.to_owned(), Bytes::from(text)));
    simulator.put_package("report.pages", &entries, None, 0);
}

fn package_url(client: &Client, drive_id: &str) -> String {
    let ticket = client.content_url(drive_id).json();
    assert!(ticket["data_token"].is_null());
    ticket["package_token"]["url"].as_str().unwrap().to_owned()
}

/// Returns the files in an archive, without the folders.
fn files(archive: &[u8]) -> Vec<(String, String)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        if !entry.is_dir() {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            files.push((entry.name().unwrap().into_owned(), text));
        }
    }
    files
}

#[test]
fn a_package_is_listed_with_the_sum_of_its_files_and_downloaded_as_a_zip() {
    let (simulator, client) = start();
    put_report(&simulator);
    let item = client.in_root("report");
    assert_eq!((&item["extension"], &item["size"], &item["type"]), (&json!("pages"), &json!(5), &json!("FILE")));
    let archive = client.get(&package_url(&client, id(&item))).body;
    let expected = [("report.pages/index.xml", "<x/>"), ("report.pages/data/a", "1")];
    assert_eq!(files(&archive), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

#[test]
fn two_downloads_of_a_package_differ_in_a_few_bytes() {
    let (simulator, client) = start();
    put_report(&simulator);
    let item = client.in_root("report");
    let urls = [package_url(&client, id(&item)), package_url(&client, id(&item))];
    let [first, second] = urls.each_ref().map(|url| client.get(url).body);
    assert_eq!(client.get(&urls[0]).body, first, "one URL serves one archive");
    assert_eq!((first.len(), files(&first)), (second.len(), files(&second)));
    let differences = first.iter().zip(&second).filter(|(left, right)| left != right).count();
    assert!((1..=24).contains(&differences), "{differences} bytes differ");
}

#[test]
fn range_requests_of_a_package_are_ignored_and_head_requests_are_refused() {
    let (simulator, client) = start();
    put_report(&simulator);
    simulator.put_file("plain.txt", b"0123456789"[..].into(), 0);
    let package = package_url(&client, id(&client.in_root("report")));
    let part = client.try_send(Method::GET, &package, &[("range", "bytes=3-5")], b"").unwrap();
    assert_eq!((part.status, part.header("content-range"), part.header("accept-ranges")), (200, "", ""));
    assert_eq!(part.body, client.get(&package).body);

    let plain = client.content_url(id(&client.in_root("plain"))).json()["data_token"]["url"].clone();
    let plain = plain.as_str().unwrap();
    assert_eq!(client.try_send(Method::GET, plain, &[("range", "bytes=3-5")], b"").unwrap().body, b"345");
    let head = |url: &str| client.try_send(Method::HEAD, url, &[], b"").unwrap().status;
    assert_eq!((head(&package), head(plain)), (400, 501));
}

/// Sends the first two requests of an upload of the type `PACKAGE`, and returns the ticket and the
/// response to the archive.
fn upload(client: &Client, archive: &[u8]) -> (Value, Value) {
    let body =
        json!({ "filename": "new.pages", "type": "PACKAGE", "size": archive.len(), "content_type": "application/zip" });
    let ticket = client.post(&format!("{DOCS}/ws/{ZONE}/upload/web"), &body).json()[0].clone();
    let url = ticket["url"].as_str().unwrap();
    let receipts = client.try_send(Method::POST, url, &[("content-type", "application/zip")], archive).unwrap();
    (ticket, receipts.json())
}

fn add_package(client: &Client, ticket: &Value, receipts: &Value) -> Value {
    let update = client::add_package_body(ticket, receipts, "root", "new.pages");
    client.post(&format!("{DOCS}/ws/{ZONE}/update/documents"), &update).json()
}

fn archive() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in [("old.pages/index.xml", "<y/>"), ("old.pages/data/b", "22")] {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn an_uploaded_package_can_be_listed_and_downloaded() {
    let (_simulator, client) = start();
    let (ticket, receipts) = upload(&client, &archive());
    assert!(receipts["singleFile"].is_null());
    let added = add_package(&client, &ticket, &receipts);
    let document = &added["results"][0]["document"];
    assert_eq!((&document["document_id"], &document["size"]), (&ticket["document_id"], &json!(6)));
    let item = client.in_root("new");
    assert_eq!(item["size"], 6);
    let expected = [("new.pages/index.xml", "<y/>"), ("new.pages/data/b", "22")];
    let stored = client.get(&package_url(&client, id(&item))).body;
    assert_eq!(files(&stored), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    assert_eq!(add_package(&client, &ticket, &receipts)["results"][0]["document"]["size"], 6, "the same again");
    assert_eq!(client.list(ROOT).len(), 1);
}

#[test]
fn a_package_is_refused_unless_it_repeats_every_receipt_of_its_upload() {
    let (_simulator, client) = start();
    let (ticket, receipts) = upload(&client, &archive());
    for name in ["hexBrSyntheticChecksum", "brManifest", "ckManifest", "ckSectionAssets"] {
        let mut other = receipts.clone();
        match &mut other[name] {
            Value::Array(sections) => sections.clear(),
            Value::String(checksum) => *checksum = String::from("00"),
            asset => asset["receiptToken"] = json!("AAAA"),
        }
        assert!(add_package(&client, &ticket, &other)["results"].is_null(), "{name}");
    }
    assert!(client.list(ROOT).is_empty());
}

#[test]
fn an_upload_of_a_package_that_is_not_an_archive_is_refused() {
    let (_simulator, client) = start();
    let (_, response) = upload(&client, b"not a zip archive");
    assert_eq!(response["errorCode"], 400);
}
