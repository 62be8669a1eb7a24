//! Builds the packages of this project, and an archive from which they can be built without a
//! network. `.cargo/config.toml` defines the commands `cargo package-plugin` and `cargo
//! offline-bundle`.

mod bundle;
mod dependencies;
mod executable;
mod licenses;
mod manifest;
mod package;
mod sbom;
mod sums;
mod target;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// Builds the packages of plakar-icloud.
#[derive(Debug, Parser)]
#[command(name = "cargo", bin_name = "cargo", version)]
enum Task {
    PackagePlugin(package::Package),
    OfflineBundle(bundle::Bundle),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::PackagePlugin(package) => package.run(),
        Task::OfflineBundle(bundle) => bundle.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the top folder of the project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}

/// Prints a line of the result.
fn print(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// Runs a command that must succeed.
fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Runs a command that must succeed, and returns its output.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{}", output.status, errors.trim_end());
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the first of these programs that is on PATH.
fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()))
}

/// Returns the cargo that has started this program.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}
