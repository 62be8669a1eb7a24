//! The records of an import: their number, their form and their root.

use std::collections::BTreeSet;

use icloud_simulator::RequestKind;
use plakar_host::{Backup, Options, Payload, skipped};

use crate::disk::Disk;
use crate::icloud::{ICloud, MODIFIED, assert_sound, digests};

/// The snapshot contains empty folders and the metadata of folders.
#[tokio::test]
async fn empty_folders_and_parent_folders_are_backed_up() {
    let icloud = ICloud::new();
    icloud.furnish();
    let snapshot = icloud.backup("icloud:///docs").await;
    assert_sound(&snapshot);
    let folders = snapshot.entries.iter().filter(|(_, entry)| entry.is_dir()).map(|(path, _)| path.as_str());
    assert_eq!(folders.collect::<Vec<_>>(), ["/", "/docs", "/docs/deep", "/docs/nothing"]);
}

#[tokio::test]
async fn a_file_has_the_time_and_the_size_that_icloud_lists() {
    let icloud = ICloud::new();
    icloud.put("a.txt", b"hello");
    let snapshot = icloud.backup("icloud://").await;
    let info = &snapshot.entries["/a.txt"].info;
    assert_eq!(info.mod_time.unwrap().seconds, MODIFIED / 1000);
    assert_eq!(info.size, 5);
    assert_eq!((info.mode, info.nlink, info.uid, info.gid), (0o644, 1, 0, 0));
}

/// The root of a snapshot is an absolute, clean path.
#[tokio::test]
async fn every_form_of_a_location_gives_a_clean_root() {
    let icloud = ICloud::new();
    icloud.furnish();
    icloud.put("My Files/100%.txt", b"percent");
    for (location, root) in [
        ("icloud://", "/"),
        ("icloud:///", "/"),
        ("icloud://docs/deep", "/docs/deep"),
        ("icloud:///docs/deep/", "/docs/deep"),
        ("icloud:////docs//deep", "/docs/deep"),
        ("icloud:///My Files", "/My Files"),
        ("icloud:///My%20Files", "/My Files"),
    ] {
        let snapshot = icloud.backup(location).await;
        assert_sound(&snapshot);
        assert_eq!(snapshot.root, root, "{location}");
        let prefix = root.trim_end_matches('/');
        let expected: BTreeSet<String> =
            icloud.contents().into_keys().filter_map(|path| Some(path.strip_prefix(prefix)?.to_owned())).collect();
        let restored: BTreeSet<String> = snapshot
            .restore(&snapshot.root)
            .iter()
            .filter(|item| matches!(item.payload, Payload::Whole(_)))
            .map(|item| item.record.pathname.clone())
            .collect();
        assert_eq!(restored, expected, "{location}");
    }
}

/// Every record of 20,000 empty files is acknowledged.
#[tokio::test]
async fn twenty_thousand_files_are_acknowledged() {
    let disk = Disk::new();
    for folder in 0..20 {
        let folder = disk.path(&format!("folder-{folder}"));
        std::fs::create_dir(&folder).unwrap();
        for file in 0..1000 {
            std::fs::File::create(folder.join(format!("file-{file}"))).unwrap();
        }
    }
    let importer = disk.host.importer(&disk.settings(), &Options::default()).await.unwrap();
    let counts = importer.count().await.unwrap();
    assert_eq!((counts.files, counts.errors), (20_000, 0));
    importer.into_connector().leave().await.unwrap();
}

/// A file `a` and a folder `a/` of an object store are both restored, or one of them is an error.
/// On a disk, the test uses names that differ by characters next to the slash.
#[tokio::test]
async fn names_that_are_prefixes_of_others_are_backed_up() {
    let disk = Disk::new();
    for path in ["a.txt", "a/b", "a b", "a-/c", "ab"] {
        disk.put(path, path);
    }
    let snapshot = disk.backup().await;
    assert_sound(&snapshot);
    assert_eq!(snapshot.contents().len(), 5);
}

/// A failure in an excluded folder is not an error.
#[tokio::test]
async fn an_excluded_folder_is_not_listed() {
    let icloud = ICloud::new();
    icloud.furnish();
    icloud.put("docs/build/out.bin", b"built");
    let build = icloud.drive_id("docs/build");
    icloud.simulator.add_fault(icloud.fail(RequestKind::List, 400).matching(&build));
    let options = Options::default().excluding(["build/"]);
    let settings = icloud.settings("icloud://");
    let backup = Backup { excludes: &options.excludes, ..Backup::first() };
    let snapshot = icloud.host.backup(&settings, &options, backup).await.unwrap();
    assert_sound(&snapshot);
    let was_listed = icloud.simulator.requests().iter().any(|request| request.subjects.contains(&build));
    assert!(!was_listed, "an excluded folder was listed");
    let mut expected = icloud.contents();
    expected.remove("/docs/build/out.bin");
    assert_eq!(digests(&snapshot), expected);
}

/// These rules match no folder in plakar, whose patterns are those of go-git, but might match here.
/// The host interprets rules as the importer does, so it gets none: every item that is left out was
/// left out by the importer.
#[tokio::test]
async fn folders_that_plakar_does_not_exclude_are_listed() {
    let icloud = ICloud::new();
    for folder in ["caf\u{e9}", "tab", "space", "b", "build"] {
        icloud.put(&format!("{folder}/kept.txt"), folder.as_bytes());
    }
    let rules = ["caf??", "tab\t", "space\u{a0}", "[!a]", "build\u{2003}"];
    let options = Options::default().excluding(rules);
    let snapshot = icloud.host.backup(&icloud.settings("icloud://"), &options, Backup::first()).await.unwrap();
    assert_sound(&snapshot);
    assert_eq!(digests(&snapshot), icloud.contents());
}

/// Extended attributes are marked as plakar expects them.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn extended_attributes_do_no_harm() {
    use rustix::fs::{XattrFlags, setxattr};

    let disk = Disk::new();
    disk.put("a", "a");
    if let Err(error) = setxattr(disk.path("a"), "user.colour", b"red", XattrFlags::empty()) {
        skipped(&format!("{} takes no extended attributes: {error}", disk.path("").display()));
        return;
    }
    let first = disk.backup().await;
    assert_sound(&first);
    setxattr(disk.path("a"), "user.shape", b"round", XattrFlags::empty()).unwrap();
    assert_sound(&disk.backup_after(&first).await);
}
