//! Runs the tests of the Go module, so that `cargo test` runs everything: our backend for iCloud
//! with rclone's own suite for backends, under the race detector, and the questions of a sign-in.

use std::process::Command;

#[test]
fn the_go_module_passes_its_own_tests() {
    let status = Command::new("go")
        .args(["test", "-race", "-timeout", "30m", "./..."])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/vendor/librclone"))
        .env("GOTOOLCHAIN", "local")
        .status()
        .expect("go can be run: the build has run it");
    assert!(status.success(), "go test -race ./... in vendor/librclone: {status}");
}
