//! The executable: its build, and the check that it needs no other file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use elf::{ElfBytes, abi, endian::AnyEndian};

use crate::{
    cargo, dependencies, output, root, run,
    target::{Target, sysroot},
};

/// The name of the executable.
pub const NAME: &str = "plakar-icloud";

/// Builds the program for a target. The result contains neither the folder nor the time of the build.
pub fn build(target: &Target, profile: &str, all_backends: bool) -> Result<PathBuf> {
    let metadata = dependencies::metadata(target)?;
    let folder = metadata.target_directory.as_std_path();
    let mut build = cargo();
    build.args(["build", "--locked", "--bin", NAME, "--target", &target.triple, "--profile", profile]);
    build.arg("--no-default-features");
    if all_backends {
        build.args(["--features", "all-backends"]);
    }
    build.env("CARGO_ENCODED_RUSTFLAGS", flags(folder)?.join("\u{1f}"));
    build.env("CARGO_INCREMENTAL", "0");
    // C compilers use it for the time of the compilation, which mimalloc contains (with musl).
    build.env("SOURCE_DATE_EPOCH", "0");
    if let Some((variable, linker)) = target.linker()? {
        build.env(variable, linker);
    }
    run(&mut build)?;
    let kind = if profile == "dev" { "debug" } else { profile };
    let executable = folder.join(&target.triple).join(kind).join(NAME);
    check_static(&executable)?;
    if target.is_native()? {
        // A C library older than glibc 2.36 does not support packed relocations.
        output(Command::new(&executable).arg("--version"))?;
    }
    Ok(executable)
}

/// Returns the flags of rustc: static linking, and names in place of the folders of this machine.
fn flags(target_folder: &Path) -> Result<Vec<String>> {
    // Relocations that are not packed take 2 MB. A build id would depend on the target folder.
    let mut flags: Vec<String> =
        ["-Ctarget-feature=+crt-static", "-Clink-arg=-Wl,-z,pack-relative-relocs", "-Clink-arg=-Wl,--build-id=none"]
            .map(str::to_owned)
            .to_vec();
    let mut replace = |folder: &Path, name: &str| {
        flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
    };
    // Of several matching folders, rustc uses the last.
    replace(target_folder, "/target");
    replace(&root(), "/plakar-icloud");
    replace(&root().join(dependencies::VENDORED), "/crates");
    for registry in registries() {
        replace(&registry, "/crates");
    }
    replace(&Path::new(&sysroot()?).join("lib/rustlib/src/rust"), "/rust");
    Ok(flags)
}

/// Returns the folders in which cargo unpacks the crates of its registries.
fn registries() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let folders = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    folders.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Fails if an executable needs an interpreter or a shared library.
pub fn check_static(executable: &Path) -> Result<()> {
    let bytes = fs::read(executable).with_context(|| format!("cannot read {}", executable.display()))?;
    let file = ElfBytes::<AnyEndian>::minimal_parse(&bytes)?;
    let segments = file.segments().context("the executable has no segments")?;
    let interpreter = segments.iter().any(|segment| segment.p_type == abi::PT_INTERP);
    let libraries = file.dynamic()?.map_or(0, |entries| entries.iter().filter(|e| e.d_tag == abi::DT_NEEDED).count());
    ensure!(
        !interpreter && libraries == 0,
        "{} is not static: it needs {libraries} libraries; the static C library of the target must be installed",
        executable.display()
    );
    Ok(())
}
