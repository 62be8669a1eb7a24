//! A machine without a network: a package is installed, and a kloset that was carried to it is
//! exported and restored.

use std::fs;

use plakar_host::{Outcome, Plakar, Surroundings};
use tempfile::TempDir;

use crate::{package, ptar, shell};

#[tokio::test]
async fn everything_but_the_drive_works_without_a_network() {
    let Some(plakar) = Plakar::for_test() else { return };
    let out = TempDir::new().unwrap();
    let package = ptar(&package(&out, &["--rclone-locations"]));
    let mut surroundings = Surroundings::new().unwrap();
    surroundings.set("PATH", format!("{}:/usr/bin:/bin", plakar.parent().unwrap().display()));
    let plakar = Plakar::new(plakar, surroundings).await.unwrap();
    let root = plakar.surroundings().root().display().to_string();
    fs::create_dir(format!("{root}/files")).unwrap();
    fs::write(format!("{root}/files/a.txt"), "carried").unwrap();

    let add = if plakar.verifies_packages() { "pkg add -allow-unsigned" } else { "pkg add" };
    let interfaces = offline(&plakar, "tail -n +3 /proc/net/dev").await.output;
    assert!(interfaces.trim_start().starts_with("lo:") && interfaces.lines().count() == 1, "{interfaces}");
    for line in [
        format!("plakar {add} {}", package.display()),
        format!("plakar source add files rclone://{root}/files rclone_type=local"),
        format!("plakar at {root}/kloset create -plaintext"),
        format!("plakar at {root}/kloset backup @files"),
        format!("plakar at {root}/kloset ptar -plaintext -o {root}/carried.ptar -k {root}/kloset"),
        format!("mkdir {root}/target && plakar destination add target rclone://{root}/target rclone_type=local"),
        format!("plakar at {root}/carried.ptar restore -to @target"),
        "plakar pkg rm icloud".to_owned(),
    ] {
        offline(&plakar, &line).await;
    }
    let restored = shell(plakar.surroundings(), &format!("find {root}/target -name a.txt -exec cat {{}} +")).await;
    assert_eq!(restored.output, "carried");
}

/// Runs a command line that must succeed, in a network namespace without interfaces.
async fn offline(plakar: &Plakar, line: &str) -> Outcome {
    shell(plakar.surroundings(), &format!("exec unshare --map-root-user --net /bin/sh -e -c '{line}'")).await
}
