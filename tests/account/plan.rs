//! What a restore would do, compared with what it does.

use std::{fs, time::Duration};

use icloud_simulator::{Content, RequestKind};
use plakar_host::{Options, Plakar, Settings, Surroundings, Tree};
use serde_json::{Value, json};

use crate::person::{APPLE_ID, Person};

/// The modification time of the items of a [`Tree`].
const CHANGED: u64 = 1_715_947_200;
/// A time before it, in milliseconds.
const EARLIER: i64 = 1_700_000_000_000;

/// The files of the snapshot.
const FILES: [(&str, &str); 8] = [
    ("/a.txt", "of the snapshot"),
    ("/back\\slash", "refused"),
    ("/cafe\u{301}.txt", "decomposed"),
    ("/caf\u{e9}.txt", "composed"),
    ("/kept/new.txt", "new"),
    ("/made/b.txt", "b"),
    ("/same.txt", "same"),
    ("/sub/c.txt", "below a file"),
];

/// A drive in use, and a folder of this machine that is to be restored into it.
fn furnished() -> Person {
    let person = Person::signed_in();
    for (path, text, time) in [
        ("to/a.txt", "old", EARLIER),
        ("to/same.txt", "same", i64::try_from(CHANGED).unwrap() * 1_000),
        ("to/sub", "a file", EARLIER),
        ("to/kept/old.txt", "old", EARLIER),
    ] {
        person.simulator.put_file(path, Content::from(text.as_bytes()), time);
    }
    let from = person.file("from");
    for (path, text) in FILES {
        let path = from.join(&path[1..]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(CHANGED);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    std::os::unix::fs::symlink("a.txt", from.join("link")).unwrap();
    person
}

fn tree() -> Tree {
    let tree = Tree::new().folder("/").folder("/kept").folder("/made").folder("/sub").link("/link", "a.txt");
    FILES.iter().fold(tree, |tree, (path, text)| tree.file(path, *text))
}

fn plan(person: &Person, more: &[&str], code: i32) -> Value {
    let from = person.file("from");
    let arguments = [&["plan", "--json", from.to_str().unwrap(), "icloud:/to"], more].concat();
    person.run(&arguments).ends(code).json()
}

/// For each choice, a plan has the numbers of the restore that follows, and changes nothing.
#[tokio::test]
async fn a_restore_has_the_results_of_its_plan() {
    for choice in ["replace", "skip", "keep-both", "newer", "fail"] {
        let person = furnished();
        let before = person.simulator.snapshot();
        let fails = matches!(choice, "replace" | "newer" | "fail");
        let plan = plan(&person, &["-o", &format!("on_conflict={choice}")], i32::from(fails));
        assert_eq!(person.simulator.snapshot(), before);
        let summary = person.file("summary.json");
        let settings = Settings::new("icloud:///to").with("summary", summary.to_str().unwrap());
        let settings = settings.with("on_conflict", choice);
        person.simulator.reset_counts();
        let restored = person.host().restore(&settings, &Options::default(), &tree()).await.unwrap();
        assert_eq!(restored.end.is_err(), fails, "{choice}");
        let done: Value = serde_json::from_slice(&fs::read(summary).unwrap()).unwrap();
        let counts = &plan["counts"];
        for (planned, restored) in [
            ("identical", "identical"),
            ("replaced", "replaced"),
            ("skipped", "skipped"),
            ("beside", "kept_both"),
            ("refused", "failed"),
            ("left_out", "links"),
        ] {
            assert_eq!(counts[planned], done[restored], "{choice}: {planned}\n{plan:#}\n{done:#}");
        }
        let items = plan["items"].as_array().unwrap();
        let named = |key: &str| items.iter().filter(|item| !item[key].is_null()).count();
        assert_eq!(json!(named("renamed") + named("doubtful")), done["renamed"], "{choice}: {plan:#}");
        for item in items {
            for name in [&item["renamed"], &item["doubtful"]].into_iter().filter_map(Value::as_str) {
                let is_there = |file: &icloud_simulator::ItemInfo| file.path.ends_with(name.trim_start_matches('/'));
                assert!(person.simulator.snapshot().iter().any(is_there), "{choice}: {name}");
            }
        }
        // Without the listings, and the requests of the session.
        let kinds = [
            RequestKind::UploadWeb,
            RequestKind::ContentPost,
            RequestKind::UpdateDocuments,
            RequestKind::CreateFolders,
            RequestKind::Trash,
            RequestKind::Rename,
        ];
        let sent: u64 = kinds.iter().map(|kind| person.count(*kind)).sum();
        let estimated = plan["estimate"]["requests"].as_u64().unwrap();
        // Failed uploads are attempted more than once.
        assert!(sent.abs_diff(estimated) <= if fails { 8 } else { 2 }, "{choice}: {estimated} estimated, {sent} sent");
    }
}

/// The output for a person has every outcome, and that of --json the number of missing bytes.
#[tokio::test]
async fn a_plan_shows_every_outcome_and_the_free_space() {
    let person = furnished();
    let from = person.file("from");
    let shown = person.run(&["plan", from.to_str().unwrap(), "icloud:/to"]).ends(1);
    for part in [
        "icloud, /to",
        "8 files and 4 folders",
        "1 replaced",
        "2 folders there already",
        "1 there already",
        "2 would fail",
        "/caf\u{e9}.txt as /caf\u{e9}~2.txt",
        "/back\\slash as back\u{ff3c}slash",
        "1 links and special files, which are left out",
        "old versions go to the Trash",
        "which suffices",
        "about 2",
    ] {
        assert!(shown.stdout.contains(part), "{part} is missing in\n{}", shown.stdout);
    }
    fs::remove_dir_all(from.join("sub")).unwrap();
    let fits = plan(&person, &[], 0);
    assert_eq!((&fits["missing"], &fits["vanished"]), (&json!(0), &json!(0)));
    assert_eq!(fits["folders_there"], json!(2), "{fits:#}");
    person.simulator.rules(|rules| rules.drive.quota = 20);
    let full = plan(&person, &[], 1);
    let bytes = full["bytes"]["most"].as_u64().unwrap();
    assert_eq!(full["missing"], json!(bytes - full["free"].as_u64().unwrap()), "{full:#}");
}

/// A listing of plakar has no exact sizes, and times in whole seconds.
#[tokio::test]
async fn the_plan_of_a_listing_accounts_for_rounded_sizes_and_times() {
    let person = furnished();
    let listing = person.file("listing");
    let text = "2024-05-17T12:00:00Z -rw-r--r--     root     root     15 B /home/me/a.txt\n\
                2024-05-17T12:00:00Z drwxr-xr-x     root     root  4.0 KiB /home/me/kept\n\
                2024-05-17T12:00:00Z -rw-r--r--     root     root  1.2 MiB /home/me/kept/large\n\
                2024-05-17T12:00:00Z -rw-r--r--     root     root      4 B /home/me/same.txt\n\
                2024-05-17T12:00:00Z -rw-r--r--     root     root   16 EiB /home/me/song.band\n";
    fs::write(&listing, text).unwrap();
    let arguments = ["plan", "--json", "--snapshot", listing.to_str().unwrap(), "icloud:/to"];
    let plan = person.run(&arguments).ends(0).json();
    assert_eq!(plan["counts"]["replaced"], 1, "{plan:#}");
    assert_eq!((&plan["counts"]["identical"], &plan["counts"]["new"]), (&json!(1), &json!(2)), "{plan:#}");
    assert_eq!(plan["bytes"]["files_of_unknown_size"], 1);
    let (least, most) = (plan["bytes"]["least"].as_u64().unwrap(), plan["bytes"]["most"].as_u64().unwrap());
    assert!((least..=most).contains(&1_258_291) && most - least < 110_000, "{plan:#}");
    assert_eq!(person.run_with(&["plan", "--json", "--snapshot", "-", "icloud:/to"], text).ends(0).json(), plan);
}

/// Without a terminal, the progress of a long plan is a line now and then.
#[test]
fn a_long_plan_shows_its_progress() {
    let person = furnished();
    let folder = "2024-05-17T12:00:00Z drwxr-xr-x     root     root  4.0 KiB /home/me/new\n".to_owned();
    let text = (1..60_000).fold(folder, |text, number| {
        text + &format!("2024-05-17T12:00:00Z -rw-r--r--     root     root     15 B /home/me/new/{number:05}\n")
    });
    let planned = person.run_with(&["plan", "--snapshot", "-", "icloud:/to"], &text).ends(0);
    let lines: Vec<&str> = planned.stderr.lines().collect();
    assert!(matches!(lines[..], ["50000 of 60000 items compared with the drive so far"]), "{planned:?}");
}

/// The plan of a real listing is that of the folder itself.
#[tokio::test]
async fn the_plan_of_a_listing_equals_that_of_the_folder() {
    let Some(executable) = Plakar::for_test() else { return };
    let person = furnished();
    let plakar = Plakar::new(executable, Surroundings::new().unwrap()).await.unwrap();
    let (kloset, from) = (plakar.path("kloset"), person.file("from"));
    plakar.must(["at", &kloset, "create", "-plaintext"]).await.unwrap();
    plakar.must(["at", &kloset, "backup", from.to_str().unwrap()]).await.unwrap();
    let snapshots = plakar.must(["at", &kloset, "ls"]).await.unwrap();
    let snapshot = snapshots.split_whitespace().nth(1).unwrap();
    let listing = plakar.must(["at", &kloset, "ls", "-recursive", snapshot]).await.unwrap();
    let listed = person.run_with(&["plan", "--json", "--snapshot", "-", "icloud:/to"], &listing).ends(1).json();
    assert_eq!(listed, plan(&person, &[], 1), "{listing}");
}

#[test]
fn invalid_arguments_are_refused() {
    let person = Person::signed_in();
    let usage = |arguments: &[&str], says: &str| {
        let ran = person.run(arguments).ends(2);
        assert!(ran.stderr.contains(says), "{ran:?}");
    };
    fs::write(person.file("text"), "no listing\n").unwrap();
    usage(&["plan"], "name a folder");
    usage(&["plan", "--snapshot", person.file("text").to_str().unwrap()], "line 1 is not one");
    fs::create_dir(person.file("empty")).unwrap();
    usage(&["plan", person.file("empty").to_str().unwrap(), "-o", "uploads=3"], "uploads");
    usage(&["plan", person.file("empty").to_str().unwrap(), "-o", "on_conflict"], "-o KEY=VALUE");
    usage(&["plan", person.file("empty").to_str().unwrap(), "icloud:/a/../b"], "..");
    usage(&["plan", "--snapshot", "-", person.file("empty").to_str().unwrap(), "icloud"], "exclude each other");
    assert!(person.run(&["plan", "/does/not/exist"]).ends(1).stderr.contains("/does/not/exist"));
    assert!(!person.run(&["plan", "--help"]).ends(0).stdout.contains(APPLE_ID));
}
