//! Items that patterns and options leave out of a backup.

use plakar_host::{Backup, Options, Snapshot};

use crate::icloud::{ICloud, assert_sound};

fn furnished() -> ICloud {
    let icloud = ICloud::new();
    for path in [
        "a.tmp",
        "keep.tmp",
        "a.txt",
        "build/out.bin",
        "docs/build/out.bin",
        "docs/build/keep.txt",
        "docs/build2/out.bin",
        "docs/#hash",
        "docs/deep/er/b.tmp",
        "docs/deep/er/b.txt",
        "docs/caf\u{e9}/c.txt",
    ] {
        icloud.put(path, path.as_bytes());
    }
    icloud
}

async fn backup(icloud: &ICloud, location: &str, options: &[(&str, &str)], lines: &[&str]) -> Snapshot {
    let mut settings = icloud.settings(location);
    for &(key, value) in options {
        settings = settings.with(key, value);
    }
    // The host applies no rules, so everything that is left out was left out by the importer.
    let given = Options::default().excluding(lines.iter().copied());
    icloud.host.backup(&settings, &given, Backup::first()).await.unwrap()
}

fn files(snapshot: &Snapshot) -> Vec<String> {
    assert_sound(snapshot);
    snapshot.files().map(|(path, _)| path.to_owned()).collect()
}

#[tokio::test]
async fn patterns_leave_out_files_and_folders() {
    let icloud = furnished();
    let rules = "# a comment\n*.tmp\n!keep.tmp\nbuild/\n!docs/build/keep.txt\n\\#hash\ncaf?\n";
    let expected = ["/a.txt", "/docs/build2/out.bin", "/docs/deep/er/b.txt", "/keep.tmp"];
    let unlisted = [icloud.drive_id("build"), icloud.drive_id("docs/build"), icloud.drive_id("docs/caf\u{e9}")];
    let file = icloud.host.surroundings().root().join("rules");
    std::fs::write(&file, rules).unwrap();
    let lines: Vec<&str> = rules.lines().collect();
    for snapshot in [
        backup(&icloud, "icloud://", &[("ignore", rules)], &[]).await,
        backup(&icloud, "icloud://", &[("ignore_file", file.to_str().unwrap())], &[]).await,
        backup(&icloud, "icloud://", &[], &lines).await,
    ] {
        assert_eq!(files(&snapshot), expected);
        assert!(!snapshot.entries.contains_key("/build"));
    }
    let listed = icloud.simulator.requests();
    let of = |id: &String| listed.iter().any(|request| request.subjects.contains(id));
    assert!(!unlisted.iter().any(of), "a folder that is left out was listed");
}

/// The lines of plakar precede those of the configuration, and patterns match whole paths.
#[tokio::test]
async fn the_last_pattern_takes_precedence_and_paths_begin_at_the_drive() {
    let icloud = furnished();
    let options = [("ignore", "!keep.tmp\n/docs/deep")];
    assert_eq!(files(&backup(&icloud, "icloud://", &options, &["*.tmp"]).await).len(), 8);
    let snapshot = backup(&icloud, "icloud:///docs", &options, &["build", "build2", "caf*"]).await;
    assert_eq!(files(&snapshot), ["/docs/#hash"]);
    let snapshot = backup(&icloud, "icloud:///docs", &[("ignore", "docs/")], &[]).await;
    assert_eq!(files(&snapshot), Vec::<String>::new());
}

#[tokio::test]
async fn shared_folders_can_be_left_out() {
    let icloud = ICloud::new();
    icloud.put("mine/a.txt", b"a");
    icloud.put("theirs/deep/b.txt", b"b");
    icloud.simulator.share("theirs").unwrap();
    assert_eq!(files(&backup(&icloud, "icloud://", &[("shared", "include")], &[]).await).len(), 2);
    icloud.simulator.reset_counts();
    assert_eq!(files(&backup(&icloud, "icloud://", &[("shared", "skip")], &[]).await), ["/mine/a.txt"]);
    let theirs = icloud.drive_id("theirs");
    assert!(!icloud.simulator.requests().iter().any(|request| request.subjects.contains(&theirs)));
}

/// Otherwise a mistake would be ignored, and the backup would include everything.
#[tokio::test]
async fn invalid_options_about_excludes_are_refused() {
    let icloud = furnished();
    let large = icloud.host.surroundings().root().join("rules");
    std::fs::write(&large, "x\n".repeat(600_000)).unwrap();
    for (key, value, why) in [
        ("shared", "no", "include or skip"),
        ("ignore_file", "/nowhere/rules", "No such file"),
        ("ignore_file", "rules", "absolute path"),
        ("ignore_file", "/dev/zero", "not a regular file"),
        ("ignore_file", large.to_str().unwrap(), "more than a mebibyte"),
    ] {
        let settings = icloud.settings("icloud://").with(key, value);
        let error = icloud.host.importer(&settings, &Options::default()).await.unwrap_err();
        assert!(error.message().contains(key) && error.message().contains(why), "{error}");
    }
}
