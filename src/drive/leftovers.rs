//! Leftovers: files that a killed process has left under temporary names.

use std::time::Duration;

use super::{Drive, DrivePath, Error, outage::Work, retry::retried};
use crate::rclone::File;

/// How long the removal of leftovers may take, because the restore waits for it.
const TIDY_TIMEOUT: Duration = Duration::from_secs(30);

impl Drive {
    /// Removes the leftovers of this machine. A complete file whose name is free gets it instead. A
    /// failure is a warning, because it concerns no file of this run, and the next run tries again.
    pub async fn tidy(&self) {
        let (settled, failed) = match tokio::time::timeout(TIDY_TIMEOUT, self.remote.tidy()).await {
            Ok(Ok(tidied)) => tidied,
            Ok(Err(error)) => (0, vec![error]),
            Err(_) => return log::warn!("{LEFTOVERS} could not be removed in time; the next restore tries again"),
        };
        if settled > 0 {
            crate::log::notice(format_args!("removed or completed {LEFTOVERS}: {settled}"));
        }
        if let Some(first) = failed.first() {
            log::warn!("{LEFTOVERS} could not be removed: {} ({first}); the next restore tries again", failed.len());
        }
    }

    /// Gives a file its name in the service if it is a leftover.
    ///
    /// # Errors
    /// Fails if the file does not have the name afterwards.
    pub async fn complete(&self, path: &DrivePath, file: &File) -> Result<(), Error> {
        if !file.is_leftover {
            return Ok(());
        }
        let completed = retried(self.attempts(Work::Write), || self.remote.complete(file)).await;
        self.judged(Work::Write, "cannot complete the replacement of", path, completed).await
    }
}

/// The leftovers in messages.
const LEFTOVERS: &str = "files that a killed process had left under temporary names";
