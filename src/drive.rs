//! A drive: the files and folders of one remote, whatever its provider.
//!
//! Shared by backup, restore and kloset: paths that cannot lead out of the
//! drive, retries, memory budgets, and content of exactly the listed length.
//! Nothing here knows gRPC or JSON, and nothing here is special to iCloud.

mod content;
mod error;
mod path;
mod retry;
mod spool;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

pub use content::{Content, read, read_unchanging};
pub use error::Error;
pub use path::{BadName, DrivePath};
pub use spool::{Spool, Spooled, Spools};

use crate::rclone::{self, Deletion, Entry, File, Item, Kind, Listing, Rclone, Remote, Replacement, Sections, Time};
use retry::{Attempts, retried};

/// Bounds of a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Uploads at once.
    pub uploads: usize,
    /// Bytes of memory for content that waits to be uploaded; more than that
    /// waits in files.
    pub spool_memory: usize,
    /// The folder for those files, which have no name.
    pub spool_dir: PathBuf,
}

/// An opened remote. Cheap to clone; all clones share the limits.
#[derive(Debug, Clone)]
pub struct Drive {
    remote: Remote,
    spools: Spools,
    uploads: Arc<Semaphore>,
}

impl Drive {
    /// Opens the section `name` of `sections`.
    ///
    /// # Errors
    /// Whatever rclone says about configuration, network and session.
    pub async fn open(name: &str, sections: Sections, limits: &Limits) -> Result<Self, Error> {
        // The top is "/" and not "", as in the Go plugin: for backends that know
        // the difference (local, sftp) it is the root of the file system.
        let remote = retried(|| Rclone::start().open(name, "/", sections.clone())).await;
        Ok(Self {
            remote: remote.map_err(|cause| Error::new("cannot open", &DrivePath::top(), cause))?,
            spools: Spools::new(limits.spool_memory, &limits.spool_dir),
            uploads: Arc::new(Semaphore::new(limits.uploads)),
        })
    }

    /// Ends the use of the drive, by all clones.
    ///
    /// # Errors
    /// If the backend cannot save what it has to.
    pub async fn close(&self) -> Result<(), Error> {
        self.remote.close().await.map_err(|cause| Error::new("cannot close", &DrivePath::top(), cause))
    }

    /// Lists folders; one result for each.
    pub async fn list(&self, folders: &[DrivePath]) -> Vec<Result<Listing, Error>> {
        let mut listed: Vec<Option<Result<Listing, rclone::Error>>> = folders.iter().map(|_| None).collect();
        let mut attempts = Attempts::default();
        loop {
            let is_open = |result: &Option<Result<_, rclone::Error>>| match result {
                Some(Err(error)) => error.retry,
                other => other.is_none(),
            };
            let open: Vec<usize> = (0..folders.len()).filter(|&i| is_open(&listed[i])).collect();
            let paths = open.iter().map(|&i| folders[i].as_str().to_owned()).collect();
            match self.remote.list(paths).await {
                Ok(results) => open.iter().zip(results).for_each(|(&i, result)| listed[i] = Some(result)),
                Err(error) => open.iter().for_each(|&i| listed[i] = Some(Err(error.clone()))),
            }
            let failures = listed.iter().flatten().filter_map(|result| result.as_ref().err());
            let retryable = failures.filter(|error| error.retry).max_by_key(|error| error.retry_after);
            match retryable.and_then(|error| attempts.pause_after(error)) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => break,
            }
        }
        let named = |(path, result): (&DrivePath, Option<Result<_, rclone::Error>>)| {
            let result = result.unwrap_or_else(|| Err(rclone::Error::unexpected("it was not listed")));
            result.map_err(|cause| Error::new("cannot list", path, cause))
        };
        folders.iter().zip(listed).map(named).collect()
    }

    /// Lists one folder, all of it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none; [`Kind::Damaged`] if there may be more in
    /// it than is listed, or if one of its items cannot be used.
    pub async fn list_all(&self, folder: &DrivePath) -> Result<Vec<Entry>, Error> {
        let listing = self.list(std::slice::from_ref(folder)).await.swap_remove(0)?;
        match listing.incomplete.or_else(|| listing.invalid.into_iter().next().map(|invalid| invalid.cause)) {
            Some(cause) => Err(Error::new("cannot list all of", folder, cause)),
            None => Ok(listing.entries),
        }
    }

    /// Lists what can be used of one folder.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none; [`Kind::Damaged`] if there may be more in
    /// it than is listed.
    pub async fn list_usable(&self, folder: &DrivePath) -> Result<Vec<Entry>, Error> {
        let listing = self.list(std::slice::from_ref(folder)).await.swap_remove(0)?;
        match listing.incomplete {
            Some(cause) => Err(Error::new("cannot list all of", folder, cause)),
            None => Ok(listing.entries),
        }
    }

    /// Finds a file or a folder.
    ///
    /// # Errors
    /// If it cannot be told whether there is one.
    pub async fn stat(&self, path: &DrivePath) -> Result<Option<Entry>, Error> {
        match retried(|| self.remote.stat(path.as_str())).await {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(Error::new("cannot look up", path, error)),
        }
    }

    /// Reads all of a file. Exactly the listed bytes come, or an error.
    pub fn read(&self, file: File) -> Content {
        content::read_spooled(file, self.spools.clone())
    }

    /// Makes a folder and its parents.
    ///
    /// # Errors
    /// If it is not there afterwards.
    pub async fn make_folder(&self, path: &DrivePath) -> Result<(), Error> {
        retried(|| self.remote.mkdir(path.as_str()))
            .await
            .map_err(|cause| Error::new("cannot make the folder", path, cause))
    }

    /// Whether names that differ in their Unicode form or in case may be one.
    pub fn merges_names(&self) -> bool {
        self.remote.merges_names
    }

    /// Whether [`Self::set_folder_time`] can work.
    pub fn sets_folder_times(&self) -> bool {
        self.remote.sets_folder_times
    }

    /// Sets when a folder was modified.
    ///
    /// # Errors
    /// If the backend cannot.
    pub async fn set_folder_time(&self, path: &DrivePath, time: Time) -> Result<(), Error> {
        retried(|| self.remote.set_folder_time(path.as_str(), time))
            .await
            .map_err(|cause| Error::new("cannot set the time of", path, cause))
    }

    /// A spool for content to be uploaded.
    pub fn spool(&self) -> Spool {
        self.spools.begin()
    }

    /// Stores a file, in place of what is there, whole or not at all. Waits for
    /// a free upload.
    ///
    /// # Errors
    /// If it cannot be stored.
    pub async fn upload(
        &self,
        path: &DrivePath,
        modified: Time,
        content: &Spooled,
        replacement: Replacement,
    ) -> Result<File, Error> {
        // Never closed, so the permit is there.
        let _permit = self.uploads.acquire().await;
        self.store(path, modified, content, replacement).await
    }

    /// The same beside all uploads that wait or are under way: for a few bytes
    /// that others wait for.
    ///
    /// # Errors
    /// If it cannot be stored.
    pub async fn upload_at_once(&self, path: &DrivePath, modified: Time, content: &Spooled) -> Result<File, Error> {
        self.store(path, modified, content, Replacement::Awaited).await
    }

    async fn store(
        &self,
        path: &DrivePath,
        modified: Time,
        content: &Spooled,
        replacement: Replacement,
    ) -> Result<File, Error> {
        let upload = || self.remote.upload(path.as_str(), modified, Arc::clone(content.content()), replacement);
        let entry = retried(upload).await.map_err(|cause| Error::new("cannot store", path, cause))?;
        match entry.item {
            Item::File(file) => Ok(file),
            Item::Folder => {
                let cause = rclone::Error::unexpected("a folder is there afterwards");
                Err(Error::new("cannot store", path, cause))
            }
        }
    }

    /// Deletes a file: the listed one if given, else the one at the path.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none.
    pub async fn delete(&self, path: &DrivePath, listed: Option<&File>, deletion: Deletion) -> Result<(), Error> {
        self.delete_all(&[(path, listed)], deletion).await.swap_remove(0)
    }

    /// Deletes files as [`Self::delete`] does, with as few requests as the
    /// service allows. Returns one result for each file, in order.
    pub async fn delete_all(
        &self,
        files: &[(&DrivePath, Option<&File>)],
        deletion: Deletion,
    ) -> Vec<Result<(), Error>> {
        let mut results: Vec<Option<Result<(), rclone::Error>>> = files.iter().map(|_| None).collect();
        let mut attempts = Attempts::default();
        loop {
            let open: Vec<usize> = (0..files.len()).filter(|&i| !matches!(results[i], Some(Ok(())))).collect();
            let asked: Vec<(&str, Option<&File>)> = open.iter().map(|&i| (files[i].0.as_str(), files[i].1)).collect();
            match self.remote.delete(&asked, deletion).await {
                Ok(outcomes) => open.iter().zip(outcomes).for_each(|(&i, outcome)| results[i] = Some(outcome)),
                Err(error) => open.iter().for_each(|&i| results[i] = Some(Err(error.clone()))),
            }
            let mut failures = results.iter().flatten().filter_map(|result| result.as_ref().err());
            let Some(pause) = failures.find(|error| error.retry).and_then(|error| attempts.pause_after(error)) else {
                break;
            };
            tokio::time::sleep(pause).await;
        }
        let named = |((path, _), result): (&(&DrivePath, _), Option<Result<(), rclone::Error>>)| {
            let result = result.unwrap_or_else(|| Err(rclone::Error::unexpected("it was not deleted")));
            result.map_err(|cause| Error::new("cannot delete", path, cause))
        };
        files.iter().zip(results).map(named).collect()
    }

    /// Waits for the replacements and deletions that go on in the background, for
    /// at most `within`. Returns those that failed since the last call or are not
    /// done.
    pub async fn finish(&self, within: Duration) -> Vec<Error> {
        match Rclone::start().finish(within).await {
            Ok(unfinished) => unfinished.into_iter().map(Error::unfinished).collect(),
            Err(cause) => vec![Error::new("cannot complete the changes of", &DrivePath::top(), cause)],
        }
    }
}
