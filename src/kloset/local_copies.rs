//! Local copies of small files that every process reads and that rarely change, such as the
//! configuration of a kloset.
//!
//! Only the first process downloads the file. A copy is used as long as the listings show the
//! version that was copied.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use tokio::task::spawn_blocking;
use xxhash_rust::xxh3::xxh3_128;

use super::disk::Disk;
use crate::{
    drive::{self, DrivePath},
    rclone::{Error, File, Time},
};

/// The limit in bytes for all copies. One copy may use a 16th of it.
const BUDGET: u64 = 1024 * 1024;

/// The local copies of the small files of a drive.
#[derive(Debug, Clone)]
pub struct LocalCopies {
    disk: Option<Arc<Disk>>,
    /// Distinguishes the drive from others that use the same folder.
    origin: Arc<str>,
}

impl LocalCopies {
    /// Returns the copies in a folder, which other drives may share. Without a folder, no file is
    /// copied.
    pub fn new(folder: Option<&Path>, origin: &str) -> Self {
        Self { disk: folder.map(|folder| Arc::new(Disk::new(folder, BUDGET))), origin: origin.into() }
    }

    /// Returns the content of the listed version of a file.
    ///
    /// # Errors
    /// Fails if there is no copy and the file cannot be read.
    pub async fn read(&self, path: &DrivePath, file: File, modified: Time) -> Result<Bytes, Error> {
        let (Some(disk), Some(size)) = (self.disk.clone(), file.size.and_then(|size| usize::try_from(size).ok()))
        else {
            return content_of(file).await;
        };
        let key = self.key(path, &file, size, modified);
        let copies = Arc::clone(&disk);
        // The task fails only when the process ends.
        if let Ok(Some(content)) = spawn_blocking(move || copies.get(key, size)).await {
            return Ok(content);
        }
        let content = content_of(file).await?;
        // A file that has changed since it was listed is read in its current version, whose size
        // may differ.
        if content.len() == size {
            put(disk, key, content.clone()).await;
        }
        Ok(content)
    }

    /// Stores the content of a file that this process has uploaded.
    pub async fn store(&self, path: &DrivePath, file: &File, modified: Time, content: Bytes) {
        if let Some(disk) = self.disk.clone() {
            let key = self.key(path, file, content.len(), modified);
            put(disk, key, content).await;
        }
    }

    fn key(&self, path: &DrivePath, file: &File, size: usize, modified: Time) -> u128 {
        xxh3_128(format!("{}\0{path}\0{}\0{size}\0{modified:?}", self.origin, file.version).as_bytes())
    }
}

/// Stores a copy. If that fails, the next process downloads the file.
async fn put(disk: Arc<Disk>, key: u128, copy: Bytes) {
    let _ = spawn_blocking(move || disk.put(key, &copy)).await;
}

async fn content_of(file: File) -> Result<Bytes, Error> {
    drive::read(file, None).collect().await
}
