//! Packages: folders that the service shows as files.

mod client;

use bytes::Bytes;
use client::{id, start};
use serde_json::json;

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
