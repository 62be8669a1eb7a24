//! Packages that are restored as packages.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use bytes::Bytes;
use icloud_simulator::RequestKind;
use plakar_host::{Options, Settings, Tree};

use crate::icloud::{ICloud, MODIFIED, assert_sound};

fn with_package() -> ICloud {
    let icloud = ICloud::new();
    icloud.put("from/file.txt", b"content");
    let entries = ["projectData", "Media/a.caf", "Media/b.caf"].map(|name| (name.to_owned(), Bytes::from(name)));
    icloud.simulator.put_package("from/song.band", &entries, None, MODIFIED);
    icloud
}

/// Returns the files in the archive of a package.
fn files(icloud: &ICloud, path: &str) -> BTreeMap<String, String> {
    let content = icloud.simulator.content(path).unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(content.read(0, content.size()))).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        if !file.is_dir() {
            files.insert(file.name().unwrap().into_owned(), text);
        }
    }
    files
}

async fn restore(icloud: &ICloud, settings: &Settings) -> String {
    let snapshot = icloud.backup("icloud:///from").await;
    assert_sound(&snapshot);
    restore_tree(icloud, settings, &snapshot.restore("/from")).await
}

/// Restores a tree, all of which succeeds. Returns the last line that the exporter prints.
async fn restore_tree(icloud: &ICloud, settings: &Settings, tree: &Tree) -> String {
    let exporter = icloud.host.exporter(settings, &Options::default()).await.unwrap();
    let exported = exporter.export(tree).await.unwrap();
    assert_eq!(exported.errors(), BTreeMap::new());
    assert_eq!(exported.acks.len(), tree.len());
    exported.end.unwrap();
    exporter.close().await.unwrap();
    let last = exporter.connector().stderr().lines().last().unwrap_or_default().to_owned();
    exporter.into_connector().leave().await.unwrap();
    last
}

/// A package is restored as a package with the same files. A second restore stores nothing, neither
/// there nor in the folder of the original.
#[tokio::test]
async fn a_package_is_restored_as_a_package() {
    let icloud = with_package();
    let original = files(&icloud, "from/song.band");
    assert_eq!(original.len(), 3);
    for (place, uploads, says) in [
        ("icloud:///to", 2, "1 stored as packages"),
        ("icloud:///to", 0, "2 there already"),
        ("icloud:///from", 0, "2 there already"),
    ] {
        let before = icloud.count(RequestKind::ContentPost);
        let summary = restore(&icloud, &icloud.settings(place)).await;
        assert!(summary.contains(says), "{summary}");
        assert_eq!(icloud.count(RequestKind::ContentPost) - before, uploads, "{place}");
        assert_eq!(files(&icloud, "to/song.band"), original);
        assert!(icloud.simulator.trash().is_empty());
    }
    let snapshot = icloud.backup("icloud:///to").await;
    assert_sound(&snapshot);
    assert_eq!(snapshot.contents().len(), 2);
}

/// A newer version of a package replaces it, and the old one is in the Trash.
#[tokio::test]
async fn a_package_replaces_a_package() {
    let icloud = with_package();
    let original = files(&icloud, "from/song.band");
    let entries = [("projectData".to_owned(), Bytes::from("of another day"))];
    icloud.simulator.put_package("to/song.band", &entries, None, MODIFIED);
    let summary = restore(&icloud, &icloud.settings("icloud:///to")).await;
    assert!(summary.contains("1 replaced"), "{summary}");
    assert_eq!(files(&icloud, "to/song.band"), original);
    assert_eq!(icloud.simulator.trash().len(), 1);
}

/// A package that the service refuses is restored as an archive whose name says so.
#[tokio::test]
async fn a_refused_package_is_restored_as_an_archive() {
    let icloud = with_package();
    let original = files(&icloud, "from/song.band");
    icloud.simulator.add_fault(icloud.fail(RequestKind::UploadWeb, 400).matching("song.band").times(3));
    let summary = restore(&icloud, &icloud.settings("icloud:///to")).await;
    assert!(summary.contains("1 packages restored as archives"), "{summary}");
    assert_eq!(files(&icloud, "to/song.band.zip"), original);
    let to: Vec<String> = icloud.contents().into_keys().filter(|path| path.starts_with("/to/")).collect();
    assert_eq!(to, ["/to/file.txt", "/to/plakar-icloud-renames.txt", "/to/song.band.zip"]);
}

/// With `packages=archive`, the archive is stored as a file.
#[tokio::test]
async fn packages_are_restored_as_archives_on_request() {
    let icloud = with_package();
    let settings = icloud.settings("icloud:///to").with("packages", "archive");
    let summary = restore(&icloud, &settings).await;
    assert!(!summary.contains("package"), "{summary}");
    assert_eq!(files(&icloud, "to/song.band"), files(&icloud, "from/song.band"));
}

/// A tree with a package as a Mac stores it.
fn tree() -> Tree {
    Tree::new()
        .folder("/")
        .folder("/song.band")
        .folder("/song.band/Media")
        .file("/song.band/Media/a.caf", vec![1; 3_000_000])
        .file("/song.band/empty", "")
        .link("/song.band/link", "projectData")
        .special("/song.band/pipe", 1 << 25 | 0o600)
        .file("/song.band/projectData", "song")
        .file("/song.png", "no part of it")
}

/// A folder that is a package on a Mac is a package in the drive. A second restore stores nothing
/// again.
#[tokio::test]
async fn a_folder_of_a_mac_becomes_a_package() {
    let icloud = ICloud::new();
    let settings = icloud.settings("icloud:///to").with("spool_memory", "1").with("verify", "content");
    for (uploads, says) in [(2, "1 stored as packages"), (0, "2 there already")] {
        let before = icloud.count(RequestKind::ContentPost);
        let summary = restore_tree(&icloud, &settings, &tree()).await;
        assert!(summary.contains(says) && summary.contains("1 links and special files left out"), "{summary}");
        assert_eq!(icloud.count(RequestKind::ContentPost) - before, uploads);
        let files = files(&icloud, "to/song.band");
        let sizes: Vec<(&str, usize)> = files.iter().map(|(path, text)| (path.as_str(), text.len())).collect();
        let expected = [("Media/a.caf", 3_000_000), ("empty", 0), ("link", 11), ("projectData", 4)];
        let root = if sizes[0].0.starts_with("song.band/") { "song.band/" } else { "" };
        assert_eq!(
            sizes,
            expected
                .map(|(path, size)| (format!("{root}{path}"), size))
                .each_ref()
                .map(|(path, size)| (path.as_str(), *size))
        );
        assert!(!icloud.simulator.snapshot().iter().any(|item| item.path.contains("song.band/")));
    }
    let snapshot = icloud.backup("icloud:///to").await;
    assert_sound(&snapshot);
    assert_eq!(snapshot.contents().keys().collect::<Vec<_>>(), [&"/song.band", &"/song.png"]);
}

#[tokio::test]
async fn a_folder_that_the_service_refuses_as_a_package_is_an_archive() {
    let icloud = ICloud::new();
    icloud.simulator.add_fault(icloud.fail(RequestKind::UploadWeb, 400).matching("song.band").times(3));
    let summary = restore_tree(&icloud, &icloud.settings("icloud:///to").with("verify", "content"), &tree()).await;
    assert!(summary.contains("1 packages restored as archives"), "{summary}");
    assert_eq!(files(&icloud, "to/song.band.zip").len(), 4);
}

#[tokio::test]
async fn a_folder_stays_a_folder_on_request() {
    for choice in ["tree", "archive"] {
        let icloud = ICloud::new();
        restore_tree(&icloud, &icloud.settings("icloud:///to").with("packages", choice), &tree()).await;
        let paths: Vec<String> = icloud.contents().into_keys().collect();
        let expected =
            ["/to/song.band/Media/a.caf", "/to/song.band/empty", "/to/song.band/projectData", "/to/song.png"];
        assert_eq!(paths, expected, "{choice}");
    }
}

/// A folder of that name that is there already gets the content.
#[tokio::test]
async fn a_folder_that_exists_stays_a_folder() {
    let icloud = ICloud::new();
    icloud.put("to/song.band/projectData", b"old");
    restore_tree(&icloud, &icloud.settings("icloud:///to"), &tree()).await;
    assert!(icloud.contents().contains_key("/to/song.band/Media/a.caf"), "{:?}", icloud.contents());
    assert_eq!(icloud.simulator.trash().len(), 1);
}

/// A path that leads out of a package is refused, and not a path of its archive.
#[tokio::test]
async fn no_path_leads_out_of_a_package() {
    let icloud = ICloud::new();
    let tree = Tree::new().folder("/").folder("/a.band").file("/a.band/../../x", "x").file("/a.band/b", "b");
    let options = Options::default();
    let exported = icloud.host.restore(&icloud.settings("icloud:///to"), &options, &tree).await.unwrap();
    assert_eq!(exported.errors().into_keys().collect::<Vec<_>>(), ["/a.band/../../x"]);
    assert!(files(&icloud, "to/a.band").keys().all(|path| !path.contains("..")));
}

/// A package whose content ends early is not stored, and neither is a part of it.
#[tokio::test]
async fn a_package_that_plakar_cannot_read_is_discarded() {
    let icloud = ICloud::new();
    let tree = tree().file("/a.txt", "a").broken("/song.band/projectData", "so");
    let options = Options::default();
    let exported = icloud.host.restore(&icloud.settings("icloud:///to"), &options, &tree).await.unwrap();
    let end = exported.end.as_ref().unwrap_err().message();
    assert!(end.contains("/song.band/projectData"), "{end}");
    assert_eq!(exported.restored(), ["/", "/a.txt", "/song.band/pipe"]);
    assert_eq!(icloud.contents().into_keys().collect::<Vec<_>>(), ["/to/a.txt"]);
}
