//! A drive: the files and folders of one remote, whatever its provider.
//!
//! Shared by backup, restore and kloset: paths that cannot lead out of the
//! drive, retries, memory budgets, and content of exactly the listed length.
//! Nothing here knows gRPC or JSON, and nothing here is special to iCloud.

mod content;
mod error;
mod outage;
mod path;
mod retry;
mod spool;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

pub use content::{Content, read, read_unchanging};
pub use error::Error;
pub use path::{BadName, DrivePath, are_alike, are_one};
pub use spool::{Spool, Spooled, Spools};

use crate::rclone::{self, Deletion, Entry, File, Item, Kind, Listing, Rclone, Remote, Replacement, Sections, Time};
use outage::{Outage, Work};
use retry::{Attempts, retried, retried_each};

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
    outage: Arc<Outage>,
}

impl Drive {
    /// Opens the section `name` of `sections`, for work in the folder `top`.
    ///
    /// # Errors
    /// Whatever rclone says about configuration, network and session.
    pub async fn open(name: &str, sections: Sections, limits: &Limits, top: &DrivePath) -> Result<Self, Error> {
        // The remote's top is "/" and not "", as in the Go plugin: for backends that know
        // the difference (local, sftp) it is the root of the file system.
        let remote = retried(Attempts::default(), || Rclone::start().open(name, "/", sections.clone())).await;
        let remote = remote.map_err(|cause| Error::new("cannot open", &DrivePath::top(), cause))?;
        Ok(Self {
            remote,
            outage: Outage::new(remote, top),
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
        let listed = retried_each(self.attempts(Work::List), folders.len(), |left| {
            self.remote.list(left.iter().map(|&i| folders[i].as_str().to_owned()).collect())
        })
        .await;
        let mut results = Vec::new();
        for (path, result) in folders.iter().zip(listed) {
            results.push(self.judged(Work::List, "cannot list", path, result).await);
        }
        results
    }

    /// Lists one folder, all of it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none; [`Kind::Damaged`] as for [`all_of`].
    pub async fn list_all(&self, folder: &DrivePath) -> Result<Vec<Entry>, Error> {
        let listing = self.list(std::slice::from_ref(folder)).await.swap_remove(0)?;
        all_of(folder, listing)
    }

    /// Lists what can be used of one folder.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none; [`Kind::Damaged`] as for [`usable_of`].
    pub async fn list_usable(&self, folder: &DrivePath) -> Result<Vec<Entry>, Error> {
        let listing = self.list(std::slice::from_ref(folder)).await.swap_remove(0)?;
        usable_of(folder, listing)
    }

    /// Finds a file or a folder.
    ///
    /// # Errors
    /// If it cannot be told whether there is one.
    pub async fn stat(&self, path: &DrivePath) -> Result<Option<Entry>, Error> {
        match retried(self.attempts(Work::List), || self.remote.stat(path.as_str())).await {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => self.judged(Work::List, "cannot look up", path, Err(error)).await,
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
        let made = retried(self.attempts(Work::Write), || self.remote.mkdir(path.as_str())).await;
        self.judged(Work::Write, "cannot make the folder", path, made).await
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
        let set = retried(self.attempts(Work::Write), || self.remote.set_folder_time(path.as_str(), time)).await;
        self.judged(Work::Write, "cannot set the time of", path, set).await
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
        let stored = retried(self.attempts(Work::Write), upload).await;
        match self.judged(Work::Write, "cannot store", path, stored).await?.item {
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
        let deleted = retried_each(self.attempts(Work::Write), files.len(), |left| {
            let asked: Vec<(&str, Option<&File>)> = left.iter().map(|&i| (files[i].0.as_str(), files[i].1)).collect();
            async move { self.remote.delete(&asked, deletion).await }
        })
        .await;
        let mut results = Vec::new();
        for (&(path, _), result) in files.iter().zip(deleted) {
            results.push(self.judged(Work::Write, "cannot delete", path, result).await);
        }
        results
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

    /// Notes that a file was read in full.
    pub fn was_read(&self, file: &File) {
        self.outage.was_read(file);
    }

    /// Returns the error for a file that could not be read. It says whether the
    /// run is over.
    pub async fn unreadable(&self, path: &DrivePath, cause: rclone::Error) -> Error {
        self.outage.judge(Work::Read, Error::new("cannot read", path, cause)).await
    }

    /// Returns the error after which nothing can succeed, if there was one.
    pub fn over(&self) -> Option<Error> {
        self.outage.over()
    }

    /// Waits for the error after which nothing can succeed.
    pub async fn until_over(&self) -> Error {
        self.outage.until_over().await
    }

    /// The attempts that an operation gets.
    fn attempts(&self, work: Work) -> Attempts {
        if self.outage.is_suspected(work) { Attempts::ONE } else { Attempts::default() }
    }

    /// Notes how an operation ended, and says what its error was on.
    async fn judged<T>(
        &self,
        work: Work,
        operation: &'static str,
        path: &DrivePath,
        result: Result<T, rclone::Error>,
    ) -> Result<T, Error> {
        match result {
            Ok(value) => {
                self.outage.worked(work);
                Ok(value)
            }
            Err(cause) => Err(self.outage.judge(work, Error::new(operation, path, cause)).await),
        }
    }
}

/// Returns everything in a listed folder.
///
/// # Errors
/// [`Kind::Damaged`] if there may be more in it than is listed, or if one of its items
/// cannot be used.
pub fn all_of(folder: &DrivePath, listing: Listing) -> Result<Vec<Entry>, Error> {
    match listing.incomplete.or_else(|| listing.invalid.into_iter().next().map(|invalid| invalid.cause)) {
        Some(cause) => Err(Error::new("cannot list all of", folder, cause)),
        None => Ok(listing.entries),
    }
}

/// Returns what can be used of a listed folder.
///
/// # Errors
/// [`Kind::Damaged`] if there may be more in it than is listed.
pub fn usable_of(folder: &DrivePath, listing: Listing) -> Result<Vec<Entry>, Error> {
    match listing.incomplete {
        Some(cause) => Err(Error::new("cannot list all of", folder, cause)),
        None => Ok(listing.entries),
    }
}
