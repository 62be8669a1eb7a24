//! Deletions of files.

use super::{Drive, DrivePath, Error, outage::Work, retry::retried_each};
use crate::rclone::{Deletion, File};

impl Drive {
    /// Deletes a file: the listed one if it is given, otherwise the file at the path.
    ///
    /// # Errors
    /// Returns [`Kind::NotFound`](crate::rclone::Kind::NotFound) if the file does not exist.
    pub async fn delete(&self, path: &DrivePath, listed: Option<&File>, deletion: Deletion) -> Result<(), Error> {
        self.delete_each(&[(path, listed)], deletion).await.swap_remove(0)
    }

    /// Deletes listed files with few requests. Returns one result for each file, in order.
    pub async fn delete_all(&self, files: &[(&DrivePath, &File)], deletion: Deletion) -> Vec<Result<(), Error>> {
        let files: Vec<_> = files.iter().map(|&(path, listed)| (path, Some(listed))).collect();
        self.delete_each(&files, deletion).await
    }

    async fn delete_each(&self, files: &[(&DrivePath, Option<&File>)], deletion: Deletion) -> Vec<Result<(), Error>> {
        let deleted = retried_each(self.attempts(Work::Write), files.len(), |left| {
            let left: Vec<(&str, Option<&File>)> = left.iter().map(|&i| (files[i].0.as_str(), files[i].1)).collect();
            async move { self.remote.delete(&left, deletion).await }
        })
        .await;
        let mut results = Vec::new();
        for (&(path, _), result) in files.iter().zip(deleted) {
            results.push(self.judged(Work::Write, "cannot delete", path, result).await);
        }
        results
    }
}
