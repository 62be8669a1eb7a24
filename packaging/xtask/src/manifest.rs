//! The manifests of the packages, all of which are derived from `manifest.yaml`.

use anyhow::{Context, Result, ensure};

use crate::executable;

/// The manifest at the top level of the project.
const MANIFEST: &str = include_str!("../../../manifest.yaml");
/// The path of the executable in the manifest.
const BUILT: &str = "target/release/plakar-icloud";
/// The last file that the manifest names.
const LAST_FILE: &str = "assets/icon.svg";

/// A variant of the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Serves locations `icloud://`.
    Icloud,
    /// Serves `rclone://` too, which only one installed package can do.
    IcloudAndRclone,
    /// Has every backend of rclone, and replaces plakar's package `rclone`.
    Rclone,
}

impl Variant {
    /// Returns the name of the package.
    pub fn name(self) -> &'static str {
        match self {
            Self::Icloud | Self::IcloudAndRclone => "icloud",
            Self::Rclone => "rclone",
        }
    }

    /// Returns the manifest, for a folder with the executable and the files that it names.
    pub fn manifest(self, more_files: &[&str]) -> Result<String> {
        let mut manifest = replace(MANIFEST, BUILT, executable::NAME)?;
        match self {
            Self::Icloud => {}
            Self::IcloudAndRclone => manifest = replace(&manifest, "[icloud]", "[icloud, rclone]")?,
            Self::Rclone => {
                manifest = replace(&manifest, "[icloud]", "[rclone]")?;
                manifest = replace(&manifest, "name: icloud\n", "name: rclone\n")?;
                manifest = replace(&manifest, "display_name: iCloud\n", "display_name: rclone\n")?;
                let all = "description: Any storage that rclone reaches, in one executable\n";
                let line = manifest.lines().find(|line| line.starts_with("description: "));
                let line = format!("{}\n", line.context("the manifest has no description")?);
                manifest = replace(&manifest, &line, all)?;
            }
        }
        let more: String = more_files.iter().map(|file| format!(", {file}")).collect();
        replace(&manifest, LAST_FILE, &format!("{LAST_FILE}{more}"))
    }
}

/// Returns the files that a manifest names, besides the executable.
pub fn files(manifest: &str) -> Vec<&str> {
    let value = |key: &'static str| manifest.lines().filter_map(move |line| line.trim().strip_prefix(key));
    let lists = value("extra_files: [").flat_map(|list| list.trim_end_matches(']').split(", "));
    let mut files: Vec<&str> = value("validator: ").chain(lists).collect();
    files.sort_unstable();
    files.dedup();
    files
}

fn replace(text: &str, old: &str, new: &str) -> Result<String> {
    ensure!(text.contains(old), "manifest.yaml does not contain {old:?}");
    Ok(text.replace(old, new))
}
