//! Replacements that a killed process has not finished.

use super::{Drive, DrivePath, Error, outage::Work, retry::retried};
use crate::rclone::File;

impl Drive {
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
