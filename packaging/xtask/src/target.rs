//! The machine that a package is for.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{on_path, output};

/// A target of the Rust compiler.
#[derive(Debug, Clone)]
pub struct Target {
    /// The name of the target, such as `x86_64-unknown-linux-gnu`.
    pub triple: String,
    /// The architecture in Go's terms, which plakar uses too.
    pub goarch: &'static str,
}

impl Target {
    /// Returns the named target. Without a name, returns the target of this machine: with musl if
    /// Rust's standard library and a C compiler for it are installed, or else with glibc.
    pub fn new(name: Option<&str>) -> Result<Self> {
        let triple = match name {
            Some(name) => name.to_owned(),
            None => default_triple()?,
        };
        let goarch = match triple.split('-').next() {
            Some("x86_64") => "amd64",
            Some("aarch64") => "arm64",
            _ => bail!("there are packages for x86_64 and aarch64, not for {triple}"),
        };
        Ok(Self { triple, goarch })
    }

    /// Reports whether the C library of the target is glibc.
    pub fn has_glibc(&self) -> bool {
        self.triple.ends_with("-gnu")
    }

    /// Reports whether this machine runs programs for the target.
    pub fn is_native(&self) -> Result<bool> {
        Ok(host()?.split('-').next() == self.triple.split('-').next())
    }

    /// Returns the environment variable of cargo for the target's linker, and a cross compiler as
    /// its value, if this machine needs a cross compiler and has it.
    pub fn linker(&self) -> Result<Option<(String, &'static str)>> {
        if self.is_native()? {
            return Ok(None);
        }
        let compiler = if self.goarch == "arm64" { "aarch64-linux-gnu-gcc" } else { "x86_64-linux-gnu-gcc" };
        let variable = format!("CARGO_TARGET_{}_LINKER", self.triple.to_uppercase().replace('-', "_"));
        let is_set = std::env::var_os(&variable).is_some();
        Ok(on_path(&[compiler]).filter(|_| !is_set).map(|_| (variable, compiler)))
    }
}

fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// Returns the target of this machine.
fn host() -> Result<String> {
    let version = output(rustc().arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV prints no host")?.to_owned())
}

fn default_triple() -> Result<String> {
    let host = host()?;
    let musl = host.replace("-gnu", "-musl");
    let folder = output(rustc().args(["--print", "target-libdir", "--target", &musl]));
    let has_library = folder.is_ok_and(|folder| Path::new(folder.trim()).is_dir());
    let compiler = format!("{}-linux-musl-gcc", musl.split('-').next().unwrap_or_default());
    let has_compiler = on_path(&[&compiler, "musl-gcc"]).is_some();
    Ok(if has_library && has_compiler { musl } else { host })
}

/// Returns the folder of the compiler's own files.
pub fn sysroot() -> Result<String> {
    Ok(output(rustc().args(["--print", "sysroot"]))?.trim().to_owned())
}
