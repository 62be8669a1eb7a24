//! A drive with all that people keep in one, through the real plakar, and the verdicts of plakar's own
//! excludes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use plakar_host::{Backup, Options};

use super::{Installed, files};
use crate::icloud::MODIFIED;
use crate::importer::everything::{Everything, composed};

#[tokio::test]
async fn everything_is_restored_as_it_was() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = installed;
    let drive = Everything::new(icloud);
    let kloset = plakar.path("plain");
    plakar.define("source", "drive", &drive.icloud.settings("icloud://")).await.unwrap();
    let output = plakar.must(["at", &kloset, "backup", "@drive"]).await.unwrap();
    assert!(output.contains("without errors"), "{output}");
    let target = plakar.path("restored");
    plakar.must(["at", &kloset, "restore", "-to", &target]).await.unwrap();
    let (packages, restored): (BTreeMap<_, _>, BTreeMap<_, _>) =
        files(target.as_ref()).into_iter().partition(|(path, _)| drive.packages.contains_key(path));
    assert_eq!(composed(restored), drive.files());
    assert_eq!(packages.len(), drive.packages.len());
    for path in drive.packages.keys() {
        drive.check_package(path, std::fs::read(format!("{target}{path}")).unwrap());
    }
    drive.icloud.simulator.reset_counts();
    let output = plakar.must(["at", &kloset, "backup", "@drive"]).await.unwrap();
    assert!(output.contains("without errors"), "{output}");
    assert_eq!(drive.downloads(), 0);
}

/// plakar lists a source only once if it may be listed only once, and restores a package that was
/// saved as a folder.
#[tokio::test]
async fn a_package_is_restored_as_a_folder() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    let entries =
        [("Media/a".to_owned(), Bytes::from(vec![1; 2_000_000])), ("data".to_owned(), Bytes::from_static(b"data"))];
    icloud.simulator.put_package("song.band", &entries, None, MODIFIED);
    icloud.put("file.txt", b"content");
    let settings = icloud.settings("icloud://").with("packages", "tree");
    plakar.define("source", "drive", &settings).await.unwrap();
    installed.at_plain(&["backup", "@drive"]).await;
    assert_eq!(icloud.count(icloud_simulator::RequestKind::ContentGet), 2);
    let target = plakar.path("restored");
    installed.at_plain(&["restore", "-to", &target]).await;
    assert_eq!(
        files(target.as_ref()).keys().collect::<Vec<_>>(),
        ["/file.txt", "/song.band/Media/a", "/song.band/data"]
    );
    assert_eq!(std::fs::read(format!("{target}/song.band/Media/a")).unwrap(), entries[0].1);
    icloud.simulator.reset_counts();
    let output = installed.at_plain(&["backup", "@drive"]).await;
    assert!(output.contains("without errors"), "{output}");
    assert_eq!(icloud.count(icloud_simulator::RequestKind::ContentGet), 0);
}

const PATHS: [&str; 24] = [
    "#hash",
    "!bang",
    "a.tmp",
    "a.txt",
    "abc",
    "build.txt",
    "build/out.bin",
    "build/sub/out.tmp",
    "docs/a.tmp",
    "docs/a/b/x.txt",
    "docs/build/keep.txt",
    "docs/build/out.bin",
    "docs/build2/out.bin",
    "docs/deep/a/x.txt",
    "docs/deep/x.tmp",
    "docs/x.txt",
    "foo bar/x.txt",
    "foo/bar/x.txt",
    "keep.tmp",
    "node_modules/p/index.js",
    "src/build/x.txt",
    "src/node_modules/p/index.js",
    "x*y",
    "z/a.txt.bak",
];

const RULES: [&[&str]; 25] = [
    &["build"],
    &["build/"],
    &["/build"],
    &["docs/build"],
    &["/docs/build/"],
    &["**/build/"],
    &["docs/**"],
    &["docs/**/x.txt"],
    &["/docs/*"],
    &["*.tmp", "!keep.tmp"],
    &["*.tmp", "!/docs/a.tmp"],
    &["!keep.tmp", "*.tmp"],
    &["build/", "!build/out.bin"],
    &["/docs/*", "!/docs/deep"],
    &["/docs/*", "!/docs/deep", "/docs/deep/*.tmp"],
    &["a?c"],
    &["[a-b]*.t[mx][pt]"],
    &["\\#hash"],
    &["\\!bang"],
    &["x\\*y"],
    &["# comment", "", "node_modules"],
    &["foo bar"],
    &["*", "!*.txt"],
    &["*", "!*/", "!*.txt"],
    &["x.txt "],
];

/// The verdicts of plakar are those on a tar archive with the same paths, which only plakar reads. In
/// plakar's backups of disks, what a folder contains is left out with it, so it is here.
#[tokio::test]
async fn excludes_are_those_of_plakar() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    let tree = plakar.path("tree");
    for path in PATHS {
        icloud.put(path, path.as_bytes());
        let file = Path::new(&tree).join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, path).unwrap();
    }
    let archive = plakar.path("tree.tar");
    let tar = std::process::Command::new("tar").args(["-C", &tree, "-cf", &archive, "."]).status().unwrap();
    assert!(tar.success());
    for rules in RULES {
        let kloset = plakar.path("plain");
        let source = format!("tar:{archive}");
        let mut command: Vec<&str> = vec!["at", &kloset, "backup"];
        for &rule in rules {
            command.extend(["-ignore", rule]);
        }
        command.push(&source);
        let output = plakar.must(command).await.unwrap();
        let kept = output.lines().filter_map(|line| line.split_once("OK \u{2713} ")).map(|(_, path)| path.trim_end());
        let kept: BTreeSet<&str> = kept.collect();
        let has_folders = |path: &str| path.match_indices('/').skip(1).all(|(end, _)| kept.contains(&path[..end]));
        let theirs: BTreeSet<&str> =
            kept.iter().copied().filter(|path| PATHS.contains(&&path[1..]) && has_folders(path)).collect();
        let options = Options::default();
        let settings = icloud.settings("icloud://").with("ignore", rules.join("\n"));
        let snapshot = icloud.host.backup(&settings, &options, Backup::first()).await.unwrap();
        let ours: BTreeSet<&str> = snapshot.files().map(|(path, _)| path).collect();
        assert_eq!(ours, theirs, "{rules:?}\n{output}");
    }
}
