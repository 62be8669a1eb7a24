//! A drive: the files and folders of one remote of any provider.
//!
//! Backups, restores and klosets share it. It has paths that cannot lead out of the drive, retries,
//! memory limits, and content of exactly the listed length. It has neither gRPC nor JSON, and
//! nothing in it is specific to iCloud.

mod abilities;
mod archive;
mod content;
mod deletion;
mod error;
mod leftovers;
mod outage;
mod pack;
mod package;
mod path;
mod retry;
mod spool;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Semaphore;

pub use archive::{Archive, Member, MemberKind, Refused};
pub use content::{Content, read, read_unchanging};
pub use error::Error;
pub use pack::Packer;
pub use package::unpacked_size;
pub use path::{BadName, DrivePath, are_alike, are_equivalent, folded};
pub use spool::{Spool, Spooled, Spools};

use crate::rclone::{
    self, Entry, File, Form, Item, Kind, Listing, Rclone, Remote, Replacement, Rules, Sections, Time, Trail,
};
use outage::{Outage, Work};
use retry::{Attempts, retried, retried_each};

/// The maximum size of a small upload, in bytes. A small upload mostly waits for responses.
const MAX_SMALL_UPLOAD: u64 = 1024 * 1024;
/// The maximum number of concurrent uploads of files that are not small. They share the bandwidth,
/// and their content waits on the disk.
const MAX_LARGE_UPLOADS: u32 = 8;

/// Limits of a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of concurrent uploads of small files.
    pub uploads: usize,
    /// Bytes of memory for content that waits to be uploaded. More content is written to files.
    pub spool_memory: usize,
    /// The folder for those files. They have no names.
    pub spool_dir: PathBuf,
}

/// An opened remote. Cheap to clone; all clones share the limits.
#[derive(Debug, Clone)]
pub struct Drive {
    remote: Remote,
    spools: Spools,
    uploads: Arc<Semaphore>,
    large_weight: u32,
    outage: Arc<Outage>,
}

/// Whether an upload waits for a free upload slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// It waits.
    Awaited,
    /// It starts at once, because its content is tiny and other processes wait for it.
    NotNeeded,
}

/// A stored file.
#[derive(Debug)]
pub struct Stored {
    /// The file.
    pub file: File,
    /// When it was modified, as the service reports it.
    pub modified: Time,
}

impl Drive {
    /// Opens the section `name` of `sections`, for work in the folder `top`. The temporary names of
    /// uploads under way are stored in a file whose path starts with `leftovers`.
    ///
    /// # Errors
    /// Returns the error of rclone about the configuration, the network or the session.
    pub async fn open(
        name: &str,
        sections: Sections,
        limits: &Limits,
        top: &DrivePath,
        leftovers: Option<&Path>,
    ) -> Result<Self, Error> {
        // The top of the remote is "/" and not "", as in the Go plugin. For backends that
        // distinguish the two (local, sftp), "/" is the root of the file system.
        let remote =
            retried(Attempts::default(), || Rclone::start().open(name, "/", sections.clone(), leftovers)).await;
        let remote = remote.map_err(|cause| Error::new("cannot open", &DrivePath::top(), cause))?;
        Ok(Self {
            remote,
            outage: Outage::new(remote, top),
            spools: Spools::new(limits.spool_memory, &limits.spool_dir),
            uploads: Arc::new(Semaphore::new(limits.uploads)),
            large_weight: u32::try_from(limits.uploads).unwrap_or(u32::MAX).div_ceil(MAX_LARGE_UPLOADS),
        })
    }

    /// Closes the drive for all clones.
    ///
    /// # Errors
    /// Fails if the backend cannot save its state.
    pub async fn close(&self) -> Result<(), Error> {
        self.remote.close().await.map_err(|cause| Error::new("cannot close", &DrivePath::top(), cause))
    }

    /// Lists folders. Returns one result for each.
    pub async fn list(&self, folders: &[DrivePath]) -> Vec<Result<Listing, Error>> {
        self.list_without(folders, None).await
    }

    /// Lists folders as [`Self::list`] does, without the items that `rules` leave out.
    pub async fn list_without(&self, folders: &[DrivePath], rules: Option<Rules>) -> Vec<Result<Listing, Error>> {
        let listed = retried_each(self.attempts(Work::List), folders.len(), |left| {
            self.remote.list(left.iter().map(|&i| folders[i].as_str().to_owned()).collect(), rules)
        })
        .await;
        let mut results = Vec::new();
        for (path, result) in folders.iter().zip(listed) {
            results.push(self.judged(Work::List, "cannot list", path, result).await);
        }
        results
    }

    /// Lists a folder and requires that its listing is complete.
    ///
    /// # Errors
    /// Returns [`Kind::NotFound`] if the folder does not exist, and [`Kind::Damaged`] as for
    /// [`all_of`].
    pub async fn list_all(&self, folder: &DrivePath) -> Result<Vec<Entry>, Error> {
        let listing = self.list(std::slice::from_ref(folder)).await.swap_remove(0)?;
        all_of(folder, listing)
    }

    /// Lists the usable entries of a folder.
    ///
    /// # Errors
    /// Returns [`Kind::NotFound`] if the folder does not exist, and [`Kind::Damaged`] as for
    /// [`usable_of`].
    pub async fn list_usable(&self, folder: &DrivePath) -> Result<Vec<Entry>, Error> {
        let listing = self.list(std::slice::from_ref(folder)).await.swap_remove(0)?;
        usable_of(folder, listing)
    }

    /// Lists the usable entries of a folder, or returns a listing that the backend has in memory.
    ///
    /// # Errors
    /// Fails as [`Self::list_usable`] does.
    pub async fn list_known(&self, folder: &DrivePath) -> Result<Vec<Entry>, Error> {
        let listed = retried(self.attempts(Work::List), || self.remote.list_known(folder.as_str())).await;
        usable_of(folder, self.judged(Work::List, "cannot list", folder, listed).await?)
    }

    /// Finds a file or a folder.
    ///
    /// # Errors
    /// Fails if it cannot be determined whether the path exists.
    pub async fn stat(&self, path: &DrivePath) -> Result<Option<Entry>, Error> {
        match retried(self.attempts(Work::List), || self.remote.stat(path.as_str())).await {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => self.judged(Work::List, "cannot look up", path, Err(error)).await,
        }
    }

    /// Reads a whole file. Returns exactly the listed number of bytes, or an error.
    pub fn read(&self, file: File) -> Content {
        content::read_spooled(file, self.spools.clone())
    }

    /// Reads a whole file of unknown size into a spool.
    ///
    /// # Errors
    /// Fails if it cannot be read in full, and with [`Kind::Unsupported`] if it has more than a
    /// gigabyte.
    pub async fn download(&self, file: File) -> Result<Spooled, rclone::Error> {
        content::download(file, self.spools.clone()).await
    }

    /// Creates a folder and its parents.
    ///
    /// # Errors
    /// Fails if the folder does not exist afterwards.
    pub async fn make_folder(&self, path: &DrivePath, trail: Trail) -> Result<(), Error> {
        let made = retried(self.attempts(Work::Write), || self.remote.mkdir(path.as_str(), trail)).await;
        self.judged(Work::Write, "cannot create the folder", path, made).await
    }

    /// Reports whether names that differ only in their Unicode form or in case may name the same
    /// file.
    pub fn merges_names(&self) -> bool {
        self.remote.merges_names
    }

    /// Reports whether one of several concurrent uploads of the same name with
    /// [`Replacement::Refused`] succeeds and the others fail.
    pub fn creates_exclusively(&self) -> bool {
        self.remote.creates_exclusively
    }

    /// Reports whether names that differ only in case are known to name the same file.
    pub fn folds_case(&self) -> bool {
        self.remote.folds_case
    }

    /// Returns the precision of modification times, or none if the service keeps none.
    pub fn precision(&self) -> Option<Duration> {
        self.remote.precision
    }

    /// Reports whether [`Self::set_folder_time`] is supported.
    pub fn sets_folder_times(&self) -> bool {
        self.remote.sets_folder_times
    }

    /// Sets the modification time of a folder.
    ///
    /// # Errors
    /// Fails if the backend cannot set it.
    pub async fn set_folder_time(&self, path: &DrivePath, time: Time) -> Result<(), Error> {
        let set = retried(self.attempts(Work::Write), || self.remote.set_folder_time(path.as_str(), time)).await;
        self.judged(Work::Write, "cannot set the time of", path, set).await
    }

    /// Returns an empty spool for content to be uploaded.
    pub fn spool(&self) -> Spool {
        self.spools.begin()
    }

    /// Stores a file. The content is stored in full or not at all.
    ///
    /// # Errors
    /// Fails if the file cannot be stored.
    pub async fn upload(
        &self,
        path: &DrivePath,
        modified: Time,
        content: &Spooled,
        replacement: Replacement,
        slot: Slot,
    ) -> Result<Stored, Error> {
        self.upload_as(path, modified, content, replacement, slot, Form::File).await
    }

    /// Stores a file as [`Self::upload`] does, in a form.
    ///
    /// # Errors
    /// Fails if the file cannot be stored in this form.
    pub async fn upload_as(
        &self,
        path: &DrivePath,
        modified: Time,
        content: &Spooled,
        replacement: Replacement,
        slot: Slot,
        form: Form,
    ) -> Result<Stored, Error> {
        let _permit = match slot {
            // The semaphore is never closed, so this returns a permit.
            Slot::Awaited => self.uploads.acquire_many(self.weight(content.size())).await.ok(),
            Slot::NotNeeded => None,
        };
        let upload = || self.remote.upload(path.as_str(), modified, Arc::clone(content.content()), replacement, form);
        let stored = retried(self.attempts(Work::Write), upload).await;
        let entry = self.judged(Work::Write, "cannot store", path, stored).await?;
        match entry.item {
            Item::File(file) => Ok(Stored { file, modified: entry.modified }),
            Item::Folder | Item::Link(_) => {
                let cause = rclone::Error::unexpected("the service stored something else than a file");
                Err(Error::new("cannot store", path, cause))
            }
        }
    }

    /// Returns the number of upload slots that an upload of this size takes.
    pub fn weight(&self, size: u64) -> u32 {
        if size > MAX_SMALL_UPLOAD { self.large_weight } else { 1 }
    }

    /// Returns files of a folder from the names and descriptions that an earlier process has
    /// stored. With `check`, the service confirms that all files are unchanged. Without it, the
    /// network is not used.
    ///
    /// # Errors
    /// Fails if a description cannot be read or a file is not known to be unchanged.
    pub async fn saved(
        &self,
        folder: &DrivePath,
        files: Vec<(String, String)>,
        check: bool,
    ) -> Result<Vec<Entry>, rclone::Error> {
        let in_folder = |(name, saved)| (format!("{folder}/{name}").trim_start_matches('/').to_owned(), saved);
        self.remote.saved(files.into_iter().map(in_folder).collect(), check).await
    }

    /// Waits at most `within` for the replacements and deletions in the background. Returns an
    /// error for each that has failed since the last call or is not done.
    pub async fn wait_for_changes(&self, within: Duration) -> Vec<Error> {
        match Rclone::start().wait_for_changes(within).await {
            Ok(unfinished) => unfinished.into_iter().map(Error::unfinished_change).collect(),
            Err(cause) => vec![Error::new("cannot complete the changes of", &DrivePath::top(), cause)],
        }
    }

    /// Records that a file was read in full.
    pub fn was_read(&self, file: &File) {
        self.outage.was_read(file);
    }

    /// Returns the error for a file that could not be read. The error is fatal if it ends the run.
    pub async fn unreadable(&self, path: &DrivePath, cause: rclone::Error) -> Error {
        self.outage.judge(Work::Read, Error::new("cannot read", path, cause)).await
    }

    /// Returns the error that ended the run, if there is one: after it, no operation can succeed.
    pub fn fatal_error(&self) -> Option<Error> {
        self.outage.fatal_error()
    }

    /// Waits for an error after which no operation can succeed.
    pub async fn until_fatal_error(&self) -> Error {
        self.outage.until_fatal_error().await
    }

    /// Returns how often an operation is attempted.
    fn attempts(&self, work: Work) -> Attempts {
        if self.outage.is_suspected(work) { Attempts::ONE } else { Attempts::default() }
    }

    /// Records how an operation ended, and adds the operation and the path to its error.
    async fn judged<T>(
        &self,
        work: Work,
        operation: &'static str,
        path: &DrivePath,
        result: Result<T, rclone::Error>,
    ) -> Result<T, Error> {
        match result {
            Ok(value) => {
                self.outage.succeeded(work);
                Ok(value)
            }
            Err(cause) => Err(self.outage.judge(work, Error::new(operation, path, cause)).await),
        }
    }
}

/// Returns all entries of a listed folder.
///
/// # Errors
/// Returns [`Kind::Damaged`] if the listing may be incomplete or contains an item that cannot be
/// used.
pub fn all_of(folder: &DrivePath, listing: Listing) -> Result<Vec<Entry>, Error> {
    match listing.incomplete.or_else(|| listing.invalid.into_iter().next().map(|invalid| invalid.cause)) {
        Some(cause) => Err(Error::new("cannot list all of", folder, cause)),
        None => Ok(listing.entries),
    }
}

/// Returns the usable entries of a listed folder.
///
/// # Errors
/// Returns [`Kind::Damaged`] if the listing may be incomplete.
pub fn usable_of(folder: &DrivePath, listing: Listing) -> Result<Vec<Entry>, Error> {
    match listing.incomplete {
        Some(cause) => Err(Error::new("cannot list all of", folder, cause)),
        None => Ok(listing.entries),
    }
}
