//! The package that `cargo package-plugin` builds: a static executable that needs no other file, and
//! the files that plakar and the licences require.

mod airgap;
mod docs;
mod seed;
mod upgrade;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use icloud_simulator::{Config, Content, Simulator};
use plakar_host::{Backup, Executable, Host, Options, Outcome, Plakar, Settings, Surroundings, skipped};
use serde_json::Value;
use tempfile::TempDir;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// The variable with the target of the package, if it is not the default. An executable for another
/// architecture runs under an emulator for the user mode of qemu.
const TARGET_VARIABLE: &str = "PLAKAR_ICLOUD_TARGET";

/// Returns the name of the emulator, if the package is for another architecture.
fn emulator() -> Option<String> {
    let target = std::env::var(TARGET_VARIABLE).ok()?;
    let architecture = target.split('-').next()?;
    (architecture != std::env::consts::ARCH).then(|| format!("qemu-{architecture}-static"))
}

/// Builds the package with the profile of the tests, which saves minutes. Returns its folder.
fn package(out: &TempDir, arguments: &[&str]) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["package-plugin", "--profile", "dev", "--out"]).arg(out.path()).args(arguments).current_dir(PROJECT);
    if let Ok(target) = std::env::var(TARGET_VARIABLE) {
        cargo.args(["--target", &target]);
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = fs::read_dir(out.path()).unwrap().next().unwrap().unwrap().path();
    let name = folder.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with(concat!("icloud_v", env!("CARGO_PKG_VERSION"), "_linux_")), "{name}");
    folder
}

/// Copies the executable of a package, and the emulator that it needs, into a folder. Returns a command
/// that runs it with this folder as its root folder, without privileges.
fn in_root(root: &Path, package: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--root"]).arg(root);
    if let Some(name) = emulator() {
        let emulator = on_path(&name).unwrap_or_else(|| panic!("{name} is not on PATH (Debian: qemu-user-static)"));
        fs::copy(emulator, root.join("emulator")).unwrap();
        command.arg("/emulator");
    }
    fs::copy(package.join("plakar-icloud"), root.join("plakar-icloud")).unwrap();
    command.arg("/plakar-icloud");
    command
}

#[tokio::test]
async fn the_package_is_complete_and_needs_no_other_file() {
    let out = TempDir::new().unwrap();
    let keys = TempDir::new().unwrap();
    let signify = on_path("signify-openbsd").or_else(|| on_path("signify")).filter(|_| on_path("plakar").is_some());
    let signed: Vec<String> = match &signify {
        Some(signify) => vec!["--sign".to_owned(), new_key(signify, keys.path())],
        None => Vec::new(),
    };
    let folder = package(&out, &signed.iter().map(String::as_str).collect::<Vec<_>>());
    has_its_files(&folder);
    names_no_folder_of_this_machine(&folder.join("plakar-icloud"));
    match &signify {
        Some(signify) => is_signed(signify, keys.path(), &folder),
        None => skipped("signify or plakar is not on PATH"),
    }

    let root = TempDir::new().unwrap();
    let Output { status, stdout, stderr } = in_root(root.path(), &folder).arg("--version").output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    assert!(String::from_utf8(stdout).unwrap().contains(env!("CARGO_PKG_VERSION")));
    backs_up_in(&root, &folder).await;

    if emulator().is_some() {
        skipped("plakar installs only packages for this machine");
    } else if let Some(plakar) = Plakar::for_test() {
        is_accepted_by_plakar(&plakar, &folder).await;
    }
}

/// Checks that a backup works if the root folder has only the executable, the certificate of the
/// simulated iCloud and an empty state folder.
async fn backs_up_in(root: &TempDir, package: &Path) {
    let simulator = Simulator::start(Config::default()).unwrap();
    simulator.put_file("docs/a.bin", Content::Generated { seed: 1, size: 100_000 }, 1_700_000_000_000);
    simulator.write_ca(root.path().join("ca.pem")).unwrap();
    fs::create_dir(root.path().join("state")).unwrap();
    let surroundings = Surroundings::new().unwrap();
    let starter = surroundings.root().join("starter");
    fs::write(&starter, format!("#!/bin/sh\nexec {:?} \"$@\"\n", in_root(root.path(), package))).unwrap();
    fs::set_permissions(&starter, fs::Permissions::from_mode(0o755)).unwrap();
    let surroundings = surroundings.with("HTTPS_PROXY", simulator.proxy_url()).with("SSL_CERT_FILE", "/ca.pem");
    let session = simulator.mint_session();
    let settings = Settings::new("icloud:///docs")
        .with("state_dir", "/state")
        .with("apple_id", &session.apple_id)
        .with("trust_token", &session.trust_token)
        .with("cookies", &session.cookies);
    let host = Host::new(Executable::with_role_argument(starter), surroundings);
    let snapshot = host.backup(&settings, &Options::default(), Backup::first()).await.unwrap();
    assert!(
        snapshot.errors.is_empty() && snapshot.contents().keys().any(|path| path.ends_with("/a.bin")),
        "{snapshot:?}"
    );
}

/// Checks that the folder has all files, with the recorded checksums.
fn has_its_files(folder: &Path) {
    let mut checked = Command::new("sha256sum");
    checked.args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(folder);
    if on_path("plakar").is_some() {
        checked.arg(format!("{}.sha256", ptar(folder).display()));
    }
    let Output { status, stderr, .. } = checked.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    for file in ["plakar-icloud", "manifest.yaml", "README.md", "LICENSE", "NOTICE", "assets/icon.svg"] {
        assert!(sums.contains(&format!("({file})")), "{file} is not in {sums}");
    }
    assert!(!sums.contains(".ptar"), "plakar writes other bytes each time: {sums}");
    let licenses = fs::read_to_string(folder.join("THIRD-PARTY-LICENSES.txt")).unwrap();
    let sbom: Value = serde_json::from_slice(&fs::read(folder.join("sbom.cdx.json")).unwrap()).unwrap();
    let components = sbom["components"].as_array().unwrap();
    let purls: Vec<&str> = components.iter().map(|component| component["purl"].as_str().unwrap()).collect();
    for (purl, name) in [("pkg:cargo/tokio@", "tokio "), ("pkg:golang/github.com/rclone/rclone@v", "rclone v")] {
        assert!(purls.iter().any(|found| found.starts_with(purl)), "{purl} is not in the bill of materials");
        assert!(licenses.contains(name), "{name}has no licence");
    }
    assert!(!purls.iter().any(|purl| purl.contains("/proptest@")), "dependencies of tests are not in the executable");
}

/// Checks that an executable contains no path of its build, on which its bytes would depend.
fn names_no_folder_of_this_machine(executable: &Path) {
    let bytes = fs::read(executable).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let go = Command::new("go").args(["env", "GOPATH", "GOMODCACHE", "GOCACHE"]).output().unwrap();
    let cargo_home =
        std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap()));
    let go = String::from_utf8(go.stdout).unwrap();
    for folder in go.lines().chain([PROJECT, &*cargo_home]) {
        assert!(folder.starts_with('/'), "{folder:?}");
        let found = text.find(folder).map(|at| text[at..].chars().take_while(|letter| !letter.is_control()).take(200));
        assert!(found.is_none(), "{}", found.into_iter().flatten().collect::<String>());
    }
}

/// Returns the package in a folder of the command.
fn ptar(folder: &Path) -> PathBuf {
    folder.join(format!("{}.ptar", folder.file_name().unwrap().to_str().unwrap()))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Runs a command line that must succeed.
async fn shell(surroundings: &Surroundings, line: &str) -> Outcome {
    let outcome = try_shell(surroundings, line).await;
    assert_eq!(outcome.status, Some(0), "{line}: {}", outcome.output);
    outcome
}

/// Runs a command line.
async fn try_shell(surroundings: &Surroundings, line: &str) -> Outcome {
    let mut shell = tokio::process::Command::new("/bin/sh");
    surroundings.apply(&mut shell);
    let output = shell.args(["-e", "-c", line]).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    Outcome { status: output.status.code(), output: String::from_utf8(text).unwrap() }
}

/// Creates a pair of keys. Returns the path of the secret key.
fn new_key(signify: &Path, folder: &Path) -> String {
    let mut make = Command::new(signify);
    assert!(make.args(["-G", "-n", "-p", "key.pub", "-s", "key.sec"]).current_dir(folder).status().unwrap().success());
    folder.join("key.sec").display().to_string()
}

/// Checks that the signature beside the package is that of its checksum, in the form that plakar
/// requires.
fn is_signed(signify: &Path, keys: &Path, folder: &Path) {
    let signature = format!("{}.sum.sig", ptar(folder).display());
    let mut verify = Command::new(signify);
    verify.args(["-C", "-q", "-p"]).arg(keys.join("key.pub")).args(["-x", &signature]).current_dir(folder);
    assert!(verify.status().unwrap().success(), "{signature}");
}

/// Checks that plakar installs the package, starts its connectors, and removes it.
async fn is_accepted_by_plakar(executable: &Path, folder: &Path) {
    let plakar = Plakar::new(executable.to_owned(), Surroundings::new().unwrap()).await.unwrap();
    let [program, package] = [executable.to_owned(), ptar(folder)].map(|file| file.display().to_string());
    let compare = format!("{program} at ptar:{package} cat :/plakar-icloud | cmp - {}/plakar-icloud", folder.display());
    shell(plakar.surroundings(), &compare).await;
    plakar.install(&ptar(folder)).await.unwrap();
    let listed = plakar.must(["pkg", "list"]).await.unwrap();
    assert!(listed.contains("icloud"), "{listed}");
    let settings = Settings::new("icloud://").with("apple_id", "user@example.com");
    plakar.define("source", "drive", &settings).await.unwrap();
    let unreachable = plakar.run(["source", "ping", "drive"]).await.unwrap();
    assert!(unreachable.output.contains("login"), "{}", unreachable.output);
    plakar.must(["pkg", "rm", "icloud"]).await.unwrap();
    let listed = plakar.must(["pkg", "list"]).await.unwrap();
    assert!(!listed.contains("icloud"), "{listed}");
}
