//! The command `cargo offline-bundle`.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use clap::Args;
use walkdir::WalkDir;

use crate::{cargo, dependencies, output, print, root, run};

/// Write an archive of the project with the sources of all its dependencies
///
/// The archive contains the last commit. Its script `packaging/build-offline` builds the packages
/// from it without a network. Rust, Go and a C compiler have to be installed.
#[derive(Debug, Args)]
pub struct Bundle {
    /// File to write
    #[arg(long, value_name = "FILE", default_value = NAME)]
    out: PathBuf,
}

const NAME: &str = concat!("dist/plakar-icloud-", env!("CARGO_PKG_VERSION"), "-offline.tar.gz");
/// The folder in the archive.
const FOLDER: &str = concat!("plakar-icloud-", env!("CARGO_PKG_VERSION"));

impl Bundle {
    /// Writes the archive.
    pub fn run(self) -> Result<()> {
        let out = std::path::absolute(&self.out)?;
        let parent = out.parent().context("the archive has no folder")?;
        fs::create_dir_all(parent)?;
        let stage = parent.join(FOLDER);
        if stage.exists() {
            fs::remove_dir_all(&stage)?;
        }
        fs::create_dir_all(&stage)?;

        let committed = parent.join(format!("{FOLDER}.tar"));
        run(Command::new("git").args(["archive", "--output"]).arg(&committed).arg("HEAD").current_dir(root()))?;
        run(Command::new("tar").arg("-xf").arg(&committed).arg("-C").arg(&stage))?;
        fs::remove_file(&committed)?;

        // With --quiet, cargo would not print the configuration that makes it use the folder.
        let vendor = ["vendor", "--locked", "--versioned-dirs", dependencies::VENDORED];
        let sources = output(cargo().args(vendor).current_dir(&stage))?;
        let mut config = OpenOptions::new().append(true).open(stage.join(".cargo/config.toml"))?;
        write!(config, "\n{sources}")?;
        download_go_modules(&stage, &parent.join(format!("{FOLDER}-go")))?;

        // The bytes of the archive must depend only on the commit.
        let same = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
        let mut tar = Command::new("tar");
        tar.args(same).args(["--use-compress-program", "gzip -n9", "-cf"]).arg(&out);
        run(tar.arg("-C").arg(parent).arg(FOLDER))?;
        fs::remove_dir_all(&stage)?;
        print(&out.display().to_string())
    }
}

/// Writes the Go modules of a staged project into a folder that Go accepts as a proxy. Unlike those of
/// `go mod vendor`, they have the checksums, which Go writes into the executable, and all licences.
fn download_go_modules(stage: &Path, cache: &Path) -> Result<()> {
    let known = output(dependencies::go().args(["env", "GOMODCACHE", "GOPROXY"]))?;
    let (known, proxy) = known.trim().split_once('\n').context("go env printed one line")?;
    let mut download = dependencies::go();
    download.args(["mod", "download"]).current_dir(stage.join(dependencies::GO_MODULE));
    download.env("GOMODCACHE", cache).env("GOFLAGS", "-modcacherw");
    download.env("GOPROXY", format!("file://{known}/cache/download,{proxy}"));
    run(&mut download)?;
    for entry in WalkDir::new(cache.join("cache/download")) {
        let path = entry?.into_path();
        if path.extension().is_some_and(|end| end == "lock") {
            fs::remove_file(path)?;
        }
    }
    fs::rename(cache.join("cache/download"), stage.join(dependencies::GO_PROXY))?;
    Ok(fs::remove_dir_all(cache)?)
}
