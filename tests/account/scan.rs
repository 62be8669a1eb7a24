//! The command `scan`: the contents of a drive, and what the next backup would read.

use icloud_simulator::{Content, FaultAction, FaultRule, NewAsset, PRIMARY_ZONE, RequestKind};
use plakar_host::{Backup, Options, Settings};
use serde_json::json;

use crate::person::Person;

const MODIFIED: i64 = 1_700_000_000_000;

fn furnished() -> Person {
    let person = Person::signed_in();
    for (path, size) in [("a.txt", 10), ("docs/large.bin", 5_000), ("docs/deep/b.txt", 200), ("docs/CON.txt", 1)] {
        person.simulator.put_file(path, Content::Generated { seed: size, size }, MODIFIED);
    }
    let entries = [("projectData".to_owned(), bytes::Bytes::from_static(b"song"))];
    person.simulator.put_package("song.band", &entries, Some(4), MODIFIED);
    person
}

#[tokio::test]
async fn a_scan_shows_the_drive_and_downloads_nothing() {
    let person = furnished();
    let scan = person.run(&["scan", "--json"]).ends(0).json();
    let shown = ["files", "folders", "bytes", "packages", "troubled_names", "failed"].map(|name| scan[name].clone());
    assert_eq!(shown, [5, 3, 5_211, 1, 1, 0].map(|number: u64| json!(number)), "{scan}");
    assert_eq!(scan["largest_files"][0], json!({ "path": "/docs/large.bin", "bytes": 5_000 }));
    assert_eq!(scan["largest_folders"][0], json!({ "path": "/docs", "files": 3, "bytes": 5_201 }));
    assert_eq!(scan["names"][0]["path"], "/docs/CON.txt");
    assert_eq!(scan["changes"], json!(null));
    let content = [RequestKind::ById, RequestKind::DownloadBatch, RequestKind::ContentGet];
    assert_eq!(content.map(|kind| person.count(kind)), [0; 3]);
    let text = person.run(&["scan", "icloud:/docs"]).ends(0).stdout;
    assert!(text.contains("icloud, /docs") && text.contains("3 files and 2 folders"), "{text}");
    assert!(text.contains("no backup of this folder"), "{text}");
    let usage = person.run(&["scan", "icloud:/docs/../.."]).ends(2);
    assert!(usage.stderr.contains(".."), "{usage:?}");
}

#[test]
fn a_scan_shows_names_that_differ_only_in_case() {
    let person = Person::signed_in();
    for name in ["docs/Report.txt", "docs/report.txt", "REPORT.TXT", "other.txt"] {
        person.simulator.put_file(name, Content::from(&b"x"[..]), MODIFIED);
    }
    let scan = person.run(&["scan", "--json"]).ends(0).json();
    assert_eq!(scan["troubled_names"], 2, "{scan}");
    assert!(scan["names"].to_string().contains("only in case"), "{scan}");
}

#[tokio::test]
async fn a_scan_of_the_photo_library_downloads_nothing() {
    let person = furnished();
    let image = NewAsset::image("IMG_1.HEIC", 1_793_872_800_000, Content::Generated { seed: 1, size: 70_000 });
    person.simulator.photos(|library| library.add(PRIMARY_ZONE, image));
    let scan = person.run(&["scan", "--photos", "--json"]).ends(0).json();
    // The sidecar is a file too.
    assert_eq!(scan["files"], 2, "{scan}");
    assert_eq!(scan["largest_files"][0], json!({ "path": "/Library/2026/11/IMG_1.HEIC", "bytes": 70_000 }));
    assert_eq!(person.count(RequestKind::ContentGet), 0);
}

#[tokio::test]
async fn a_scan_counts_the_photos_by_kind() {
    let person = furnished();
    let content = |seed| Content::Generated { seed, size: 1_000 };
    let image = |seed: u64| NewAsset::image(&format!("IMG_{seed}.HEIC"), 1_793_872_800_000, content(seed));
    person.simulator.photos(|library| {
        let assets = [
            NewAsset { live: Some(content(11)), favorite: true, ..image(1) },
            NewAsset { alternative: Some((content(12), "com.adobe.raw-image".to_owned())), ..image(2) },
            NewAsset { edited: Some((content(13), "public.jpeg".to_owned())), screenshot: true, ..image(3) },
            NewAsset { file_type: "com.apple.quicktime-movie".to_owned(), hidden: true, ..image(4) },
            NewAsset { burst: Some(("burst".to_owned(), true)), ..image(5) },
            NewAsset { burst: Some(("burst".to_owned(), false)), ..image(6) },
        ];
        let ids = assets.map(|asset| library.add(PRIMARY_ZONE, asset));
        let album = library.add_album(PRIMARY_ZONE, "Trip", "", false);
        library.set_member(PRIMARY_ZONE, &album, &ids[0], true);
        let shared = library.add_shared_album("Party");
        library.add(&shared, image(7));
    });
    let scan = person.run(&["scan", "--photos", "--json"]).ends(0).json();
    let counts = json!({
        "photos": 5, "videos": 1, "live photos": 1, "RAW photos": 1, "bursts": 1, "edited": 1, "screenshots": 1,
        "favorites": 1, "hidden": 1, "albums": 1,
    });
    assert_eq!(
        scan["libraries"],
        json!([
            { "path": "/Library", "counts": counts, "bytes": 9_000 },
            { "path": "/Shared Albums/Party", "counts": { "photos": 1 }, "bytes": 1_000 },
        ])
    );
    let shown = person.run(&["scan", "--photos"]).ends(0).stdout;
    assert!(shown.contains("/Library: photos 5, videos 1, live photos 1"), "{shown}");
    assert_eq!(person.count(RequestKind::ContentGet), 0);
}

/// Other commands can read the stored numbers of a library and a shared album without photos.
#[tokio::test]
async fn an_empty_library_has_numbers() {
    let person = furnished();
    person.simulator.photos(|library| library.add_shared_album("Party"));
    person.run(&["scan", "--photos"]).ends(0);
    let status = person.run(&["status", "--offline", "--json"]).ends(0).json();
    let empty = |path: &str| json!({ "path": path, "counts": {}, "bytes": 0 });
    assert_eq!(status["libraries"], json!([empty("/Library"), empty("/Shared Albums/Party")]));
    for command in ["status", "accounts", "doctor"] {
        person.run(&[command]).ends(0);
    }
}

/// The numbers of the last scan or backup are shown without a request.
#[tokio::test]
async fn the_status_shows_the_last_numbers_of_photos() {
    let person = furnished();
    let status = || person.run(&["status", "--offline", "--json"]).ends(0).json();
    assert_eq!((&status()["libraries"], &status()["libraries_counted_at"]), (&json!(null), &json!(null)));
    let image = |seed: u64| {
        NewAsset::image(&format!("IMG_{seed}.HEIC"), 1_793_872_800_000, Content::Generated { seed, size: 1_000 })
    };
    person.simulator.photos(|library| library.add(PRIMARY_ZONE, image(1)));
    person.run(&["scan", "--photos"]).ends(0);
    person.simulator.reset_counts();
    let library =
        |photos: u64| json!([{ "path": "/Library", "counts": { "photos": photos }, "bytes": photos * 1_000 }]);
    assert_eq!(status()["libraries"], library(1));
    assert!(status()["libraries_counted_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{}", status());
    assert_eq!(person.count(RequestKind::PhotosCount), 0);
    person.simulator.photos(|library| library.add(PRIMARY_ZONE, image(2)));
    let photos = Settings::new("icloud://photos");
    person.host().backup(&photos, &Options::default(), Backup::first()).await.unwrap();
    assert_eq!(status()["libraries"], library(2));
    let shown = person.run(&["status", "--offline"]).ends(0).stdout;
    assert!(shown.contains("/Library: photos 2") && shown.contains("the libraries were counted on 20"), "{shown}");
    let index = person.session_file().with_extension("json.photos");
    assert!(index.exists());
    person.run(&["logout"]).ends(0);
    assert!(!index.exists(), "the index has titles and places");
}

#[tokio::test]
async fn a_scan_shows_the_changes_since_the_last_backup() {
    let person = furnished();
    let backup =
        async || person.host().backup(&Settings::new("icloud://"), &Options::default(), Backup::first()).await.unwrap();
    backup().await;
    let changes = || person.run(&["scan", "--json"]).ends(0).json()["changes"].clone();
    assert_eq!(changes(), json!({ "new": 0, "changed": 0, "gone": 0, "bytes": 0 }));
    person.simulator.put_file("a.txt", Content::from(&b"changed"[..]), MODIFIED);
    person.simulator.put_file("docs/new.txt", Content::from(&b"new"[..]), MODIFIED);
    person.simulator.mutate("docs/large.bin", icloud_simulator::Mutation::Erase).unwrap();
    assert_eq!(changes(), json!({ "new": 1, "changed": 1, "gone": 1, "bytes": 10 }));
    // A file that could not be read counts as new.
    let refusal = FaultAction::Status { status: 404, body: String::new(), headers: Default::default() };
    for kind in [RequestKind::ById, RequestKind::DownloadBatch] {
        person.simulator.add_fault(FaultRule::new(kind, refusal.clone()));
    }
    backup().await;
    assert_eq!(changes()["new"], 5);
}

#[tokio::test]
async fn a_scan_shows_the_folders_that_could_not_be_listed() {
    let person = furnished();
    let docs = person.simulator.snapshot().into_iter().find(|item| item.path == "docs").unwrap().drive_id;
    let refusal = FaultAction::Status { status: 400, body: String::new(), headers: Default::default() };
    person.simulator.add_fault(FaultRule::new(RequestKind::List, refusal).matching(docs));
    let ran = person.run(&["scan"]).ends(1);
    assert!(ran.stdout.contains("1 folder or item could not be listed") && ran.stdout.contains("/docs"), "{ran:?}");
    let ignored = person.run(&["scan", "--ignore", "docs/"]).ends(0);
    assert!(ignored.stdout.contains("left out"), "{ignored:?}");
}
