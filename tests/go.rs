//! Runs the tests of the Go module under the race detector, so that `cargo test` runs all tests.
//! They include rclone's own suite for backends.

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
