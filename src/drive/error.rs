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

    /// Why it failed, without the operation and the path.
    pub fn cause(&self) -> &rclone::Error {
        &self.cause
    }

    /// What the operation was on.
    pub fn path(&self) -> &DrivePath {
        &self.path
    }

    /// The same error, as one after which nothing can succeed.
    pub(super) fn ends_run(mut self) -> Self {
        self.cause.fatal = true;
        self
    }

    /// The same error, as one of this operation alone.
    pub(super) fn ends_nothing(mut self) -> Self {
        self.cause.fatal = false;
        self
    }

    /// Reports whether the service may be gone, and not only the item.
    pub fn may_be_outage(&self) -> bool {
        self.cause.may_be_outage()
    }

    /// Reports whether no other operation of the run can succeed either.
    pub fn ends_everything(&self) -> bool {
        self.cause.fatal
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
