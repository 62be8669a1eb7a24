//! `plakar backup` and `plakar source`.

use icloud_simulator::{FaultAction, FaultRule, HoldAt, Mutation, RequestKind, SeedTree};
use plakar_host::{Role, Signal};

use super::{Installed, files};

fn downloads(installed: &Installed) -> u64 {
    installed.icloud.count(RequestKind::ById) + installed.icloud.count(RequestKind::ContentGet)
}

/// A second backup of an unchanged source opens no file. If only the modification time of a file
/// has changed, only this file is opened again. Unusual names are the same after a restore.
#[tokio::test]
async fn three_hundred_files_are_backed_up_once_and_restored() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.simulator.seed(&SeedTree {
        prefix: "files".to_owned(),
        files: 290,
        folders: 12,
        size: 5_000,
        seed: 1,
        modified_ms: crate::icloud::MODIFIED,
    });
    icloud.furnish();
    for name in ["%41", " leading", "\u{df}", "a:b"] {
        icloud.put(&format!("names/{name}"), name.as_bytes());
    }
    assert_eq!(icloud.contents().len(), 300);
    installed.define("source", "drive", "icloud://").await;
    installed.at_plain(&["backup", "@drive"]).await;
    assert!(downloads(&installed) >= 299);
    icloud.simulator.reset_counts();
    installed.at_plain(&["backup", "@drive"]).await;
    assert_eq!(downloads(&installed), 0, "an unchanged backup downloaded something");
    icloud.simulator.mutate("a.txt", Mutation::Touch { modified_ms: crate::icloud::MODIFIED + 1000 }).unwrap();
    installed.at_plain(&["backup", "@drive"]).await;
    assert_eq!(icloud.count(RequestKind::ById), 1);
    let target = plakar.path("restored");
    installed.at_plain(&["restore", "-to", &target]).await;
    assert_eq!(files(target.as_ref()), icloud.contents());
    installed.at_plain(&["check"]).await;
    plakar.surroundings().deserted().await.unwrap();
}

#[tokio::test]
async fn every_form_of_a_location_names_the_same_folder() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    icloud.put("docs/My Files/100% caf\u{e9}.txt", b"coffee");
    installed.define("source", "drive", "icloud://").await;
    installed.define("source", "docs", "icloud:///docs").await;
    for (source, root) in [
        ("@drive", "/"),
        ("@docs", "/docs"),
        ("@docs:deep", "/docs/deep"),
        ("@drive:/docs/nothing", "/docs/nothing"),
        ("@docs:My Files", "/docs/My Files"),
        ("@drive:/docs/My Files", "/docs/My Files"),
    ] {
        installed.at_plain(&["backup", source]).await;
        let target = plakar.path(&format!("restored {source}").replace('/', "+"));
        installed.at_plain(&["restore", "-to", &target]).await;
        let prefix = root.trim_end_matches('/');
        let mut expected = icloud.contents();
        expected.retain(|path, _| path.starts_with(&format!("{prefix}/")));
        let expected = expected.into_iter().map(|(path, digest)| (path[prefix.len()..].to_owned(), digest)).collect();
        let restored: std::collections::BTreeMap<_, _> =
            files(target.as_ref()).into_iter().map(|(path, digest)| (composed(&path), digest)).collect();
        assert_eq!(restored, expected, "{source}");
    }
}

/// iCloud returns names in decomposed form.
fn composed(name: &str) -> String {
    name.replace("e\u{301}", "\u{e9}")
}

/// A folder that cannot be listed is one error, and so is a file that cannot be read. The others are
/// saved.
#[tokio::test]
async fn items_that_cannot_be_read_are_counted() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    let deep = icloud.drive_id("docs/deep");
    let file = icloud.drive_id("a.txt");
    icloud.simulator.add_fault(icloud.fail(RequestKind::List, 400).matching(deep));
    let document = file.rsplit("::").next().unwrap();
    icloud.simulator.add_fault(icloud.fail(RequestKind::ById, 400).matching(document));
    installed.define("source", "drive", "icloud://").await;
    let output = installed.at_plain(&["backup", "@drive"]).await;
    assert!(output.contains("2 errors"), "{output}");
    let target = plakar.path("restored");
    installed.at_plain(&["restore", "-to", &target]).await;
    let mut expected = icloud.contents();
    expected.retain(|path, _| path != "/a.txt" && !path.starts_with("/docs/deep/"));
    assert_eq!(files(target.as_ref()), expected);
}

#[tokio::test]
async fn an_ended_session_fails_the_backup() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    installed.define("source", "drive", "icloud://").await;
    icloud.simulator.end_sessions(421);
    icloud.simulator.end_trust();
    let outcome = plakar.run(["at", &plakar.path("plain"), "backup", "@drive"]).await.unwrap();
    assert_eq!(outcome.status, Some(1), "{}", outcome.output);
    assert!(!outcome.output.contains("goroutine"), "{}", outcome.output);
    assert_eq!(installed.at_plain(&["ls"]).await, "");
    let outcome = plakar.run(["source", "ping", "drive"]).await.unwrap();
    assert_eq!(outcome.status, Some(1), "{}", outcome.output);
}

/// The records are of all kinds that plakar acknowledges in special ways. A backup ends only when
/// the last record is acknowledged.
#[tokio::test]
async fn a_backup_with_all_kinds_of_records_ends() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.simulator.seed(&SeedTree {
        prefix: "files".to_owned(),
        files: 600,
        folders: 20,
        size: 500,
        seed: 1,
        modified_ms: crate::icloud::MODIFIED,
    });
    icloud.furnish();
    icloud.simulator.make_folders("docs/nothing/at/all");
    icloud.put("left out/deep/x.txt", b"x");
    icloud.put("docs/x.tmp", b"x");
    let unlisted = icloud.drive_id("docs/deep");
    icloud.simulator.add_fault(icloud.fail(RequestKind::List, 400).matching(unlisted));
    let unread = icloud.drive_id("a.txt");
    let document = unread.rsplit("::").next().unwrap();
    icloud.simulator.add_fault(icloud.fail(RequestKind::ById, 400).matching(document));
    installed.define("source", "drive", "icloud://").await;
    for more in [&["-dry-run"][..], &[], &[], &["-no-progress"], &["-concurrency", "1"], &["-cache", "no"]] {
        let ignored = ["-ignore", "left out/", "-ignore", "*.tmp"];
        let plain = plakar.path("plain");
        let options = if let ["-concurrency", ..] = more { more } else { &[] };
        let backup = if options.is_empty() { more } else { &[] };
        let command = [options, &["at", &plain, "backup"], backup, &ignored, &["@drive"]].concat();
        let outcome = plakar.run(command).await.unwrap();
        // A dry run fails if an item cannot be listed.
        let expected = if more == ["-dry-run"] { 1 } else { 0 };
        assert_eq!(outcome.status, Some(expected), "{more:?}: {}", outcome.output);
    }
    let target = plakar.path("restored");
    installed.at_plain(&["restore", "-to", &target]).await;
    let mut expected = icloud.contents();
    let left_out = ["/docs/deep/", "/left out/", "/docs/x.tmp", "/a.txt"];
    expected.retain(|path, _| !left_out.iter().any(|start| path.starts_with(start)));
    assert_eq!(files(target.as_ref()), expected);
    plakar.surroundings().deserted().await.unwrap();
}

/// plakar must not keep a snapshot that lacks most files.
#[tokio::test]
async fn a_session_that_ends_during_a_backup_fails_the_backup() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    for n in 0..300 {
        icloud.put(&format!("{n}.txt"), b"content");
    }
    installed.define("source", "drive", "icloud://").await;
    icloud.simulator.add_fault(icloud.fail(RequestKind::ContentGet, 503).times(1));
    let hold = FaultAction::Hold { gate: "downloads".to_owned(), at: HoldAt::Arrival };
    icloud.simulator.add_fault(FaultRule::new(RequestKind::ContentGet, hold).skip(50));
    let running = plakar.start(["at", &plakar.path("plain"), "backup", "@drive"]).unwrap();
    icloud.until(RequestKind::ContentGet, 51).await;
    icloud.simulator.end_sessions(421);
    icloud.simulator.end_trust();
    icloud.simulator.release("downloads");
    let ended = plakar.finish(running).await.unwrap();
    assert_eq!(ended.status, Some(1), "{}", ended.output);
    assert!(ended.output.contains("plakar-icloud login"), "{}", ended.output);
    assert_eq!(installed.at_plain(&["ls"]).await, "");
    plakar.surroundings().deserted().await.unwrap();
}

#[tokio::test]
async fn a_check_a_ping_and_a_dry_run_download_nothing() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    installed.define("source", "drive", "icloud://").await;
    plakar.must(["source", "check", "drive"]).await.unwrap();
    assert_eq!(icloud.simulator.counts().total.requests, 0);
    plakar.must(["source", "ping", "drive"]).await.unwrap();
    assert!(icloud.simulator.counts().total.requests > 0);
    let summary = plakar.path("summary.json");
    let settings = icloud.settings("icloud://").with("summary", &summary).with("packages", "tree");
    plakar.define("source", "reported", &settings).await.unwrap();
    icloud.simulator.put_package(
        "docs/song.band",
        &[("data".to_owned(), "song".into())],
        None,
        crate::icloud::MODIFIED,
    );
    installed.at_plain(&["backup", "-dry-run", "@reported"]).await;
    assert_eq!(downloads(&installed), 0);
    assert!(!std::path::Path::new(&summary).exists(), "a dry run was reported as a backup");
    let output = installed.at_plain(&["backup", "-no-xattr", "-ignore", "docs/", "@drive"]).await;
    assert!(output.contains("without errors"), "{output}");
    assert_eq!(icloud.count(RequestKind::ById), 1);
}

/// The next backup ignores the lock of the terminated or killed plakar.
#[tokio::test]
async fn no_process_is_left_after_plakar_was_terminated_or_killed() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    installed.define("source", "drive", "icloud:///docs").await;
    installed.create_kloset("icloud:///kloset").await;
    for signal in [Signal::TERM, Signal::KILL] {
        icloud.simulator.reset_counts();
        icloud.hold(RequestKind::ById, "downloads");
        let mut running = plakar.start(["at", "@there", "backup", "@drive"]).unwrap();
        icloud.until(RequestKind::ById, 1).await;
        let pid = rustix::process::Pid::from_raw(running.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        assert!(!running.wait().await.unwrap().success());
        plakar.surroundings().deserted().await.unwrap();
        icloud.simulator.clear_faults();
        plakar.must(["at", "@there", "backup", "@drive"]).await.unwrap();
    }
    plakar.must(["at", "@there", "check"]).await.unwrap();
}

#[tokio::test]
async fn a_backup_runs_two_importers_which_exit_at_its_end() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    installed.define("source", "drive", "icloud:///docs").await;
    icloud.hold(RequestKind::List, "listings");
    let running = plakar.start(["at", &plakar.path("plain"), "backup", "@drive"]).unwrap();
    icloud.until(RequestKind::List, 2).await;
    let importers = || plakar.surroundings().processes().iter().filter(|one| one.serves(Role::Importer)).count();
    assert_eq!(importers(), 2);
    icloud.simulator.release("listings");
    assert!(running.wait_with_output().await.unwrap().status.success());
    plakar.surroundings().deserted().await.unwrap();
}

/// The cause is reported once, although plakar prints only "EOF" if the stream of records ends
/// while it is sending.
#[tokio::test]
async fn the_loss_of_the_network_fails_the_backup_with_one_line() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    for n in 0..40 {
        icloud.put(&format!("{n}.txt"), b"content");
    }
    let settings = icloud.settings("icloud://").with("tries", "2");
    plakar.define("source", "drive", &settings).await.unwrap();
    let hold = FaultAction::Hold { gate: "downloads".to_owned(), at: HoldAt::Arrival };
    icloud.simulator.add_fault(FaultRule::new(RequestKind::ContentGet, hold).skip(5));
    let running = plakar.start(["at", &plakar.path("plain"), "backup", "@drive"]).unwrap();
    icloud.until(RequestKind::ContentGet, 6).await;
    icloud.simulator.add_fault(FaultRule::any(FaultAction::ResetBefore));
    icloud.simulator.release("downloads");
    let ended = plakar.finish(running).await.unwrap();
    assert_eq!(ended.status, Some(1), "{}", ended.output);
    let lines = ended.output.lines();
    let causes = lines.filter(|line| line.starts_with("plakar-icloud: error: the backup ended")).count();
    assert_eq!(causes, 1, "{}", ended.output);
    assert_eq!(installed.at_plain(&["ls"]).await, "");
    plakar.surroundings().deserted().await.unwrap();
}

/// One of the two importers prints a line at the end.
#[tokio::test]
async fn a_backup_prints_its_summary_once() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    icloud.fail_content("docs/b.txt", 404);
    for (on_partial, status) in [("keep", 0), ("fail", 1)] {
        let settings = icloud.settings("icloud://").with("on_partial", on_partial);
        plakar.define("source", on_partial, &settings).await.unwrap();
        for _ in 0..2 {
            let source = format!("@{on_partial}");
            let outcome = plakar.run(["at", &plakar.path("plain"), "backup", &source]).await.unwrap();
            assert_eq!(outcome.status, Some(status), "{}", outcome.output);
            let ours: Vec<&str> = outcome.output.lines().filter(|line| line.starts_with("plakar-icloud: ")).collect();
            assert!(matches!(ours[..], [line] if line.contains("1 × ")), "{}", outcome.output);
        }
    }
    assert_eq!(installed.at_plain(&["ls"]).await.lines().count(), 2);
}

/// plakar starts two importers, which list the same items. What they leave out is printed once, also
/// by a backup that reads nothing.
#[tokio::test]
async fn what_a_backup_leaves_out_is_printed_once() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    icloud.put("team/plan.txt", b"plan");
    icloud.simulator.share("team").unwrap();
    for name in ["CONFIG", "packfiles/a", "states/a", "locks/a"] {
        icloud.put(&format!("store/{name}"), b"x");
    }
    plakar.define("source", "drive", &icloud.settings("icloud://").with("shared", "skip")).await.unwrap();
    for counts in ["6 read", "6 unchanged"] {
        let outcome = plakar.run(["at", &plakar.path("plain"), "backup", "@drive"]).await.unwrap();
        let ours: Vec<&str> = outcome.output.lines().filter(|line| line.starts_with("plakar-icloud: ")).collect();
        assert!(
            matches!(ours[..], [team, store, end]
                if store.contains("the kloset in /store") && team.contains("/team") && end.contains(counts)),
            "{}",
            outcome.output
        );
    }
}

/// plakar starts two importers, but the summary file and the list of the last runs have one result.
#[tokio::test]
async fn a_backup_is_counted_once() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    icloud.put("left out/x.txt", b"x");
    let file = plakar.path("summary.json");
    let settings = icloud.settings("icloud://").with("summary", &file).with("ignore", "left out/");
    plakar.define("source", "drive", &settings).await.unwrap();
    for (read, unchanged) in [(6, 0), (0, 6)] {
        installed.at_plain(&["backup", "@drive"]).await;
        let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let names = ["files", "folders", "read", "unchanged", "excluded", "failed", "missing"];
        let numbers = names.map(|name| summary[name].as_u64().unwrap());
        assert_eq!(numbers, [6, 4, read, unchanged, 1, 0, 0], "{summary}");
    }
    let runs = plakar.surroundings().home().join(".local/state/plakar-icloud/runs");
    let accounts: Vec<_> = std::fs::read_dir(runs).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(accounts.len(), 1);
    assert_eq!(std::fs::read_dir(&accounts[0]).unwrap().count(), 2);
}

/// The patterns leave out the same items as in a backup of a folder on a disk. They match at any
/// depth, because the paths on the disk are longer.
#[tokio::test]
async fn patterns_have_the_same_meaning_as_for_a_disk() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    let paths = [
        "a.tmp",
        "keep.tmp",
        "build/out.bin",
        "docs/build/keep.txt",
        "docs/build2/x",
        "docs/a/b/x.txt",
        "docs/a/y.txt",
        "caf\u{e9}/c",
        "#hash",
        "a+b/c.txt",
    ];
    let tree = std::path::PathBuf::from(plakar.path("tree"));
    for path in paths {
        icloud.put(path, path.as_bytes());
        std::fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
        std::fs::write(tree.join(path), path).unwrap();
    }
    for (number, rules) in [
        &["*.tmp", "!keep.tmp", "build/"][..],
        &["**/b/x.txt", "caf?", "\\#hash"],
        &["**/a/*", "!**/y.txt", "[!a]uild2", "[bc]uild"],
        &["docs", "!**/a/y.txt", "**/a+b/c.txt"],
        &["x.txt\r", "build2 ", "{a,b}.tmp", "a?b"],
    ]
    .into_iter()
    .enumerate()
    {
        let lines = rules.join("\n");
        plakar
            .define("source", &format!("drive{number}"), &icloud.settings("icloud://").with("ignore", &lines))
            .await
            .unwrap();
        installed.at_plain(&["backup", &format!("@drive{number}")]).await;
        let from_drive = plakar.path(&format!("from drive {number}"));
        installed.at_plain(&["restore", "-to", &from_drive]).await;
        let mut backup = vec!["backup"];
        backup.extend(rules.iter().flat_map(|rule| ["-ignore", rule]));
        let source = tree.to_str().unwrap();
        backup.push(source);
        installed.at_plain(&backup).await;
        let from_disk = plakar.path(&format!("from disk {number}"));
        installed.at_plain(&["restore", "-to", &from_disk]).await;
        let names = |folder: &str| files(folder.as_ref()).into_keys().map(|path| composed(&path)).collect::<Vec<_>>();
        assert_eq!(names(&from_drive), names(&from_disk), "{rules:?}");
    }
}
