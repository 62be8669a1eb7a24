//! Names of a snapshot that the destination refuses or treats as equal.

use std::collections::BTreeMap;

use icloud_simulator::{ExistingFolder, NameMatching, NameRule, RequestKind};
use plakar_host::{Exported, Options, Settings, Tree};

use crate::icloud::ICloud;

const LIST: &str = "/to/plakar-icloud-renames.txt";

/// Restores a tree. Also returns the lines on stderr.
async fn restore(icloud: &ICloud, settings: &Settings, tree: &Tree) -> (Exported, Vec<String>) {
    let exporter = icloud.host.exporter(settings, &Options::default()).await.unwrap();
    let exported = exporter.export(tree).await.unwrap();
    exporter.close().await.unwrap();
    let lines = exporter.connector().stderr().lines().map(str::to_owned).collect();
    exporter.into_connector().leave().await.unwrap();
    (exported, lines)
}

async fn restored(icloud: &ICloud, tree: &Tree) -> Vec<String> {
    // Whether a new folder is refused for its name shows only after several attempts.
    let (exported, lines) = restore(icloud, &icloud.settings("icloud:///to").with("tries", "4"), tree).await;
    assert_eq!(exported.errors(), BTreeMap::new());
    exported.end.unwrap();
    lines
}

fn text(icloud: &ICloud, path: &str) -> String {
    let content = icloud.simulator.content(path.trim_start_matches('/')).expect(path);
    String::from_utf8(content.read(0, content.size()).to_vec()).unwrap()
}

/// Returns the contents of the drive, without the list of renames.
fn texts(icloud: &ICloud) -> BTreeMap<String, String> {
    let paths = icloud.contents().into_keys().filter(|path| path != LIST);
    paths.map(|path| (path.clone(), text(icloud, &path))).collect()
}

fn expected(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|&(path, text)| (format!("/to/{path}"), text.to_owned())).collect()
}

/// Four files whose names the service treats as equal, in one pair or in both, are four files in
/// the drive, and nothing is moved to the Trash. A second restore stores nothing again.
#[tokio::test]
async fn files_with_equal_names_are_restored_under_different_names() {
    let twins =
        [("Report.txt", "A"), ("report.txt", "b"), ("caf\u{e9}.txt", "composed"), ("cafe\u{301}.txt", "decomposed")];
    let tree = twins.iter().fold(Tree::new().folder("/"), |tree, (name, text)| tree.file(&format!("/{name}"), *text));
    for (matching, small) in [(NameMatching::CaseSensitive, "report.txt"), (NameMatching::IgnoringCase, "report~2.txt")]
    {
        let icloud = ICloud::new();
        icloud.simulator.rules(|rules| rules.drive.name_matching = matching);
        let files = [
            ("Report.txt", "A"),
            (small, "b"),
            // "cafe\u{301}" is first in bytewise order.
            ("caf\u{e9}.txt", "decomposed"),
            ("caf\u{e9}~2.txt", "composed"),
        ];
        for round in 0..2 {
            let lines = restored(&icloud, &tree).await;
            assert_eq!(texts(&icloud), expected(&files), "{lines:?}");
            assert!(icloud.simulator.trash().is_empty(), "{matching:?}: {:?}", icloud.simulator.trash());
            assert!(text(&icloud, LIST).contains("/caf\u{e9}.txt\t/caf\u{e9}~2.txt\n"), "{}", text(&icloud, LIST));
            assert!(lines.iter().any(|line| line.contains("is restored as /caf\u{e9}~2.txt")), "{lines:?}");
            assert_eq!(lines.last().unwrap().contains("4 there already"), round == 1, "{lines:?}");
        }
        let snapshot = icloud.backup("icloud:///to").await;
        let tree = snapshot.restore("/to");
        let before = icloud.contents();
        let lines = restored(&icloud, &tree).await;
        assert!(!lines.iter().any(|line| line.contains("is restored as")), "{lines:?}");
        assert_eq!(icloud.contents(), before);
    }
}

/// A snapshot of a restored tree contains the list of its renames. A restore that renames further
/// items continues that list, and one that renames nothing restores it.
#[tokio::test]
async fn the_list_of_renames_is_continued() {
    let icloud = ICloud::new();
    let tree = Tree::new().folder("/").file("/cafe\u{301}.txt", "1").file("/caf\u{e9}.txt", "2");
    restored(&icloud, &tree).await;
    let list = text(&icloud, LIST);
    let tree = Tree::new().folder("/").file("/plakar-icloud-renames.txt", list.clone());
    restored(&icloud, &tree).await;
    assert_eq!(text(&icloud, LIST), list);
    let tree = tree.file("/o\u{308}", "1").file("/\u{f6}", "2");
    for _ in 0..2 {
        restored(&icloud, &tree).await;
        assert_eq!(text(&icloud, LIST), list.replacen("here.\n", "here.\n/\u{f6}\t/\u{f6}~2\n", 1));
        assert_eq!(icloud.contents().keys().filter(|path| path.contains("renames")).count(), 1);
    }
    // A file of the user that has this name is not a list.
    let icloud = ICloud::new();
    let tree = tree.file("/plakar-icloud-renames.txt", "of the user");
    restored(&icloud, &tree).await;
    assert_eq!(text(&icloud, LIST), "of the user");
    assert!(text(&icloud, "/to/plakar-icloud-renames~2.txt").contains("/\u{f6}\t/\u{f6}~2\n"));
}

/// The first of two names that differ in case keeps its name, although its upload takes longer.
#[tokio::test]
async fn the_second_of_two_equal_names_waits_for_the_first() {
    let icloud = ICloud::new();
    icloud.simulator.rules(|rules| rules.drive.name_matching = NameMatching::IgnoringCase);
    icloud.simulator.add_fault(icloud.fail(RequestKind::UploadWeb, 503).matching("Report.txt").times(1));
    restored(&icloud, &Tree::new().folder("/").file("/Report.txt", "A").file("/report.txt", "b")).await;
    assert_eq!(texts(&icloud), expected(&[("Report.txt", "A"), ("report~2.txt", "b")]));
    assert!(icloud.simulator.trash().is_empty());
}

/// plakar sends names in bytewise order. In another order, nothing is lost either.
#[tokio::test]
async fn files_with_equal_names_are_restored_in_any_order() {
    let names = [
        "Report.txt",
        "report.txt",
        "REPORT.txt",
        "stra\u{df}e",
        "STRASSE",
        "caf\u{e9}.txt",
        "cafe\u{301}.txt",
        "CAFE\u{301}.txt",
    ];
    let tree = names.iter().fold(Tree::new().folder("/"), |tree, name| tree.file(&format!("/{name}"), *name));
    for matching in [NameMatching::CaseSensitive, NameMatching::IgnoringCase] {
        let icloud = ICloud::new();
        icloud.simulator.rules(|rules| rules.drive.name_matching = matching);
        let exporter = icloud.host.exporter(&icloud.settings("icloud:///to"), &Options::default()).await.unwrap();
        let (mut outgoing, mut acks) = exporter.start();
        let (top, mut files): (Vec<_>, Vec<_>) = tree.iter().partition(|item| item.record.pathname == "/");
        files.reverse();
        for item in top.into_iter().chain(files) {
            outgoing.send(item).await.unwrap();
        }
        drop(outgoing);
        while let Some(ack) = acks.next().await.unwrap() {
            assert_eq!(ack.error, "", "{}", ack.record.pathname);
        }
        let mut stored: Vec<String> = texts(&icloud).into_values().collect();
        stored.sort_unstable();
        let mut sent = names.map(str::to_owned);
        sent.sort_unstable();
        assert_eq!(stored, sent, "{matching:?}");
        assert!(icloud.simulator.trash().is_empty(), "{matching:?}");
        exporter.close().await.unwrap();
        exporter.into_connector().leave().await.unwrap();
    }
}

/// Two folders whose names the service treats as equal are restored as two, with their content. A
/// few requests show that it does.
#[tokio::test]
async fn folders_with_equal_names_are_not_merged() {
    let tree = Tree::new()
        .folder("/")
        .folder("/Docs")
        .file("/Docs/a.txt", "capital")
        .folder("/docs")
        .file("/docs/a.txt", "small")
        .folder("/cafe\u{301}")
        .file("/cafe\u{301}/in.txt", "decomposed")
        .folder("/caf\u{e9}")
        .folder("/caf\u{e9}/sub")
        .file("/caf\u{e9}/sub/in.txt", "composed");
    for (matching, response, small, requests) in [
        (NameMatching::CaseSensitive, ExistingFolder::Unknown, "docs", [6, 1]),
        (NameMatching::IgnoringCase, ExistingFolder::Unknown, "docs~2", [9, 3]),
        (NameMatching::IgnoringCase, ExistingFolder::AlreadyExists, "docs~2", [7, 1]),
        (NameMatching::IgnoringCase, ExistingFolder::Bounce, "docs~2", [7, 1]),
    ] {
        let icloud = ICloud::new();
        icloud.simulator.rules(|rules| {
            rules.drive.name_matching = matching;
            rules.drive.existing_folder = response;
        });
        for most in requests {
            icloud.simulator.reset_counts();
            let (exported, _) = restore(&icloud, &icloud.settings("icloud:///to"), &tree).await;
            assert_eq!(exported.errors(), BTreeMap::new());
            let created = icloud.count(RequestKind::CreateFolders);
            assert!(created <= most, "{matching:?}, {response:?}: {created} requests");
            let files = [
                ("Docs/a.txt", "capital"),
                (&format!("{small}/a.txt"), "small"),
                ("caf\u{e9}/in.txt", "decomposed"),
                ("caf\u{e9}~2/sub/in.txt", "composed"),
            ];
            assert_eq!(texts(&icloud), expected(&files));
            // A folder that got another name from the service was removed, empty.
            assert!(icloud.simulator.trash().iter().all(|item| item.folder && response == ExistingFolder::Bounce));
        }
    }
}

/// A derived name is never that of another item of the snapshot or of the destination.
#[tokio::test]
async fn derived_names_differ_from_all_others() {
    let icloud = ICloud::new();
    icloud.put("to/caf\u{e9}~2.txt", b"of the user");
    let tree = Tree::new()
        .folder("/")
        .file("/cafe\u{301}.txt", "1")
        .file("/caf\u{e9}.txt", "2")
        .file("/caf\u{e9}~3.txt", "3")
        .file("/back\\slash", "4")
        .file("/back\u{ff3c}slash", "5");
    restored(&icloud, &tree).await;
    let files = [
        ("back\u{ff3c}slash", "4"),
        ("back\u{ff3c}slash~2", "5"),
        ("caf\u{e9}.txt", "1"),
        ("caf\u{e9}~2.txt", "of the user"),
        ("caf\u{e9}~3.txt", "2"),
        ("caf\u{e9}~3~2.txt", "3"),
    ];
    assert_eq!(texts(&icloud), expected(&files));
    assert!(icloud.simulator.trash().is_empty());
}

/// Names that the service refuses, for a character, their length or their form, are restored under
/// readable names, files and folders alike.
#[tokio::test]
async fn refused_names_are_replaced_and_reported() {
    let icloud = ICloud::new();
    icloud.simulator.rules(|rules| {
        for rule in [NameRule::Backslash, NameRule::Control, NameRule::TooLong, NameRule::TrailingDot] {
            rules.drive.refuse_names.insert(rule, true);
        }
    });
    let long = "\u{e9}".repeat(150) + ".txt";
    let tree = Tree::new()
        .folder("/")
        .folder("/etc.")
        .file("/etc./Icon\r", "icon")
        .file("/a.icloud-new-5f3a0000-12345678", "reserved")
        .file(&format!("/{long}"), "long")
        .file("/plain", "plain");
    for _ in 0..2 {
        let lines = restored(&icloud, &tree).await;
        let texts = texts(&icloud);
        assert_eq!(texts["/to/etc\u{ff0e}/Icon\u{240d}"], "icon");
        assert_eq!(texts["/to/plain"], "plain");
        assert_eq!(texts["/to/a.icloud-new-5f3a0000-12345678~2"], "reserved");
        assert_eq!(texts.values().filter(|text| *text == "long").count(), 1);
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert!(
            lines.iter().any(|line| line.contains("/etc./Icon\\r is restored as /etc\u{ff0e}/Icon\u{240d}")),
            "{lines:?}"
        );
        assert!(lines.last().unwrap().contains("4 restored under another name, none failed"), "{lines:?}");
    }
}

/// With `names=fail`, an item that would need another name fails and nothing is lost.
#[tokio::test]
async fn names_are_refused_on_request() {
    let icloud = ICloud::new();
    icloud.simulator.rules(|rules| rules.drive.name_matching = NameMatching::IgnoringCase);
    let settings = icloud.settings("icloud:///to").with("names", "fail");
    let tree = Tree::new()
        .folder("/")
        .file("/A.txt", "capital")
        .file("/a.txt", "small")
        .file("/b\\c", "refused")
        .folder("/d\\e")
        .file("/r\u{e9}sum\u{e9}.txt", "composed")
        .file("/re\u{301}sume\u{301}.txt", "decomposed");
    let (exported, _) = restore(&icloud, &settings, &tree).await;
    let errors = exported.errors();
    assert_eq!(errors.keys().collect::<Vec<_>>(), [&"/a.txt", &"/b\\c", &"/d\\e", &"/r\u{e9}sum\u{e9}.txt"]);
    for name in ["/a.txt", "/b\\c", "/d\\e"] {
        assert!(errors[name].contains("names=rename"), "{errors:?}");
    }
    exported.end.unwrap_err();
    assert_eq!(texts(&icloud), expected(&[("A.txt", "capital"), ("r\u{e9}sum\u{e9}.txt", "decomposed")]));
    assert!(icloud.simulator.trash().is_empty());
}
