//! The result of a restore at its destination.

use std::collections::BTreeMap;

use icloud_simulator::Content;
use plakar_host::{Backup, Options, Settings, Tree};

use crate::disk::Disk;
use crate::icloud::{ICloud, MODIFIED, assert_sound, digests};

async fn restore(icloud: &ICloud, settings: &Settings, tree: &Tree) {
    let exported = icloud.host.restore(settings, &Options::default(), tree).await.unwrap();
    assert_eq!(exported.errors(), BTreeMap::new());
    exported.end.unwrap();
    assert_eq!(exported.acks.len(), tree.len());
}

/// Returns the drive's contents below a folder.
fn below(icloud: &ICloud, folder: &str) -> BTreeMap<String, String> {
    let strip = |(path, digest): (String, String)| Some((path.strip_prefix(folder)?.to_owned(), digest));
    icloud.contents().into_iter().filter_map(strip).collect()
}

/// A restore stores each path below the destination, and folders before their content. An empty
/// file is restored. A file of three megabytes is restored byte for byte. Each ack repeats the
/// file's information. Deep folders are created, and existing ones are used. A missing destination
/// folder is created.
#[tokio::test]
async fn a_whole_snapshot_is_restored() {
    let icloud = ICloud::new();
    icloud.furnish();
    let snapshot = icloud.backup("icloud:///docs").await;
    let expected = digests(&snapshot);
    assert!(expected.contains_key("/empty.txt") && expected.contains_key("/large.bin"));
    restore(&icloud, &icloud.settings("icloud:///new/place"), &snapshot.restore(&snapshot.root)).await;
    assert_eq!(below(&icloud, "/new/place"), expected);
    let again = icloud.backup("icloud:///new/place").await;
    assert_sound(&again);
    assert!(again.entries["/new/place/nothing"].is_dir());
}

/// A restore onto a disk stores each path below the destination, too.
#[tokio::test]
async fn a_whole_snapshot_is_restored_onto_a_disk() {
    let icloud = ICloud::new();
    icloud.furnish();
    let snapshot = icloud.backup("icloud://").await;
    let disk = Disk::new();
    let tree = snapshot.restore(&snapshot.root);
    let exported = disk.host.restore(&disk.settings_at("new"), &Options::default(), &tree).await.unwrap();
    exported.end.unwrap();
    let again = disk.host.backup(&disk.settings_at("new"), &Options::default(), Backup::first()).await.unwrap();
    assert_eq!(digests(&again), icloud.contents());
    assert!(disk.path("new/docs/nothing").is_dir());
}

/// A folder or a file of a snapshot can be restored alone.
#[tokio::test]
async fn a_folder_or_a_file_of_a_snapshot_is_restored_alone() {
    let icloud = ICloud::new();
    icloud.furnish();
    let snapshot = icloud.backup("icloud://").await;
    restore(&icloud, &icloud.settings("icloud:///folder"), &snapshot.restore("/docs/deep")).await;
    assert_eq!(below(&icloud, "/folder").into_keys().collect::<Vec<_>>(), ["/c.bin", "/d"]);
    restore(&icloud, &icloud.settings("icloud:///file"), &snapshot.restore("/docs/b.txt")).await;
    assert_eq!(below(&icloud, "/file").into_keys().collect::<Vec<_>>(), ["/b.txt"]);
}

/// A second restore replaces files and leaves no duplicates.
#[tokio::test]
async fn a_second_restore_overwrites_the_first() {
    let icloud = ICloud::new();
    let settings = icloud.settings("icloud:///to");
    let tree = Tree::new().folder("/").folder("/sub").file("/a", "first").file("/sub/b", "first");
    restore(&icloud, &settings, &tree).await;
    restore(&icloud, &settings, &tree).await;
    restore(&icloud, &settings, &tree.file("/sub/b", "second")).await;
    let files: Vec<String> = below(&icloud, "/to").into_keys().collect();
    assert_eq!(files, ["/a", "/sub/b"]);
    let content = icloud.simulator.content("to/sub/b").unwrap();
    assert_eq!(&*content.read(0, content.size()), b"second");
    let folders = icloud.simulator.snapshot().iter().filter(|item| item.folder).count();
    assert_eq!(folders, 2, "a folder was made twice");
}

#[tokio::test]
async fn modification_times_are_restored() {
    let icloud = ICloud::new();
    icloud.simulator.put_file("from/a.txt", Content::from(&b"a"[..]), MODIFIED - 86_400_000);
    let snapshot = icloud.backup("icloud:///from").await;
    restore(&icloud, &icloud.settings("icloud:///to"), &snapshot.restore("/from")).await;
    let items = icloud.simulator.snapshot();
    let restored = items.iter().find(|item| item.path == "to/a.txt").unwrap();
    assert_eq!(restored.modified_ms, MODIFIED - 86_400_000);
}

/// A disk keeps the nanoseconds of modification times, and those of folders.
#[tokio::test]
async fn times_of_files_and_folders_are_restored_on_a_disk() {
    let disk = Disk::new();
    disk.put("from/sub/a", "a");
    disk.set_modified("from/sub/a", 1_234_567_890, 123_456_789);
    disk.set_modified("from/sub", 1_111_111_111, 0);
    let options = Options::default();
    let snapshot = disk.host.backup(&disk.settings_at("from"), &options, Backup::first()).await.unwrap();
    let tree = snapshot.restore(&snapshot.root);
    disk.host.restore(&disk.settings_at("to"), &options, &tree).await.unwrap().end.unwrap();
    for path in ["sub/a", "sub"] {
        let time = |folder| disk.path(folder).join(path).metadata().unwrap().modified().unwrap();
        assert_eq!(time("to"), time("from"), "{path}");
    }
}

/// Deep folders are created, and existing ones are used.
#[tokio::test]
async fn existing_folders_are_used() {
    let icloud = ICloud::new();
    icloud.put("to/a/b/old.txt", b"old");
    let mut tree = Tree::new().folder("/");
    let mut path = String::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        path = format!("{path}/{name}");
        tree = tree.folder(&path).file(&format!("{path}/new.txt"), name);
    }
    restore(&icloud, &icloud.settings("icloud:///to"), &tree).await;
    assert_eq!(below(&icloud, "/to").len(), 7);
}

/// iCloud must get the size before the content.
#[tokio::test]
async fn a_spool_on_disk_leaves_no_files() {
    let icloud = ICloud::new();
    let settings = icloud.settings("icloud:///to").with("spool_memory", "0");
    let content = Content::Generated { seed: 1, size: 5_000_000 };
    let tree = Tree::new().folder("/").file("/large.bin", content.read(0, content.size()));
    restore(&icloud, &settings, &tree).await;
    assert_eq!(below(&icloud, "/to")["/large.bin"], content.sha256());
    assert_eq!(icloud.traces(), Vec::<std::path::PathBuf>::new());
}

/// A location on the command line overrides the stored one. A folder after the name of the
/// destination is used as it is written.
#[tokio::test]
async fn the_last_location_is_used() {
    let icloud = ICloud::new();
    let settings = icloud.settings("icloud:///wrong").at("icloud:///sub%20dir");
    restore(&icloud, &settings, &Tree::new().folder("/").file("/a", "a")).await;
    assert_eq!(icloud.contents().into_keys().collect::<Vec<_>>(), ["/sub dir/a"]);
}

/// A restore without records succeeds.
#[tokio::test]
async fn a_restore_of_nothing_succeeds() {
    let icloud = ICloud::new();
    restore(&icloud, &icloud.settings("icloud:///to"), &Tree::new()).await;
    assert_eq!(icloud.contents(), BTreeMap::new());
}

/// Many small files are uploaded concurrently. Files of one folder do not wait for each other.
#[tokio::test]
async fn small_files_are_uploaded_concurrently() {
    let icloud = ICloud::new();
    let tree = (0..40).fold(Tree::new().folder("/"), |tree, n| tree.file(&format!("/{n}"), format!("{n}")));
    let uploads = icloud_simulator::RequestKind::ContentPost;
    icloud.hold(uploads, "uploads");
    let settings = icloud.settings("icloud:///to");
    tokio::join!(restore(&icloud, &settings, &tree), async {
        icloud.until(uploads, 2).await;
        icloud.simulator.release("uploads");
    });
    assert_eq!(below(&icloud, "/to").len(), 40);
}
