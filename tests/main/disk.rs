//! Folders of this machine as remotes of rclone, and the connectors on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use plakar_host::{Backup, Host, Options, Settings, Snapshot, Surroundings};
use tempfile::TempDir;

use crate::icloud::program;

/// A folder and a host.
pub struct Disk {
    folder: TempDir,
    pub host: Host,
}

impl Disk {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), host: Host::new(program(), Surroundings::new().unwrap()) }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn location(&self, below: &str) -> String {
        format!("rclone://{}", self.path(below).display()).trim_end_matches('/').to_owned()
    }

    /// Returns the settings of the folder itself.
    pub fn settings(&self) -> Settings {
        self.settings_at("")
    }

    pub fn settings_at(&self, below: &str) -> Settings {
        Settings::new(&self.location(below)).with("rclone_type", "local")
    }

    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        set_modified(&path, 1_700_000_000, 0);
    }

    pub fn set_modified(&self, path: &str, seconds: u64, nanos: u32) {
        set_modified(&self.path(path), seconds, nanos);
    }

    pub async fn backup(&self) -> Snapshot {
        self.host.backup(&self.settings(), &Options::default(), Backup::first()).await.unwrap()
    }

    pub async fn backup_after(&self, parent: &Snapshot) -> Snapshot {
        self.host.backup(&self.settings(), &Options::default(), Backup::after(parent)).await.unwrap()
    }
}

fn set_modified(path: &Path, seconds: u64, nanos: u32) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}
