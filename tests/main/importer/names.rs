//! Unusual names.

use std::collections::{BTreeMap, BTreeSet};

use icloud_simulator::{Mutation, NameRule};
use plakar_host::{Options, digest};

use crate::disk::Disk;
use crate::icloud::{ICloud, assert_sound, digests, hex};

#[tokio::test]
async fn unusual_names_are_the_same_after_a_backup_and_a_restore() {
    let disk = Disk::new();
    let long = "n".repeat(255);
    let names = [
        "line\nbreak",
        "tab\there",
        "caf\u{e9}",
        "cafe\u{301}",
        "%41 100%",
        " leading",
        "trailing ",
        "back\\slash",
        "quote\"'",
        "\u{202e}right to left",
        "...",
        "~",
        "CON",
        &long,
    ];
    for name in names {
        disk.put(&format!("from/{name}"), name);
        disk.put(&format!("from/folder {name:.200}/{name}"), name);
    }
    let options = Options::default();
    let snapshot = disk.host.backup(&disk.settings_at("from"), &options, Default::default()).await.unwrap();
    assert_sound(&snapshot);
    assert_eq!(snapshot.contents().len(), 2 * names.len());
    for name in names {
        assert!(snapshot.contents().contains_key(format!("/{name}").as_str()), "{name:?} has another name");
    }
    let tree = snapshot.restore(&snapshot.root);
    let exported = disk.host.restore(&disk.settings_at("to"), &options, &tree).await.unwrap();
    exported.end.unwrap();
    for name in names {
        for path in [format!("to/{name}"), format!("to/folder {name:.200}/{name}")] {
            assert_eq!(std::fs::read(disk.path(&path)).unwrap(), name.as_bytes(), "{path:?}");
        }
    }
}

#[tokio::test]
async fn unusual_names_that_icloud_accepts_are_restored_unchanged() {
    let icloud = ICloud::new();
    icloud.simulator.rules(|rules| {
        rules.drive.refuse_names.extend([(NameRule::Backslash, false), (NameRule::Control, false)]);
    });
    let names = [
        "\u{df}",
        "%41 100%",
        " lead.txt",
        "Notes ",
        "\u{1f600}",
        "a\\b.txt",
        "alone\u{ff3c}.txt",
        "Icon\r",
        "etc.",
        "...",
        "a:b",
        "blank\u{2420}",
        "return\u{240d}",
    ];
    for name in names {
        icloud.put(&format!("from/in {name}/{name}"), name.as_bytes());
    }
    let before = icloud.contents();
    let snapshot = icloud.backup("icloud:///from").await;
    assert_sound(&snapshot);
    let tree = snapshot.restore("/from");
    for place in ["icloud:///from", "icloud:///to"] {
        let exported = icloud.host.restore(&icloud.settings(place), &Options::default(), &tree).await.unwrap();
        exported.end.unwrap();
    }
    let copies = before.iter().map(|(path, digest)| (path.replacen("/from/", "/to/", 1), digest.clone()));
    let expected: BTreeMap<String, String> = before.clone().into_iter().chain(copies).collect();
    assert_eq!(icloud.contents(), expected);
}

/// A name that could lead out of its folder is left out or is an error. rclone replaces similar
/// characters with the characters `/` and `.` in names.
#[tokio::test]
async fn no_name_leads_out_of_its_folder() {
    let icloud = ICloud::new();
    for name in ["\u{ff0e}", "\u{ff0e}\u{ff0e}", "a\u{ff0f}b", "safe"] {
        icloud.put(&format!("docs/{name}"), name.as_bytes());
    }
    let snapshot = icloud.backup("icloud://").await;
    assert_eq!(snapshot.violations, Vec::<String>::new());
    assert!(snapshot.contents().contains_key("/docs/safe"));
    assert!(snapshot.entries["/docs"].is_dir());
    assert_eq!(snapshot.files().count() + snapshot.errors.len(), 4);
}

/// A name that is not UTF-8 is an error or encoded, and the backup goes on.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_name_that_is_not_utf8_does_not_end_the_backup() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let disk = Disk::new();
    disk.put("good", "good");
    std::fs::write(disk.path("").join(OsStr::from_bytes(b"bad \xff\xfe name")), "bad").unwrap();
    let snapshot = disk.backup().await;
    assert_eq!(snapshot.violations, Vec::<String>::new());
    assert!(snapshot.contents().contains_key("/good"));
    assert_eq!(snapshot.files().count() + snapshot.errors.len(), 2);
    assert!(disk.backup_after(&snapshot).await.opened.is_empty());
}

/// Two items with the same name in a folder are treated in the same way in each backup.
#[tokio::test]
async fn two_items_with_the_same_name_are_both_saved_or_one_is_an_error() {
    let icloud = ICloud::new();
    icloud.put("docs/one.txt", b"one");
    icloud.put("docs/two.txt", b"two");
    icloud.simulator.mutate("docs/two.txt", Mutation::Rename { to: "docs/one.txt".to_owned() }).unwrap();
    let first = icloud.backup("icloud://").await;
    assert_eq!(first.violations, Vec::<String>::new());
    assert_eq!(first.files().count() + first.errors.len(), 2, "{:?} {:?}", first.contents().keys(), first.errors);
    assert!(first.errors.keys().all(|path| path.starts_with("/docs/")), "{:?}", first.errors);
    let contents: BTreeSet<String> = digests(&first).into_values().collect();
    assert_eq!(contents.len(), first.files().count(), "one of the items was saved twice");
    assert!(contents.is_subset(&[b"one", b"two"].map(|content| hex(&digest(content))).into()));
    let second = icloud.backup_after("icloud://", &first).await;
    assert_eq!(second.violations, Vec::<String>::new());
    assert!(second.opened.is_empty(), "opened {:?} though nothing changed", second.opened);
}
