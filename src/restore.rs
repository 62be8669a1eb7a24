//! A restore: how records are restored, which names conflict, and the result.

mod names;
mod run;
mod uploads;

pub use names::{Names, Twin};
pub use run::{Error, Incoming, Outcome, Restore, Wanted};

use crate::{drive, rclone::Kind};

/// Why a record could not be restored.
#[derive(Debug)]
pub struct Failure {
    /// What failed, on what, and why.
    pub text: String,
    /// The cause without the path. Records with the same cause are counted together.
    cause: String,
    /// Whether no later record can be restored either.
    ends_everything: bool,
}

/// The result of a record that was restored.
#[derive(Debug, Default)]
pub struct Restored {
    /// The number of bytes that were stored.
    bytes: u64,
    /// Whether the file has another name in the drive than in the snapshot.
    is_renamed: bool,
}

impl Failure {
    fn new(text: String, cause: impl ToString) -> Self {
        Self { text, cause: cause.to_string(), ends_everything: false }
    }

    fn of(text: String) -> Self {
        Self { cause: text.clone(), text, ends_everything: false }
    }
}

impl From<drive::Error> for Failure {
    fn from(error: drive::Error) -> Self {
        let is_full = error.kind() == Kind::Quota;
        Self {
            ends_everything: is_full || error.ends_everything(),
            cause: error.cause().text.clone(),
            text: error.to_string(),
        }
    }
}
