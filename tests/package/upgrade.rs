//! The package replaces plakar's own plugin `rclone`, and is removed again, all without a network.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use plakar_host::{Plakar, Settings, Surroundings};
use tempfile::TempDir;

use crate::{package, ptar};

/// The manifest of plakar's plugin, as its repository has it
/// (https://github.com/PlakarKorp/integrations/blob/main/rclone/manifest.yaml).
const OF_PLAKAR: &str = "name: rclone
display_name: RClone
description: A plugin for Rclone integration with various cloud storage services.
homepage: https://github.com/PlakarKorp/integrations/tree/main/rclone
license: isc
connectors:
  - type: importer
    executable: rclone-importer
    protocols: ['rclone']
  - type: exporter
    executable: rclone-exporter
    protocols: ['rclone']
  - type: storage
    executable: rclone-storage
    protocols: ['rclone']
";

/// The end of a package's name after the version.
const MACHINE: &str = if cfg!(target_arch = "aarch64") { "linux_arm64.ptar" } else { "linux_amd64.ptar" };

#[tokio::test]
async fn the_package_replaces_the_plugin_of_plakar() {
    let Some(plakar) = Plakar::for_test() else { return };
    let out = TempDir::new().unwrap();
    let icloud = package(&out, &["--rclone-locations"]);
    let plakar = Plakar::new(plakar, Surroundings::new().unwrap()).await.unwrap();
    let go_plugin = stand_in(&plakar).await;
    plakar.add(&go_plugin, &[]).await.unwrap();
    assert_eq!(installed(&plakar).await, ["rclone@v1.1.0"]);

    // Only one package can provide the protocol.
    let refused = plakar.add(&ptar(&icloud), &[]).await.unwrap_err().to_string();
    assert!(refused.contains("protocol rclone already provided"), "{refused}");

    let ours = of_all_backends(&plakar, &icloud).await;
    plakar.add(&ours, &["-u"]).await.unwrap();
    assert_eq!(installed(&plakar).await, [concat!("rclone@v", env!("CARGO_PKG_VERSION"))]);
    let source = plakar.path("home");
    fs::write(format!("{source}/a.txt"), "a").unwrap();
    let settings = Settings::new(&format!("rclone://{source}")).with("rclone_type", "local");
    plakar.define("source", "here", &settings).await.unwrap();
    plakar.must(["source", "ping", "here"]).await.unwrap();

    plakar.must(["pkg", "rm", "rclone"]).await.unwrap();
    assert_eq!(installed(&plakar).await, [""; 0]);
    plakar.add(&ptar(&icloud), &[]).await.unwrap();
    plakar.must(["source", "ping", "here"]).await.unwrap();
}

/// Returns the installed packages with their versions.
async fn installed(plakar: &Plakar) -> Vec<String> {
    let listed = plakar.must(["pkg", "list"]).await.unwrap();
    listed.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Makes a package with the name, the version and the manifest of plakar's plugin.
async fn stand_in(plakar: &Plakar) -> PathBuf {
    let folder = plakar.surroundings().cwd();
    fs::write(folder.join("manifest.yaml"), OF_PLAKAR).unwrap();
    for connector in ["rclone-importer", "rclone-exporter", "rclone-storage"] {
        fs::write(folder.join(connector), "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(folder.join(connector), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let package = folder.join(format!("rclone_v1.1.0_{MACHINE}"));
    let arguments = ["pkg", "create", "-out", package.to_str().unwrap(), "./manifest.yaml", "v1.1.0"];
    plakar.must(arguments).await.unwrap();
    package
}

/// Makes the package of all backends from that of a few: only the manifest differs in what this test
/// looks at, and a build with all backends takes many minutes.
async fn of_all_backends(plakar: &Plakar, icloud: &std::path::Path) -> PathBuf {
    let manifest = fs::read_to_string(icloud.join("manifest.yaml")).unwrap();
    let manifest = manifest.replace("name: icloud\n", "name: rclone\n").replace("[icloud, rclone]", "[rclone]");
    let cwd = plakar.surroundings().cwd();
    for entry in fs::read_dir(icloud).unwrap() {
        let entry = entry.unwrap();
        let _ = std::os::unix::fs::symlink(entry.path(), cwd.join(entry.file_name()));
    }
    fs::remove_file(cwd.join("manifest.yaml")).unwrap();
    fs::write(cwd.join("manifest.yaml"), manifest).unwrap();
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    let package = cwd.join(format!("rclone_{version}_{MACHINE}"));
    let arguments = ["pkg", "create", "-out", package.to_str().unwrap(), "./manifest.yaml", version];
    plakar.must(arguments).await.unwrap();
    package
}
