//! The root of a source, which depends on whether the source is a single file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{account, drive::DrivePath};

/// Determines the root of a source without the network.
///
/// plakar looks for the parent snapshot under the root that an importer reports. For a single file,
/// it stores the snapshot under the folder of the file, whatever root is reported
/// (K/snapshot/backup.go). So the root of a file must be its folder, but only a request could
/// distinguish a file from a folder. Instead, a backup of a file leaves a mark for later backups.
/// The first backup of a file needs no mark, because it has no parent snapshot.
#[derive(Debug)]
pub struct Root {
    top: DrivePath,
    /// None without a state folder. Each backup then reads a source that is a file again.
    mark: Option<PathBuf>,
}

impl Root {
    /// Returns the root of a source. The marks are in `folder`; `origin` distinguishes drives.
    pub fn new(folder: Option<&Path>, origin: &str, top: &DrivePath) -> Self {
        let key = xxh3_64(format!("{origin}\0{top}").as_bytes());
        Self { top: top.clone(), mark: folder.map(|folder| folder.join(format!("file-{key:016x}"))) }
    }

    /// Returns the path to report.
    pub fn path(&self) -> DrivePath {
        let was_file = self.mark.as_ref().is_some_and(|mark| mark.exists());
        if was_file { self.top.parent() } else { self.top.clone() }
    }

    /// Stores whether the source is a file.
    ///
    /// # Errors
    /// Fails if the mark cannot be written or removed.
    pub fn store(&self, is_file: bool) -> io::Result<()> {
        match &self.mark {
            Some(mark) if mark.exists() != is_file => {
                if !is_file {
                    return fs::remove_file(mark);
                }
                mark.parent().map_or(Ok(()), account::make_folder)?;
                fs::write(mark, "")
            }
            _ => Ok(()),
        }
    }
}
