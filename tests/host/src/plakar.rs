//! The real plakar, if it is installed.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::error::{Error, Result};
use crate::handshake::Settings;
use crate::process::{Surroundings, within};

/// A plakar with its own configuration and without a terminal.
#[derive(Debug)]
pub struct Plakar {
    executable: PathBuf,
    surroundings: Surroundings,
    version: Version,
}

/// The numbers of a version of plakar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version([u32; 3]);

impl Version {
    /// The first version that installs unsigned packages only with `-allow-unsigned`.
    const VERIFIES: Self = Self([1, 1, 5]);

    /// Parses the output of `plakar version`, such as `plakar/v1.1.4`.
    fn read(text: &str) -> Option<Self> {
        let numbers = text.trim().strip_prefix("plakar/v")?.split(['-', '+']).next()?;
        let numbers: Vec<u32> = numbers.split('.').map_while(|number| number.parse().ok()).collect();
        Some(Self(numbers.try_into().ok()?))
    }
}

/// How a command of plakar ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit status, or none if the process was killed.
    pub status: Option<i32>,
    /// The output of the command and its connectors: stdout, then stderr.
    pub output: String,
}

impl Plakar {
    /// Returns the executable on the PATH of this process.
    pub fn on_path() -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join("plakar")).find(|file| file.is_file())
    }

    /// Returns the executable on the PATH of this process, for a test. If there is none, writes a
    /// line directly to stderr, because the test runner shows only the output of failed tests.
    pub fn for_test() -> Option<PathBuf> {
        let found = Self::on_path();
        if found.is_none() {
            skipped("plakar is not on PATH");
        }
        found
    }

    /// Prepares plakar's folders, so that it neither prints a greeting nor checks for updates.
    ///
    /// # Errors
    /// Fails if it cannot be started.
    pub async fn new(executable: PathBuf, surroundings: Surroundings) -> Result<Self> {
        let mut surroundings = surroundings;
        surroundings.set("TERM", "dumb");
        // Since version 1.1.5, plakar refuses klosets without encryption unless this is set.
        surroundings.set("PLAKAR_INSECURE_PLAINTEXT", "1");
        let mut plakar = Self { executable, surroundings, version: Version([0; 3]) };
        plakar.run(["-disable-security-check"]).await?;
        let version = plakar.must(["version"]).await?;
        let unknown = || Error::protocol("plakar version", format!("it printed {version:?}"));
        plakar.version = Version::read(&version).ok_or_else(unknown)?;
        Ok(plakar)
    }

    /// Reports whether this version installs unsigned packages only with `-allow-unsigned`.
    pub fn verifies_packages(&self) -> bool {
        self.version >= Version::VERIFIES
    }

    /// Returns the environment of plakar and its connectors.
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Returns the path of a file in the folder that contains its home.
    pub fn path(&self, name: &str) -> String {
        self.surroundings.root().join(name).to_string_lossy().into_owned()
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.executable);
        self.surroundings.apply(&mut command);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts a command, whose output [`Self::finish`] reads.
    ///
    /// # Errors
    /// Fails if it cannot be started.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Child> {
        let failed = |source| Error::Start { executable: self.executable.display().to_string(), source };
        self.command(arguments).spawn().map_err(failed)
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// Fails if it cannot be started, or does not end.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Outcome> {
        self.finish(self.start(arguments)?).await
    }

    /// Waits for the end of a command.
    ///
    /// # Errors
    ///
    /// Fails if it does not end.
    pub async fn finish(&self, running: Child) -> Result<Outcome> {
        let output = within("plakar", async { Ok(running.wait_with_output().await?) }).await?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Outcome { status: output.status.code(), output: String::from_utf8_lossy(&text).into_owned() })
    }

    /// Runs a command that must succeed, and returns what it printed.
    ///
    /// # Errors
    /// Fails if the command fails.
    pub async fn must<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        let outcome = self.run(arguments).await?;
        if outcome.status == Some(0) {
            return Ok(outcome.output);
        }
        let violation = format!("it ended with {:?}:\n{}", outcome.status, outcome.output);
        Err(Error::protocol("plakar", violation))
    }

    /// Creates a package of a program and a manifest that names it, in the working folder.
    ///
    /// # Errors
    /// Fails if plakar refuses the manifest, or a file cannot be copied.
    pub async fn pack(&self, manifest: &Path, program: &Path) -> Result<PathBuf> {
        let folder = self.surroundings.cwd();
        let text = std::fs::read_to_string(manifest)?;
        // The manifest names other files of its folder.
        for entry in manifest.parent().unwrap_or(Path::new(".")).read_dir()? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') && name != "target" && name != "manifest.yaml" {
                symlink(entry.path(), folder.join(name))?;
            }
        }
        for line in text.lines() {
            let Some(name) = line.trim().strip_prefix("executable:") else { continue };
            let copy = folder.join(name.trim());
            std::fs::create_dir_all(copy.parent().unwrap_or(&folder))?;
            std::fs::copy(program, copy)?;
        }
        std::fs::write(folder.join("manifest.yaml"), text)?;
        let package = folder.join("package.ptar");
        self.must(["pkg", "create", "-out", &package.to_string_lossy(), "./manifest.yaml", VERSION]).await?;
        Ok(package)
    }

    /// Installs a package.
    ///
    /// # Errors
    /// Fails if plakar refuses it.
    pub async fn install(&self, package: &Path) -> Result<()> {
        // plakar parses the name, version, system and architecture from the name of the file.
        let name = format!("icloud_{VERSION}_{}_{}.ptar", SYSTEM, ARCHITECTURE);
        let copy = self.surroundings.cwd().join(name);
        std::fs::hard_link(package, &copy).or_else(|_| std::fs::copy(package, &copy).map(drop))?;
        self.add(&copy, &[]).await
    }

    /// Installs a package from a file whose name plakar parses, with more flags of `pkg add`.
    ///
    /// # Errors
    ///
    /// plakar refuses it.
    pub async fn add(&self, package: &Path, flags: &[&str]) -> Result<()> {
        let mut arguments = vec![OsStr::new("pkg"), OsStr::new("add")];
        if self.verifies_packages() {
            arguments.push(OsStr::new("-allow-unsigned"));
        }
        arguments.extend(flags.iter().map(OsStr::new));
        arguments.push(package.as_os_str());
        self.must(arguments).await.map(drop)
    }

    /// Defines a `source`, a `destination` or a `store` with a name.
    ///
    /// # Errors
    /// Fails if plakar refuses the settings.
    pub async fn define(&self, role: &str, name: &str, settings: &Settings) -> Result<()> {
        let parameters = settings.parameters();
        let location = parameters.get("location").cloned().unwrap_or_default();
        let others = parameters.iter().filter(|(key, _)| *key != "location");
        let mut arguments = vec![role.to_owned(), "add".to_owned(), name.to_owned(), location];
        arguments.extend(others.map(|(key, value)| format!("{key}={value}")));
        self.must(arguments).await.map(drop)
    }
}

/// Writes to stderr that the running test was skipped. The line appears although the test passes.
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    let line = format!("{} was SKIPPED: {reason}\n", thread.name().unwrap_or("a test"));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// The version of the packages.
const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));
/// The system and the architecture, in Go's terms.
const SYSTEM: &str = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    std::env::consts::ARCH
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let read = |text| Version::read(text);
        assert_eq!(read("plakar/v1.1.4\n"), Some(Version([1, 1, 4])));
        assert_eq!(read("plakar/v1.2.0-alpha.5\n"), Some(Version([1, 2, 0])));
        assert_eq!(read("plakar/devel"), None);
        assert!(read("plakar/v1.1.4") < Some(Version::VERIFIES) && read("plakar/v1.1.10") > Some(Version::VERIFIES));
    }

    /// A script in place of plakar records its arguments. It gets the flag only as a version that
    /// has it.
    #[tokio::test]
    async fn unsigned_packages_are_allowed_if_plakar_checks_signatures() {
        for (version, flag) in [("v1.1.4", ""), ("v1.1.5", "-allow-unsigned "), ("v1.2.0-rc.1", "-allow-unsigned ")] {
            let surroundings = Surroundings::new().unwrap();
            let executable = surroundings.root().join("plakar");
            let log = surroundings.root().join("log");
            let script = format!(
                "#!/bin/sh\n[ \"$1\" = version ] && echo plakar/{version}\necho \"$PLAKAR_INSECURE_PLAINTEXT $*\" >>{}\n",
                log.display()
            );
            std::fs::write(&executable, script).unwrap();
            std::fs::set_permissions(&executable, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let package = surroundings.root().join("package");
            std::fs::write(&package, "").unwrap();
            let plakar = Plakar::new(executable, surroundings).await.unwrap();
            plakar.install(&package).await.unwrap();
            let log = std::fs::read_to_string(log).unwrap();
            assert!(log.contains(&format!("1 pkg add {flag}/")), "{log}");
        }
    }
}
