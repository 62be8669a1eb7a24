//! Errors of a drive: what failed, on what, and why.

use std::io;

use super::{DrivePath, path::BadName};
use crate::rclone;

/// A failed operation on a path.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation} {path}: {cause}")]
pub struct Error {
    operation: &'static str,
    path: DrivePath,
    cause: rclone::Error,
}

impl Error {
    /// `operation` reads like "cannot list".
    pub fn new(operation: &'static str, path: &DrivePath, cause: rclone::Error) -> Self {
        Self { operation, path: path.clone(), cause }
    }

    /// A spool that cannot be written.
    pub fn spool(path: &DrivePath, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => rclone::Kind::Quota,
            _ => rclone::Kind::Other,
        };
        let text =
            format!("its content cannot be kept in the spool folder ({error}); set spool_dir= to a folder with room");
        Self::new("cannot store", path, rclone::Error::new(kind, text))
    }

    /// An item whose name cannot be part of a path.
    pub fn bad_name(folder: &DrivePath, bad: BadName) -> Self {
        Self::new("cannot use an item of", folder, rclone::Error::new(rclone::Kind::RefusedName, bad.to_string()))
    }

    /// A second item of one name in a folder.
    pub fn twin(path: &DrivePath) -> Self {
        let text = "the folder holds two items of this name, and this one is left out; rename one of them";
        Self::new("cannot use", path, rclone::Error::new(rclone::Kind::Exists, text))
    }

    /// A walk whose task was ended.
    pub fn interrupted(path: &DrivePath, error: &tokio::task::JoinError) -> Self {
        Self::new("cannot walk", path, rclone::Error::unexpected(error.to_string()))
    }

    /// What can be done about it.
    pub fn kind(&self) -> rclone::Kind {
        self.cause.kind
    }
}
