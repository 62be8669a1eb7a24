//! The environment and the working folder of a connector.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::Command;

use super::{Resident, Role, within};
use crate::error::Result;

/// A home, a folder for temporary files and a working folder, all of them empty and removed on
/// drop, and an environment that contains nothing else.
#[derive(Debug)]
pub struct Surroundings {
    root: TempDir,
    variables: BTreeMap<OsString, OsString>,
}

/// A process.
#[derive(Clone, Debug)]
pub struct Running {
    pid: Pid,
    /// Its command line.
    pub arguments: Vec<String>,
}

impl Running {
    /// Reports whether the process is a connector in a role.
    pub fn serves(&self, role: Role) -> bool {
        self.arguments.iter().any(|argument| argument == role.argument())
    }

    /// Returns its memory, if it is not gone.
    pub fn resident(&self) -> Option<Resident> {
        Resident::of(self.pid)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// Fails if the process is gone.
    pub fn signal(&self, signal: Signal) -> std::io::Result<()> {
        Ok(kill_process(self.pid, signal)?)
    }
}

impl Surroundings {
    /// Creates the folders.
    ///
    /// # Errors
    /// Fails if the system's folder for temporary files cannot be written.
    pub fn new() -> std::io::Result<Self> {
        let root = TempDir::new()?;
        let mut surroundings = Self { variables: BTreeMap::new(), root };
        for folder in ["home", "tmp", "cwd"] {
            std::fs::create_dir(surroundings.root.path().join(folder))?;
        }
        let home = surroundings.home();
        surroundings.set("PATH", "/usr/bin:/bin");
        surroundings.set("TMPDIR", surroundings.tmp());
        surroundings.set("XDG_CONFIG_HOME", home.join(".config"));
        surroundings.set("XDG_CACHE_HOME", home.join(".cache"));
        surroundings.set("XDG_DATA_HOME", home.join(".local/share"));
        surroundings.set("XDG_STATE_HOME", home.join(".local/state"));
        surroundings.set("HOME", home);
        Ok(surroundings)
    }

    /// Sets an environment variable.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.variables.insert(name.into(), value.into());
    }

    /// Returns the surroundings with an environment variable added.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.set(name, value);
        self
    }

    /// Returns the folder that contains the others.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Returns HOME.
    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// Returns TMPDIR.
    pub fn tmp(&self) -> PathBuf {
        self.root().join("tmp")
    }

    /// Returns the working folder.
    pub fn cwd(&self) -> PathBuf {
        self.root().join("cwd")
    }

    /// Sets the environment and the working folder of a command.
    pub fn apply(&self, command: &mut Command) {
        command.env_clear().envs(&self.variables).current_dir(self.cwd());
    }

    /// Returns the processes that have inherited the home, if the system has `/proc`.
    pub fn processes(&self) -> Vec<Running> {
        let home = [b"HOME=", self.home().as_os_str().as_encoded_bytes()].concat();
        let strings = |pid: Pid, file: &str| {
            let content = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            content.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let running = |pid| Running {
            pid,
            arguments: strings(pid, "cmdline").iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect(),
        };
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
        pids.filter(|pid| strings(*pid, "environ").contains(&home)).map(running).collect()
    }

    /// Waits until all of these processes have exited.
    ///
    /// # Errors
    /// Fails if a process is left after [`PATIENCE`](crate::PATIENCE).
    pub async fn deserted(&self) -> Result<()> {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        within("exit of all processes", async {
            while !self.processes().is_empty() {
                ticks.tick().await;
            }
            Ok(())
        })
        .await
    }

    /// Returns all files and folders that were created in the three folders.
    ///
    /// # Errors
    /// Fails if a folder cannot be read.
    pub fn traces(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![self.home(), self.tmp(), self.cwd()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                }
                found.push(entry.path());
            }
        }
        Ok(found)
    }
}
