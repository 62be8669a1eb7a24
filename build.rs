//! Builds `vendor/librclone`, rclone with the exports of this project, as a C archive and links it.
//!
//! Writes only to `OUT_DIR`; `go env` defines the locations of Go's build and module caches. Needs
//! Go, a C compiler and its binutils for the target.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The Go module, relative to the package.
const MODULE: &str = "vendor/librclone";
/// The lowest version of Go that builds the pinned rclone (the `go` line of its go.mod).
const LOWEST_GO: (u32, u32) = (1, 26);

fn main() {
    println!("cargo:rerun-if-changed={MODULE}");
    println!("cargo:rerun-if-changed=build.rs");
    let out_dir = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = Target::of_cargo();

    check_go_version();
    let archive = out_dir.join("librclone.a");
    build_archive(&target, &archive);
    detach_runtime_start(&target, &archive, &out_dir);
    println!("cargo:rustc-link-search=native={}", out_dir.display());
    println!("cargo:rustc-link-lib=static=rclone");
    check_bindings(&out_dir);
}

/// The architecture of the target in Go's terms, and the C tools for it.
struct Target {
    goarch: &'static str,
    compiler: PathBuf,
    archiver: PathBuf,
}

impl Target {
    fn of_cargo() -> Self {
        let os = env::var("CARGO_CFG_TARGET_OS").expect("cargo sets CARGO_CFG_TARGET_OS");
        assert!(os == "linux", "plakar-icloud is for Linux, not for {os}");
        let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
        let goarch = match arch.as_str() {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => panic!("plakar-icloud is for x86_64 and aarch64, not for {other}"),
        };
        let build = cc::Build::new();
        Self {
            goarch,
            compiler: build.get_compiler().path().to_owned(),
            archiver: PathBuf::from(build.get_archiver().get_program()),
        }
    }

    /// Returns the objcopy beside ar. It has the same prefix as ar, also in a cross toolchain.
    fn objcopy(&self) -> PathBuf {
        let ar = self.archiver.to_string_lossy();
        match ar.strip_suffix("ar") {
            Some(prefix) => PathBuf::from(format!("{prefix}objcopy")),
            None => PathBuf::from("objcopy"),
        }
    }
}

fn check_go_version() {
    let remedy = format!(
        "Go {}.{} or newer is needed: install it from https://go.dev/dl/ and put its bin folder on PATH",
        LOWEST_GO.0, LOWEST_GO.1
    );
    println!("cargo:rerun-if-env-changed=PATH");
    let output = go().args(["env", "GOVERSION"]).output();
    let output = output.unwrap_or_else(|error| panic!("{remedy} (go cannot be run: {error})"));
    let version = String::from_utf8_lossy(&output.stdout);
    let mut numbers =
        version.trim().trim_start_matches("go").split(['.', '-', 'r', 'b']).map(|part| part.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    assert!(found >= LOWEST_GO, "{remedy} (found {})", version.trim());
}

/// Returns a `go` command for our module, with the installed toolchain and no other.
fn go() -> Command {
    let mut go = Command::new("go");
    go.current_dir(MODULE).env("GOTOOLCHAIN", "local");
    go
}

fn build_archive(target: &Target, archive: &Path) {
    let mut tags = String::from("netgo,osusergo,noselfupdate");
    if env::var_os("CARGO_FEATURE_ALL_BACKENDS").is_some() {
        tags.push_str(",all_backends");
    } else if env::var_os("CARGO_FEATURE_SERVERS").is_some() {
        tags.push_str(",servers");
    }
    run(
        go().args(["build", "-buildmode=c-archive", "-trimpath", "-buildvcs=false"])
            .args(["-ldflags=-s -w -buildid=", "-tags", &tags])
            .args(compiler_flags())
            .arg("-o")
            .arg(archive)
            .arg(".")
            .env("CGO_ENABLED", "1")
            .env("GOOS", "linux")
            .env("GOARCH", target.goarch)
            .env("CC", &target.compiler),
        "go could not build rclone; its messages are above. \
         The first build downloads Go modules: check that `go mod download` works in vendor/librclone",
    );
}

/// Returns flags of Go's compiler. Go has no levels of optimisation, so the low level of the profile `demo`,
/// which saves time to compile, is none.
fn compiler_flags() -> Option<&'static str> {
    let level = env::var("OPT_LEVEL").expect("cargo sets OPT_LEVEL");
    (level == "1").then_some("-gcflags=all=-N -l -dwarf=false")
}

/// Removes the function that starts Go's runtime from `.init_array` and names it
/// `rclone_start_runtime`, so that `src/rclone/ffi/start.rs` can call it.
///
/// From `.init_array`, it would run before `main` with the arguments and the environment of the
/// process, which musl does not even pass (golang/go#13492). Called from Rust, it gets a chosen
/// environment, and only if rclone is used.
fn detach_runtime_start(target: &Target, archive: &Path, out_dir: &Path) {
    let member = out_dir.join("go.o");
    let start = format!("_rt0_{}_linux_lib", target.goarch);
    let remedy = "the binutils (ar, objcopy) of the C compiler are needed";
    run(Command::new(&target.archiver).arg("x").arg(archive).arg("go.o").current_dir(out_dir), remedy);
    run(
        Command::new(target.objcopy())
            .args(["--redefine-sym", &format!("{start}=rclone_start_runtime")])
            .args(["-R", ".init_array", "-R", ".rela.init_array"])
            .arg(&member),
        remedy,
    );
    run(Command::new(target.objcopy()).arg("--globalize-symbol=rclone_start_runtime").arg(&member), remedy);
    run(Command::new(&target.archiver).arg("r").arg(archive).arg(&member), remedy);
    fs::remove_file(&member).unwrap_or_else(|error| panic!("{}: {error}", member.display()));
}

fn run(command: &mut Command, remedy: &str) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}; {remedy}"));
    assert!(status.success(), "{command:?}: {status}; {remedy}");
}

#[cfg(not(feature = "bindgen"))]
fn check_bindings(_: &Path) {}

/// Generates the declarations from the header of this build.
#[cfg(feature = "bindgen")]
fn check_bindings(out_dir: &Path) {
    let checked_in = Path::new("src/rclone/ffi/bindings.rs");
    println!("cargo:rerun-if-changed={}", checked_in.display());
    let fresh = bindgen::Builder::default()
        .header(out_dir.join("librclone.h").to_string_lossy())
        .clang_arg(format!("-I{MODULE}"))
        .allowlist_function("Rclone[A-Z].*")
        .blocklist_function("RcloneCallLogSink")
        .layout_tests(false)
        .generate()
        .unwrap_or_else(|error| panic!("bindgen: {error}; libclang is needed (Debian: libclang-dev)"))
        .to_string();
    let generated = out_dir.join("bindings.rs");
    fs::write(&generated, &fresh).unwrap_or_else(|error| panic!("{}: {error}", generated.display()));
    let current = fs::read_to_string(checked_in).unwrap_or_default();
    assert!(
        current == fresh,
        "{} does not match the exports of {MODULE}: copy {} over it and review the difference",
        checked_in.display(),
        generated.display()
    );
}
