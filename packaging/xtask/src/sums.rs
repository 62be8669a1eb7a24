//! Checksums and signatures.

use std::{
    borrow::Cow,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::{on_path, run};

/// The file of the checksums of a folder. `sha256sum -c` reads it.
const SUMS: &str = "SHA256SUMS";

/// Writes the checksums of the files that a package consists of. Equal builds write equal checksums.
pub fn write(folder: &Path) -> Result<()> {
    let mut text = String::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(folder)?;
            writeln!(text, "{}", line(entry.path(), &name.display().to_string())?)?;
        }
    }
    Ok(fs::write(folder.join(SUMS), text)?)
}

/// Writes the checksum of a package to a file beside it.
pub fn write_of_package(package: &Path) -> Result<()> {
    let name = name(package)?;
    Ok(fs::write(package.with_file_name(format!("{name}.sha256")), line(package, &name)? + "\n")?)
}

/// Signs a package with signify, in the format that plakar reads: a file beside the package
/// contains its checksum and the signature.
pub fn sign(package: &Path, secret_key: &Path) -> Result<()> {
    let signify = signify()?;
    let name = name(package)?;
    let sum = package.with_file_name(format!("{name}.sum"));
    fs::write(&sum, line(package, &name)? + "\n")?;
    let signature = package.with_file_name(format!("{name}.sum.sig"));
    run(Command::new(signify).args(["-S", "-e", "-s"]).arg(secret_key).arg("-m").arg(&sum).arg("-x").arg(signature))?;
    Ok(fs::remove_file(sum)?)
}

fn name(package: &Path) -> Result<Cow<'_, str>> {
    Ok(package.file_name().context("the package has no name")?.to_string_lossy())
}

fn signify() -> Result<PathBuf> {
    on_path(&["signify-openbsd", "signify"]).context("--sign needs signify (Debian: signify-openbsd)")
}

/// Returns a line in the format of BSD's sha256.
fn line(file: &Path, name: &str) -> Result<String> {
    let digest = Sha256::digest(fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    Ok(format!("SHA256 ({name}) = {}", hex::encode(digest)))
}
