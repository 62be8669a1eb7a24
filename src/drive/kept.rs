//! Small files that every process reads first and that hardly ever change, such as
//! the configuration of a kloset: kept on disk, so that only the first process
//! downloads one, and served as long as a listing shows the version that was kept.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use tokio::task::spawn_blocking;
use xxhash_rust::xxh3::xxh3_128;

use super::{DrivePath, content, disk::Disk};
use crate::rclone::{Error, File, Time};

/// Bytes of all that is kept. A file may have a 16th of it.
const BUDGET: u64 = 1024 * 1024;

/// The small files of a drive.
#[derive(Debug, Clone)]
pub struct Kept {
    disk: Option<Arc<Disk>>,
    /// What tells the drive from others that use the same folder.
    origin: Arc<str>,
}

impl Kept {
    /// Small files in a folder, which other drives may share; nothing is kept without
    /// one.
    pub fn new(folder: Option<&Path>, origin: &str) -> Self {
        Self { disk: folder.map(|folder| Arc::new(Disk::new(folder, BUDGET))), origin: origin.into() }
    }

    /// The content of a file in the version that was listed.
    ///
    /// # Errors
    /// If it was not kept and cannot be read.
    pub async fn read(&self, path: &DrivePath, file: File, modified: Time) -> Result<Bytes, Error> {
        let (Some(disk), Some(size)) = (self.disk.clone(), file.size.and_then(|size| usize::try_from(size).ok()))
        else {
            return content_of(file).await;
        };
        let key = xxh3_128(format!("{}\0{path}\0{}\0{size}\0{modified:?}", self.origin, file.version).as_bytes());
        let kept = Arc::clone(&disk);
        // Fails only when the process ends.
        if let Ok(Some(content)) = spawn_blocking(move || kept.get(key, size)).await {
            return Ok(content);
        }
        let content = content_of(file).await?;
        // A file that has changed since it was listed comes as it is now.
        if content.len() == size {
            let copy = content.clone();
            // Where nothing can be kept, the next process reads it again.
            let _ = spawn_blocking(move || disk.put(key, &copy)).await;
        }
        Ok(content)
    }
}

async fn content_of(file: File) -> Result<Bytes, Error> {
    content::read(file, None).collect().await
}
