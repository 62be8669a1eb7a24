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

    /// A spool that cannot be written. That ends nothing else, not even for want of
    /// room: smaller files fit, and there is more room when other spools are gone.
    pub fn spool(path: &DrivePath, error: &io::Error) -> Self {
        let text =
            format!("its content cannot be kept in the spool folder ({error}); set spool_dir= to a folder with room");
        Self::new("cannot store", path, rclone::Error::unexpected(text))
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

    /// A change that failed in the background or is not done.
    pub fn unfinished(left: rclone::Unfinished) -> Self {
        let rclone::Unfinished { path, error } = left;
        match DrivePath::parse(&format!("/{path}")) {
            Ok(path) => Self::new("cannot complete the replacement of", &path, error),
            Err(_) => Self::new("cannot complete a replacement below", &DrivePath::top(), error),
        }
    }

    /// A walk whose task was ended.
    pub fn interrupted(path: &DrivePath, error: &tokio::task::JoinError) -> Self {
        Self::new("cannot walk", path, rclone::Error::unexpected(error.to_string()))
    }

    /// What can be done about it.
    pub fn kind(&self) -> rclone::Kind {
        self.cause.kind
    }

    /// Whether every further operation would fail the same way.
    pub fn ends_everything(&self) -> bool {
        self.cause.ends_everything()
    }

    /// Whether nothing can be read any more.
    pub fn ends_reading(&self) -> bool {
        self.cause.ends_reading()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_here_is_no_full_drive_there() {
        let error = Error::spool(&DrivePath::top(), &io::ErrorKind::StorageFull.into());
        assert!(!error.ends_everything());
    }
}
