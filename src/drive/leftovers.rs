//! Leftovers: files that a killed process has left under temporary names.

use std::time::Duration;

use super::{Drive, DrivePath, Error, outage::Work, retry::retried};
use crate::rclone::{File, Tidied};

/// How long the removal of leftovers may take, because the run waits for it. iCloud was measured to
/// take 30 s for the first listing of a folder after a change.
const TIDY_TIMEOUT: Duration = Duration::from_mins(2);

impl Drive {
    /// Removes the leftovers of this machine. A complete file whose name is free gets it instead. A
    /// failure is a warning, because it concerns no file of this run, and the next run tries again.
    /// Returns the number of leftovers that must be kept for now, because the last requests of their
    /// process may still be carried out.
    pub async fn tidy(&self) -> u64 {
        let Tidied { settled, waiting, failed } = match tokio::time::timeout(TIDY_TIMEOUT, self.remote.tidy()).await {
            Ok(Ok(tidied)) => tidied,
            Ok(Err(error)) => Tidied { failed: vec![error], ..Tidied::default() },
            Err(_) => {
                log::warn!("{LEFTOVERS} could not be removed in time; a later run tries again");
                return 0;
            }
        };
        if settled > 0 {
            crate::log::notice(format_args!("removed or completed {LEFTOVERS}: {settled}"));
        }
        if let Some(first) = failed.first() {
            log::warn!("{LEFTOVERS} could not be removed: {} ({first}); a later run tries again", failed.len());
        }
        waiting
    }

    /// Removes the leftovers that [`Self::tidy`] had to keep, as far as they still exist and may be
    /// removed now.
    pub async fn tidy_rest(&self) {
        let waiting = self.tidy().await;
        if waiting > 0 {
            crate::log::notice(format_args!(
                "kept {LEFTOVERS}: {waiting}, because the service may still carry out the last requests of that process; \
                 a restore that ends in two minutes or later removes them"
            ));
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
