//! Why a restore failed as a whole.

use crate::{drive, report::Summary};

/// Why a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination cannot be created.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// The content of a file ended early. plakar could not read it and reports that itself.
    #[error("the content of {0} ended early, so it was not restored")]
    CutOff(String),
    /// A record arrived where content was expected, or the reverse.
    #[error("the restore ended: plakar sent records and content in an invalid order")]
    Protocol,
    /// Nothing more could be restored.
    #[error("the restore ended after {done} files and folders: {why}")]
    Over {
        /// The number of files and folders that were restored.
        done: u64,
        /// The cause.
        why: String,
    },
    /// Files or folders failed.
    #[error("{} of {} files and folders failed: {}", .0.failed, .0.files + .0.folders + .0.others, .0.grouped_causes())]
    Failed(Box<Summary>),
}
