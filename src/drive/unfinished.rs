//! Uploads that a killed process has not finished.

use std::time::Duration;

use super::{Drive, DrivePath, Error, outage::Work, retry::retried};
use crate::rclone::File;

/// How long the removal of leftovers may take, because the restore waits for it.
const TIDYING: Duration = Duration::from_secs(30);

impl Drive {
    /// Removes the files with temporary names that killed processes of this machine have left. A
    /// complete file whose name is free gets it. A failure is a warning, because it concerns no file
    /// of this run, and the next run tries again.
    pub async fn tidy(&self) {
        let (settled, failed) = match tokio::time::timeout(TIDYING, self.remote.tidy()).await {
            Ok(Ok(tidied)) => tidied,
            Ok(Err(error)) => (0, vec![error]),
            Err(_) => return log::warn!("{LEFT} could not be removed in time; the next restore tries again"),
        };
        if settled > 0 {
            crate::log::notice(format_args!("removed or completed {LEFT}: {settled}"));
        }
        if let Some(first) = failed.first() {
            log::warn!("{LEFT} could not be removed: {} ({first}); the next restore tries again", failed.len());
        }
    }

    /// Gives a file its name in the service if it is an unfinished replacement.
    ///
    /// # Errors
    /// Fails if the file does not have the name afterwards.
    pub async fn complete(&self, path: &DrivePath, file: &File) -> Result<(), Error> {
        if !file.is_unfinished {
            return Ok(());
        }
        let completed = retried(self.attempts(Work::Write), || self.remote.complete(file)).await;
        self.judged(Work::Write, "cannot complete the replacement of", path, completed).await
    }
}

/// The leftovers in messages.
const LEFT: &str = "files that a killed process had left under temporary names";
