//! Files of a snapshot whose names are taken in the destination.

use std::collections::BTreeMap;

use icloud_simulator::{FaultRule, HoldAt, NameMatching, RequestKind};
use plakar_host::{Exported, Options, Settings, Tree};

use crate::icloud::{ICloud, MODIFIED};

/// Restores a tree. Also returns the last line on stderr.
async fn restore(icloud: &ICloud, settings: &Settings, tree: &Tree) -> (Exported, String) {
    let exporter = icloud.host.exporter(settings, &Options::default()).await.unwrap();
    let exported = exporter.export(tree).await.unwrap();
    exporter.close().await.unwrap();
    let last = exporter.connector().stderr().lines().last().unwrap_or_default().to_owned();
    exporter.into_connector().leave().await.unwrap();
    (exported, last)
}

fn settings(icloud: &ICloud, on_conflict: &str) -> Settings {
    icloud.settings("icloud:///to").with("on_conflict", on_conflict)
}

/// Returns the contents of the drive below the destination.
fn texts(icloud: &ICloud) -> BTreeMap<String, String> {
    let text = |path: &String| {
        let content = icloud.simulator.content(path.trim_start_matches('/')).unwrap();
        String::from_utf8(content.read(0, content.size()).to_vec()).unwrap()
    };
    icloud.contents().keys().map(|path| (path.replacen("/to/", "", 1), text(path))).collect()
}

fn expected(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect()
}

/// Returns the date of today in UTC, as it is in the names of files.
fn today() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let now = prost_types::Timestamp { seconds: i64::try_from(seconds).unwrap(), nanos: 0 };
    now.to_string().split('T').next().unwrap().to_owned()
}

/// The time of the files of a [`Tree`], in milliseconds since 1970.
const RESTORED: i64 = 1_715_947_200 * 1000;

/// The tree has the time 2024-05-17, the file in the drive that of [`MODIFIED`], in 2023.
fn tree() -> Tree {
    Tree::new().folder("/").folder("/sub").file("/a.txt", "new").file("/sub/b.txt", "b")
}

#[tokio::test]
async fn on_conflict_selects_how_a_file_of_the_same_name_is_treated() {
    let beside = format!("a (restored {}).txt", today());
    let all = [("a.txt", "new"), ("sub/b.txt", "b")];
    for (choice, files, counted, fails) in [
        ("replace", vec![all[0], all[1]], "1 replaced (old versions are in the Trash)", false),
        ("newer", vec![all[0], all[1]], "1 replaced (old versions are in the Trash)", false),
        ("skip", vec![("a.txt", "old"), all[1]], "1 skipped", false),
        ("keep-both", vec![(&*beside, "new"), ("a.txt", "old"), all[1]], "1 restored beside others", false),
        ("fail", vec![("a.txt", "old"), all[1]], "1 failed", true),
    ] {
        let icloud = ICloud::new();
        icloud.put("to/a.txt", b"old");
        for round in 0..2 {
            let (exported, summary) = restore(&icloud, &settings(&icloud, choice), &tree()).await;
            let mut there = texts(&icloud);
            there.retain(|path, _| path != "plakar-icloud-renames.txt");
            assert_eq!(there, expected(&files), "{choice}");
            assert_eq!(exported.end.is_err(), fails, "{choice}");
            let replaced = matches!(choice, "replace" | "newer");
            assert_eq!(icloud.simulator.trash().len(), usize::from(replaced), "{choice}");
            let says = if round == 0 { summary.contains(counted) } else { fails || summary.contains(" there already") };
            assert!(fails || says, "{choice}, round {round}: {summary}");
        }
    }
}

#[tokio::test]
async fn a_newer_file_of_the_destination_stays() {
    let icloud = ICloud::new();
    let later = 1_800_000_000_000;
    assert!(later > MODIFIED);
    icloud.simulator.put_file("to/a.txt", icloud_simulator::Content::from(&b"later"[..]), later);
    let (exported, _) = restore(&icloud, &settings(&icloud, "newer"), &tree()).await;
    exported.end.unwrap();
    assert_eq!(texts(&icloud), expected(&[("a.txt", "later"), ("sub/b.txt", "b")]));
}

/// Files that are there already are neither uploaded nor looked up one by one.
#[tokio::test]
async fn a_second_restore_uploads_only_missing_files() {
    let icloud = ICloud::new();
    let tree = (0..30).fold(Tree::new().folder("/").folder("/sub"), |tree, n| {
        tree.file(&format!("/{n}.txt"), format!("{n}")).file(&format!("/sub/{n}.txt"), format!("sub {n}"))
    });
    let settings = icloud.settings("icloud:///to");
    restore(&icloud, &settings, &tree).await.0.end.unwrap();
    icloud.simulator.mutate("to/sub/7.txt", icloud_simulator::Mutation::Trash).unwrap();
    let before = (icloud.count(RequestKind::ContentPost), icloud.count(RequestKind::List));
    let (exported, summary) = restore(&icloud, &settings, &tree).await;
    exported.end.unwrap();
    assert_eq!(icloud.count(RequestKind::ContentPost) - before.0, 1);
    assert!(icloud.count(RequestKind::List) - before.1 <= 4);
    assert!(summary.contains("59 there already"), "{summary}");
    let before = icloud.count(RequestKind::ContentPost);
    restore(&icloud, &settings.with("skip_identical", "false"), &tree).await.0.end.unwrap();
    assert_eq!(icloud.count(RequestKind::ContentPost) - before, 60);
}

/// After a restore whose connection was closed or whose process was killed, the next restore
/// uploads only the missing files.
#[tokio::test]
async fn an_interrupted_restore_continues_where_it_ended() {
    let tree = (0..40).fold(Tree::new().folder("/"), |tree, n| tree.file(&format!("/{n}.txt"), format!("content {n}")));
    for kill in [false, true] {
        let icloud = ICloud::new();
        let settings = icloud.settings("icloud:///to").with("uploads", "8");
        let hold = icloud_simulator::FaultAction::Hold { gate: "uploads".to_owned(), at: HoldAt::Arrival };
        icloud.simulator.add_fault(FaultRule::new(RequestKind::ContentPost, hold).skip(15));
        let exporter = icloud.host.exporter(&settings, &Options::default()).await.unwrap();
        let (_, ()) = tokio::join!(exporter.export(&tree), async {
            icloud.until(RequestKind::ContentPost, 16).await;
            match kill {
                true => exporter.connector().signal(plakar_host::Signal::KILL).unwrap(),
                false => exporter.connector().hang_up(),
            }
        });
        let _ = exporter.into_connector().wait(plakar_host::PATIENCE).await;
        icloud.simulator.release("uploads");
        let stored = icloud.contents().len();
        assert!((1..40).contains(&stored), "{stored}");
        let before = icloud.count(RequestKind::ContentPost);
        let (exported, summary) = restore(&icloud, &settings, &tree).await;
        exported.end.unwrap();
        assert_eq!(icloud.count(RequestKind::ContentPost) - before, 40 - stored as u64, "killed: {kill}");
        assert!(summary.contains(&format!("{stored} there already")), "{summary}");
        assert_eq!(icloud.contents().len(), 40);
    }
}

/// A restore into an empty folder lists only the folders on the path to it.
#[tokio::test]
async fn a_restore_into_an_empty_folder_does_not_list_its_subfolders() {
    let icloud = ICloud::new();
    let tree = (0..5).fold(Tree::new().folder("/"), |tree, n| {
        tree.folder(&format!("/{n}")).file(&format!("/{n}/a"), "a").file(&format!("/{n}/b"), "b")
    });
    restore(&icloud, &icloud.settings("icloud:///to"), &tree).await.0.end.unwrap();
    assert_eq!(icloud.count(RequestKind::List), 1);
}

/// A name of the destination that differs only in case is a conflict if the service treats it as
/// equal.
#[tokio::test]
async fn another_case_is_a_conflict_if_the_service_ignores_case() {
    for (matching, files) in [
        (NameMatching::CaseSensitive, vec![("A.txt", "old"), ("a.txt", "new"), ("sub/b.txt", "b")]),
        (NameMatching::IgnoringCase, vec![("A.txt", "old"), ("sub/b.txt", "b")]),
    ] {
        let icloud = ICloud::new();
        icloud.simulator.rules(|rules| rules.drive.name_matching = matching);
        icloud.put("to/A.txt", b"old");
        restore(&icloud, &settings(&icloud, "skip"), &tree()).await.0.end.unwrap();
        assert_eq!(texts(&icloud), expected(&files), "{matching:?}");
        assert!(icloud.simulator.trash().is_empty());
    }
}

/// A file with the path of a folder, and a folder with the path of a file, are never removed.
#[tokio::test]
async fn files_and_folders_do_not_replace_each_other() {
    for (choice, uploads, failures) in [
        ("replace", 0, ["a folder has this name, which was left as it is", "a file has this name"]),
        ("newer", 0, ["a folder has this name, which was left as it is", "a file has this name"]),
        ("fail", 0, ["a folder has this name", "a file has this name"]),
        ("skip", 0, ["", ""]),
        ("keep-both", 3, ["", ""]), // with the list of renames
    ] {
        let icloud = ICloud::new();
        icloud.put("to/sub", b"a file");
        icloud.put("to/a.txt/inside", b"in a folder");
        let (exported, _) = restore(&icloud, &settings(&icloud, choice), &tree()).await;
        let there = texts(&icloud);
        assert_eq!((&*there["sub"], &*there["a.txt/inside"]), ("a file", "in a folder"), "{choice}");
        assert!(icloud.simulator.trash().is_empty(), "{choice}");
        let errors = exported.errors();
        for (path, why) in ["/a.txt", "/sub"].into_iter().zip(failures) {
            assert!(errors.get(path).copied().unwrap_or_default().contains(why), "{choice}: {errors:?}");
        }
        assert_eq!(errors.is_empty(), failures[0].is_empty(), "{choice}: {errors:?}");
        assert_eq!(icloud.count(RequestKind::ContentPost), uploads, "{choice}");
        assert_eq!(exported.end.is_ok(), matches!(choice, "skip" | "keep-both"), "{choice}");
        if choice == "keep-both" {
            assert_eq!(there[&format!("sub (restored {})/b.txt", today())], "b", "{there:?}");
            assert_eq!(there[&format!("a (restored {}).txt", today())], "new", "{there:?}");
        }
    }
}

#[tokio::test]
async fn links_are_counted_or_restored_as_texts() {
    let icloud = ICloud::new();
    let tree = tree().link("/link", "a.txt").special("/pipe", 1 << 25 | 0o600);
    let (exported, summary) = restore(&icloud, &icloud.settings("icloud:///to"), &tree).await;
    assert_eq!(exported.errors(), BTreeMap::new());
    exported.end.unwrap();
    assert!(summary.contains("2 links and special files left out"), "{summary}");
    let settings = icloud.settings("icloud:///to").with("links", "text");
    let (exported, summary) = restore(&icloud, &settings, &tree).await;
    exported.end.unwrap();
    assert!(summary.contains("1 links and special files left out"), "{summary}");
    assert_eq!(texts(&icloud), expected(&[("a.txt", "new"), ("link.symlink.txt", "a.txt\n"), ("sub/b.txt", "b")]));
}

/// Each restored file is read back, and so is a file that is there already with the same size and
/// time.
#[tokio::test]
async fn contents_are_verified_on_request() {
    let icloud = ICloud::new();
    let settings = icloud.settings("icloud:///to").with("verify", "content");
    restore(&icloud, &settings, &tree()).await.0.end.unwrap();
    // The same size and time as in the snapshot.
    icloud.simulator.put_file("to/a.txt", icloud_simulator::Content::from(&b"nex"[..]), 1_715_947_200_000);
    let (exported, summary) = restore(&icloud, &settings, &tree()).await;
    exported.end.unwrap();
    assert!(summary.contains("1 there already, 1 replaced (old versions are in the Trash)"), "{summary}");
    assert_eq!(texts(&icloud), expected(&[("a.txt", "new"), ("sub/b.txt", "b")]));
    let flip = icloud_simulator::FaultAction::WrongByte { offset: 0 };
    icloud.simulator.add_fault(icloud_simulator::FaultRule::new(RequestKind::ContentGet, flip));
    let (exported, _) = restore(&icloud, &settings.at("icloud:///other"), &tree()).await;
    assert!(exported.errors().values().all(|why| why.contains("cannot verify")), "{:?}", exported.errors());
    assert_eq!(exported.errors().len(), 2);
}

/// Two processes that restore a snapshot into one folder at once do not fail: each counts the files
/// of the other as its own. Their requests for the same files reach the service together.
#[tokio::test]
async fn two_restores_at_once_into_a_folder_store_each_file_once() {
    const FILES: u64 = 12;
    let tree =
        (0..FILES).fold(Tree::new().folder("/"), |tree, n| tree.file(&format!("/{n}.txt"), format!("content {n}")));
    let wanted: BTreeMap<String, String> = (0..FILES).map(|n| (format!("{n}.txt"), format!("content {n}"))).collect();
    for (has_old_files, verify) in [(false, "size"), (true, "size"), (true, "content")] {
        let icloud = ICloud::new();
        icloud.simulator.make_folders("to");
        if has_old_files {
            (0..FILES).for_each(|n| icloud.put(&format!("to/{n}.txt"), b"old"));
        }
        let settings = icloud.settings("icloud:///to").with("uploads", "12").with("verify", verify);
        icloud.hold(RequestKind::UpdateDocuments, "registrations");
        let release = async {
            icloud.until(RequestKind::UpdateDocuments, 2 * FILES).await;
            icloud.simulator.release("registrations");
        };
        let (first, second, ()) =
            tokio::join!(restore(&icloud, &settings, &tree), restore(&icloud, &settings, &tree), release);
        for (exported, summary) in [&first, &second] {
            assert_eq!(exported.errors(), BTreeMap::new());
            assert!(exported.end.is_ok(), "{:?}: {summary}", exported.end);
        }
        assert_eq!(texts(&icloud), wanted);
        let trashed = icloud.simulator.trash().len() as u64;
        if has_old_files {
            assert_eq!(trashed, 2 * FILES, "the old files, and those of the later process");
        } else {
            assert_eq!(trashed, 0);
            let identical =
                |summary: &str| summary.split(" there already").next()?.rsplit([' ', ',']).next()?.parse::<u64>().ok();
            let known: u64 = [&first.1, &second.1].into_iter().filter_map(|summary| identical(summary)).sum();
            assert_eq!(known, FILES, "{} / {}", first.1, second.1);
        }
    }
}

/// Other content that appears during the upload is kept, even if it has the same size.
#[tokio::test]
async fn another_file_that_appears_during_a_restore_is_kept() {
    let tree = Tree::new().folder("/").file("/a.txt", "ours");
    for (skip_identical, theirs, modified) in
        [("true", "theirs", RESTORED), ("true", "thei", MODIFIED), ("false", "ours", RESTORED)]
    {
        let icloud = ICloud::new();
        icloud.simulator.make_folders("to");
        icloud.hold(RequestKind::UpdateDocuments, "registration");
        let settings = icloud.settings("icloud:///to").with("skip_identical", skip_identical);
        let store = async {
            icloud.until(RequestKind::UpdateDocuments, 1).await;
            icloud.simulator.put_file("to/a.txt", icloud_simulator::Content::from(theirs.as_bytes()), modified);
            icloud.simulator.release("registration");
        };
        let ((exported, _), ()) = tokio::join!(restore(&icloud, &settings, &tree), store);
        assert!(exported.errors()["/a.txt"].contains("in the meantime"), "{:?}", exported.errors());
        assert_eq!(texts(&icloud), expected(&[("a.txt", theirs)]));
        assert_eq!(icloud.simulator.trash().len(), 0);
    }
}

/// Other content that appears after the old file was moved to the Trash is kept, too. Only
/// `verify=content` distinguishes contents of the same size and time.
#[tokio::test]
async fn another_file_that_appears_during_a_replacement_is_kept() {
    let tree = Tree::new().folder("/").file("/a.txt", "ours");
    for (verify, theirs, modified) in
        [("size", "theirs", RESTORED), ("size", "thei", MODIFIED), ("content", "thei", RESTORED)]
    {
        let icloud = ICloud::new();
        icloud.put("to/a.txt", b"old");
        icloud.hold(RequestKind::Rename, "rename");
        let file = icloud.host.surroundings().root().join("summary.json");
        let settings = icloud.settings("icloud:///to").with("verify", verify).with("summary", file.to_str().unwrap());
        let store = async {
            icloud.until(RequestKind::Rename, 1).await;
            icloud.simulator.put_file("to/a.txt", icloud_simulator::Content::from(theirs.as_bytes()), modified);
            icloud.simulator.release("rename");
        };
        let ((exported, summary), ()) = tokio::join!(restore(&icloud, &settings, &tree), store);
        let told = format!("{:?} {:?} {summary}", exported.errors(), exported.end);
        assert!(told.contains("in the meantime"), "{verify} {theirs}: {told}");
        let counts: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for (count, number) in [("replaced", 0), ("failed", 1)] {
            assert_eq!(counts[count], number, "{verify} {theirs}: {counts:#}");
        }
        assert_eq!(texts(&icloud), expected(&[("a.txt", theirs)]));
        assert_eq!(icloud.simulator.trash().len(), 2, "the old file and the new one");
    }
}
