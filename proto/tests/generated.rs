//! Checks that the code in `src/generated` matches the definitions in `proto`.
//!
//! `PLAKAR_PROTOCOL_WRITE=1 cargo test -p plakar-protocol` generates the code again.

use std::{env, fs, path::Path};

const DEFINITIONS: [&str; 4] = ["connectors.proto", "importer.proto", "exporter.proto", "storage.proto"];

#[test]
fn the_generated_code_matches_the_definitions() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked_in = crate_dir.join("src/generated");
    let fresh = tempfile::tempdir().unwrap();
    let files = protox::compile(DEFINITIONS, [crate_dir.join("proto")]).unwrap();
    tonic_prost_build::configure().bytes(".").out_dir(fresh.path()).compile_fds(files).unwrap();

    for file in fs::read_dir(fresh.path()).unwrap() {
        let file = file.unwrap();
        let written = fs::read_to_string(file.path()).unwrap();
        let place = checked_in.join(path_of(&file.file_name().into_string().unwrap()));
        if env::var_os("PLAKAR_PROTOCOL_WRITE").is_some() {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(&place, &written).unwrap();
        }
        let current = fs::read_to_string(&place).unwrap_or_default();
        assert!(
            current == written,
            "{} does not match proto/*.proto: run PLAKAR_PROTOCOL_WRITE=1 cargo test -p plakar-protocol",
            place.display()
        );
    }
}

/// Returns the path of a generated file, which the module path in `src/lib.rs` determines.
fn path_of(name: &str) -> String {
    if name.starts_with("plakar.") { format!("plakar/{name}") } else { name.to_owned() }
}
