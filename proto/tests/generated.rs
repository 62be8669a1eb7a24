//! The generated code in `src/generated` is what the definitions in `proto` give.
//!
//! `PLAKAR_PROTOCOL_WRITE=1 cargo test -p plakar-protocol` writes it afresh.

use std::{env, fs, path::Path};

const DEFINITIONS: [&str; 4] = ["connectors.proto", "importer.proto", "exporter.proto", "storage.proto"];

#[test]
fn generated_code_is_that_of_the_definitions() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked_in = crate_dir.join("src/generated");
    let fresh = tempfile::tempdir().unwrap();
    let files = protox::compile(DEFINITIONS, [crate_dir.join("proto")]).unwrap();
    tonic_prost_build::configure().bytes(".").out_dir(fresh.path()).compile_fds(files).unwrap();

    for file in fs::read_dir(fresh.path()).unwrap() {
        let file = file.unwrap();
        let written = fs::read_to_string(file.path()).unwrap();
        let place = checked_in.join(placed(&file.file_name().into_string().unwrap()));
        if env::var_os("PLAKAR_PROTOCOL_WRITE").is_some() {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(&place, &written).unwrap();
        }
        let kept = fs::read_to_string(&place).unwrap_or_default();
        assert!(
            kept == written,
            "{} differs from what proto/*.proto gives: run PLAKAR_PROTOCOL_WRITE=1 cargo test -p plakar-protocol",
            place.display()
        );
    }
}

/// The folder that the module path in `src/lib.rs` gives a generated file.
fn placed(name: &str) -> String {
    if name.starts_with("plakar.") { format!("plakar/{name}") } else { name.to_owned() }
}
