//! Errors of a drive: the operation, the path and the cause.

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
    /// Returns an error. `operation` has the form "cannot list".
    pub fn new(operation: &'static str, path: &DrivePath, cause: rclone::Error) -> Self {
        Self { operation, path: path.clone(), cause }
    }

    /// Returns the error for a spool that cannot be written. It does not end the run, even if the
    /// disk is full: smaller files may fit, and there is more room when other spools are dropped.
    pub fn spool(path: &DrivePath, error: &io::Error) -> Self {
        let text =
            format!("its content cannot be stored in the spool folder ({error}); set spool_dir= to a folder with room");
        Self::new("cannot store", path, rclone::Error::unexpected(text))
    }

    /// Returns the error for an item whose name cannot be part of a path.
    pub fn bad_name(folder: &DrivePath, bad: BadName) -> Self {
        Self::new("cannot use an item of", folder, rclone::Error::new(rclone::Kind::RefusedName, bad.to_string()))
    }

    /// Returns the error for a second item with the same name in a folder.
    pub fn twin(path: &DrivePath) -> Self {
        let text = "the folder contains two items of this name, and only one is used; rename one of them";
        Self::new("cannot use", path, rclone::Error::new(rclone::Kind::Exists, text))
    }

    /// Returns the error for a background change that failed or is not done.
    pub fn unfinished_change(left: rclone::UnfinishedChange) -> Self {
        let rclone::UnfinishedChange { path, error } = left;
        match DrivePath::parse(&format!("/{path}")) {
            Ok(path) => Self::new("cannot complete the replacement of", &path, error),
            Err(_) => Self::new("cannot complete a replacement below", &DrivePath::top(), error),
        }
    }

    /// Returns the error for a walk whose task ended early.
    pub fn interrupted(path: &DrivePath, error: &tokio::task::JoinError) -> Self {
        Self::new("cannot walk", path, rclone::Error::unexpected(error.to_string()))
    }

    /// Returns the kind of the cause.
    pub fn kind(&self) -> rclone::Kind {
        self.cause.kind
    }

    /// Returns the cause, without the operation and the path.
    pub fn cause(&self) -> &rclone::Error {
        &self.cause
    }

    /// Returns the path of the operation.
    pub fn path(&self) -> &DrivePath {
        &self.path
    }

    /// Marks the error as one after which no operation can succeed.
    pub(super) fn into_fatal(mut self) -> Self {
        self.cause.fatal = true;
        self
    }

    /// Marks the error as one that concerns only this operation.
    pub(super) fn into_not_fatal(mut self) -> Self {
        self.cause.fatal = false;
        self
    }

    /// Reports whether the cause may be an outage of the service rather than the item.
    pub fn may_be_outage(&self) -> bool {
        self.cause.may_be_outage()
    }

    /// Reports whether no other operation of the run can succeed after this error.
    pub fn is_fatal(&self) -> bool {
        self.cause.fatal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_spool_folder_does_not_end_the_run() {
        let error = Error::spool(&DrivePath::top(), &io::ErrorKind::StorageFull.into());
        assert!(!error.is_fatal());
    }
}
