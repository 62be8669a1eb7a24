//! A restore: creating files and folders from records, conflicts between names, and the result.

mod bundle;
mod decision;
mod derived;
mod destination;
mod digest;
mod error;
mod folders;
mod incoming;
mod item;
mod names;
mod plan;
mod policy;
mod renames;
mod room;
mod run;
mod store;
mod uploads;

pub use error::Error;
pub use incoming::Incoming;
pub use item::{Item, Wanted};
pub use plan::{Decided, Fate, Plan, Planned};
pub use policy::{Links, OnBadName, OnConflict, Packages, Policy, Verify};
pub use run::{Outcome, Restore};

use crate::{
    drive::{self, DrivePath},
    rclone::Kind,
};

/// Why a record could not be restored.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What failed, on what, and why.
    pub text: String,
    /// The cause without the path. Records with the same cause are counted together.
    cause: String,
    /// The kind of the error of the drive, if it was one.
    kind: Option<Kind>,
    /// Whether no later record can be restored either.
    is_fatal: bool,
}

/// The result of a record that did not fail.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// The number of bytes that were stored.
    bytes: u64,
    /// 1 if the file was there already, with the same size and time.
    identical: u64,
    /// 1 if the file replaced another one.
    replaced: u64,
    /// 1 if the file that it replaced is in the Trash.
    trashed: u64,
    /// 1 if the file was stored beside another one that has its name.
    kept_both: u64,
    /// 1 if the file was left out because another one has its name.
    skipped: u64,
    /// 1 if the item is a link or special file that was left out.
    left_out: u64,
    /// 1 if the file was stored as a package.
    packages: u64,
    /// 1 if the file is a package that was stored as an archive.
    archives: u64,
    /// The path in the destination, if it differs from that in the snapshot.
    renamed: Option<DrivePath>,
    /// 1 if the item is a part of a package, which another item stands for.
    part: u64,
    /// 1 if the restore is only planned and the folder exists.
    there: u64,
    /// 1 if the restore is only planned and the service may take the name for that of another item.
    doubtful: u64,
}

impl Failure {
    fn new(text: String, cause: impl ToString) -> Self {
        Self { text, cause: cause.to_string(), kind: None, is_fatal: false }
    }

    /// Adds the advice to set `names=rename` if the service refused the name.
    fn with_advice(mut self) -> Self {
        if self.kind == Some(Kind::RefusedName) {
            for text in [&mut self.text, &mut self.cause] {
                text.push_str(", or set names=rename");
            }
        }
        self
    }

    fn of(text: String) -> Self {
        Self::new(text.clone(), text)
    }
}

impl From<drive::Error> for Failure {
    fn from(error: drive::Error) -> Self {
        let is_full = error.kind() == Kind::Quota;
        Self {
            kind: Some(error.kind()),
            is_fatal: is_full || error.is_fatal(),
            cause: error.cause().text.clone(),
            text: error.to_string(),
        }
    }
}
