//! The command `cargo package-plugin`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    dependencies, executable, licenses,
    manifest::{self, Variant},
    on_path, print, root, run, sbom, sums,
    target::Target,
};

/// The version of the packages. It is above 1.1.0, the last version of the Go plugin "rclone", so
/// that `plakar pkg add -u` replaces that plugin.
const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));
const LICENSES: &str = "THIRD-PARTY-LICENSES.txt";
const SBOM: &str = "sbom.cdx.json";
const MB: u64 = 1_000_000;

/// Build a static executable, and a package of it in a folder below dist/
///
/// The folder also contains the executable, its manifest, the licences and the bill of materials
/// (CycloneDX) of all dependencies, and checksums. The package is created by plakar if it is on
/// PATH; otherwise the command that creates it is printed.
#[derive(Debug, Args)]
pub struct Package {
    /// Link every backend of rclone, and replace plakar's own package "rclone"
    #[arg(long)]
    all_backends: bool,
    /// Also serve locations rclone://, for machines without plakar's own package "rclone"
    #[arg(long, conflicts_with = "all_backends")]
    rclone_locations: bool,
    /// Target of the Rust compiler [default: that of this machine, with musl if it and a C compiler for it are installed]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Profile of cargo
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
    /// Secret key of signify, to sign the package with
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    /// Folder for the packages
    #[arg(long, value_name = "FOLDER", default_value = "dist")]
    out: PathBuf,
}

impl Package {
    /// Builds the package.
    pub fn run(self) -> Result<()> {
        let target = Target::new(self.target.as_deref())?;
        let variant = match (self.all_backends, self.rclone_locations) {
            (true, _) => Variant::Rclone,
            (_, true) => Variant::IcloudAndRclone,
            _ => Variant::Icloud,
        };
        let executable = executable::build(&target, &self.profile, self.all_backends)?;
        let name = format!("{}_{VERSION}_linux_{}", variant.name(), target.goarch);
        let folder = std::path::absolute(self.out.join(&name))?;
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        fs::copy(&executable, folder.join(executable::NAME))?;
        let dependencies = dependencies::all(&target, self.all_backends)?;
        fs::write(folder.join(LICENSES), licenses::text(&dependencies, &target)?)?;
        fs::write(folder.join(SBOM), sbom::json(&dependencies)?)?;
        let manifest = variant.manifest(&[LICENSES, SBOM])?;
        for file in manifest::files(&manifest).into_iter().filter(|file| ![LICENSES, SBOM].contains(file)) {
            copy(&root().join(file), &folder.join(file))?;
        }
        fs::write(folder.join("manifest.yaml"), manifest)?;
        sums::write(&folder)?;

        let package = folder.join(format!("{name}.ptar"));
        let plakar = on_path(&["plakar"]);
        let mut create = Command::new(plakar.as_deref().unwrap_or(Path::new("plakar")));
        create.args(["pkg", "create", "-out"]).arg(&package).args(["./manifest.yaml", VERSION]);
        create.current_dir(&folder).env("GOOS", "linux").env("GOARCH", target.goarch);
        if plakar.is_some() {
            run(&mut create)?;
            // plakar lets only the owner read it, but other users install it.
            fs::set_permissions(&package, fs::Permissions::from_mode(0o644))?;
            sums::write_of_package(&package)?;
        }
        if let Some(key) = &self.sign {
            ensure!(package.exists(), "--sign needs the package, which only plakar can create: put plakar on PATH");
            sums::sign(&package, key)?;
        }

        print(&folder.display().to_string())?;
        print(&format!("  {}: {:.1} MB", executable::NAME, megabytes(&folder.join(executable::NAME))?))?;
        if plakar.is_some() {
            print(&format!("  {name}.ptar: {:.1} MB", megabytes(&package)?))
        } else {
            print("plakar is not on PATH. To create the package, run in that folder:")?;
            print(&format!("  plakar pkg create -out ./{name}.ptar ./manifest.yaml {VERSION}"))
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file has no folder")?)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

fn megabytes(file: &Path) -> Result<f64> {
    Ok(fs::metadata(file)?.len() as f64 / MB as f64)
}
