//! The crates and Go modules that are in the executable.

use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, TargetKind};

use crate::{output, root, target::Target};

/// The folder of the crates in an offline bundle, relative to the project.
pub const VENDORED: &str = "vendor/crates";
/// The proxy of Go modules in an offline bundle, relative to the project.
pub const GO_PROXY: &str = "vendor/go-modules";
/// The Go module, relative to the project.
pub const GO_MODULE: &str = "vendor/librclone";

/// A crate, or a Go module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// The ecosystem, as in a package URL: `cargo` or `golang`.
    pub ecosystem: &'static str,
    /// The name, which for Go is the path of the module.
    pub name: String,
    /// The version.
    pub version: String,
    /// The licence as an SPDX expression, if the package states one.
    pub license: Option<String>,
    /// The folder of its source.
    pub folder: PathBuf,
}

/// Returns everything that is linked into the executable, sorted.
pub fn all(target: &Target, all_backends: bool) -> Result<BTreeSet<Dependency>> {
    let mut found = crates(&metadata(target)?)?;
    found.extend(go_modules(target, all_backends)?);
    Ok(found)
}

/// Returns cargo's description of the workspace and its dependencies for a target.
pub fn metadata(target: &Target) -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.current_dir(root()).other_options(vec![
        "--locked".to_owned(),
        "--filter-platform".to_owned(),
        target.triple.clone(),
    ]);
    Ok(command.exec()?)
}

/// Returns the crates that the program links. Macros and build scripts run only at compile time.
fn crates(metadata: &Metadata) -> Result<BTreeSet<Dependency>> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata has no dependency graph")?;
    let program = metadata.packages.iter().find(|package| package.name.as_str() == "plakar-icloud");
    let mut queue = VecDeque::from([&program.context("the workspace has no plakar-icloud")?.id]);
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    while let Some(id) = queue.pop_front() {
        let package = &metadata[id];
        let is_macro = package.targets.iter().any(|target| target.kind.contains(&TargetKind::ProcMacro));
        if is_macro || !seen.insert(id) {
            continue;
        }
        if package.source.is_some() {
            found.insert(Dependency {
                ecosystem: "cargo",
                name: package.name.to_string(),
                version: package.version.to_string(),
                license: package.license.clone(),
                folder: package.manifest_path.parent().context("a crate has no folder")?.into(),
            });
        }
        let node = resolve.nodes.iter().find(|node| node.id == *id).context("a crate is not in the graph")?;
        let linked =
            node.deps.iter().filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
        queue.extend(linked.map(|dep| &dep.pkg));
    }
    Ok(found)
}

/// Returns the Go modules that the C archive links, and Go's standard library.
fn go_modules(target: &Target, all_backends: bool) -> Result<BTreeSet<Dependency>> {
    let tags = if all_backends { "netgo,osusergo,noselfupdate,all_backends" } else { "netgo,osusergo,noselfupdate" };
    let template = "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}";
    let mut list = go();
    list.args(["list", "-deps", "-tags", tags, "-f", template, "."]);
    list.env("GOOS", "linux").env("GOARCH", target.goarch).env("CGO_ENABLED", "1");
    let mut found = BTreeSet::new();
    for line in output(&mut list)?.lines().filter(|line| !line.is_empty()) {
        let [name, version, folder] = line.split('\t').collect::<Vec<_>>()[..] else {
            anyhow::bail!("go list printed {line:?}");
        };
        found.insert(Dependency {
            ecosystem: "golang",
            name: name.to_owned(),
            version: version.to_owned(),
            license: None,
            folder: folder.into(),
        });
    }
    let standard = output(go().args(["env", "GOVERSION", "GOROOT"]))?;
    let (version, folder) = standard.trim().split_once('\n').context("go env printed one line")?;
    found.insert(Dependency {
        ecosystem: "golang",
        name: "std".to_owned(),
        version: version.trim_start_matches("go").to_owned(),
        license: Some("BSD-3-Clause".to_owned()),
        folder: folder.into(),
    });
    Ok(found)
}

/// Returns a `go` command for our module, with the installed toolchain and no other.
pub fn go() -> Command {
    let mut go = Command::new("go");
    go.current_dir(root().join(GO_MODULE)).env("GOTOOLCHAIN", "local");
    go
}
