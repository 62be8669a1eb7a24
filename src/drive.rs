//! A drive: the files and folders of one remote, whatever its provider.
//!
//! What lies between plakar's view and rclone's: paths that cannot lead out,
//! retries, budgets, content that is exactly as long as it should be. Nothing
//! here knows gRPC or JSON, and nothing here is special to iCloud.

mod blocks;
mod content;
mod disk;
mod error;
mod excludes;
mod folder;
mod kept;
mod path;
mod read_ahead;
mod retry;
mod spool;
mod walk;

use std::{ops::Range, path::PathBuf, sync::Arc};

use tokio::sync::Semaphore;

pub use content::Content;
pub use error::Error;
pub use excludes::Excludes;
pub use folder::Folder;
pub use path::{BadName, DrivePath};
pub use read_ahead::ReadAhead;
pub use spool::{Spool, Spooled, Spools};
pub use walk::{Found, walk};

use crate::rclone::{self, Entry, File, Item, Kind, Listing, Rclone, Remote, Sections, Time};
use blocks::Blocks;
use bytes::Bytes;
use kept::Kept;
use retry::{Attempts, retried};

/// Bounds of a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory for content of files that do not change.
    pub cache_memory: u64,
    /// A folder for the same and how many bytes it may have, if any.
    pub cache_disk: Option<(PathBuf, u64)>,
    /// A folder for small files that every process reads first, if any.
    pub kept_dir: Option<PathBuf>,
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
    blocks: Blocks,
    kept: Kept,
    spools: Spools,
    uploads: Arc<Semaphore>,
}

impl Drive {
    /// Opens the section `name` of `sections`. `origin` tells it from the drives
    /// of other accounts.
    ///
    /// # Errors
    /// Whatever rclone says about configuration, network and session.
    pub async fn open(name: &str, sections: Sections, origin: &str, limits: &Limits) -> Result<Self, Error> {
        // The top is "/" and not "", as in the Go plugin: for backends that know
        // the difference (local, sftp) it is the root of the file system.
        let remote = retried(|| Rclone::start().open(name, "/", sections.clone())).await;
        Ok(Self {
            remote: remote.map_err(|cause| Error::new("cannot open", &DrivePath::top(), cause))?,
            blocks: Blocks::new(limits.cache_memory, limits.cache_disk.clone(), origin),
            kept: Kept::new(limits.kept_dir.as_deref(), origin),
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
            let open: Vec<usize> = (0..folders.len()).filter(|&i| !matches!(listed[i], Some(Ok(_)))).collect();
            let paths = open.iter().map(|&i| folders[i].as_str().to_owned()).collect();
            match self.remote.list(paths).await {
                Ok(results) => open.iter().zip(results).for_each(|(&i, result)| listed[i] = Some(result)),
                Err(error) => open.iter().for_each(|&i| listed[i] = Some(Err(error.clone()))),
            }
            let failures = listed.iter().flatten().filter_map(|result| result.as_ref().err());
            let Some(retryable) = failures.clone().find(|error| error.retry) else {
                break;
            };
            match attempts.pause_after(retryable) {
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
    /// it than is listed.
    pub async fn list_one(&self, folder: &DrivePath) -> Result<Vec<Entry>, Error> {
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

    /// Reads a file or a part of it. Exactly the listed bytes come, or an error.
    pub fn read(&self, file: File, part: Option<Range<u64>>) -> Content {
        content::read(file, part)
    }

    /// Reads a file that is never changed, only deleted, or a part of it: through
    /// the cache. Exactly the listed bytes come, or an error.
    pub fn read_unchanging(&self, path: &DrivePath, file: File, part: Option<Range<u64>>) -> Content {
        self.blocks.read(path, file, part)
    }

    /// Brings the end of a file that is never changed into the cache, before anybody
    /// asks for it.
    pub fn look_at_end(&self, path: &DrivePath, file: File) {
        if let Some(size) = file.size {
            // What is on its way comes without a reader too; why it does not come is
            // for whoever asks then.
            drop(self.blocks.read(path, file, Some(size.saturating_sub(1)..size)));
        }
    }

    /// The content of a small file that every process reads and that hardly ever
    /// changes: from this machine's disk, if an earlier process has kept the version
    /// that a listing shows.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn read_kept(&self, path: &DrivePath, file: File, modified: Time) -> Result<Bytes, Error> {
        self.kept.read(path, file, modified).await.map_err(|cause| Error::new("cannot read", path, cause))
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
    pub async fn upload(&self, path: &DrivePath, modified: Time, content: &Spooled) -> Result<File, Error> {
        // Never closed, so the permit is there.
        let _permit = self.uploads.acquire().await;
        self.upload_at_once(path, modified, content).await
    }

    /// The same beside all uploads that wait or are under way: for a few bytes
    /// that others wait for.
    ///
    /// # Errors
    /// If it cannot be stored.
    pub async fn upload_at_once(&self, path: &DrivePath, modified: Time, content: &Spooled) -> Result<File, Error> {
        let upload = || self.remote.upload(path.as_str(), modified, Arc::clone(content.content()));
        let result = retried(upload).await;
        self.blocks.forget(path);
        let entry = result.map_err(|cause| Error::new("cannot store", path, cause))?;
        match entry.item {
            Item::File(file) => Ok(file),
            Item::Folder => {
                let cause = rclone::Error::unexpected("a folder is there afterwards");
                Err(Error::new("cannot store", path, cause))
            }
        }
    }

    /// Deletes a file: the kept one if given, else the one at the path.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none.
    pub async fn delete(&self, path: &DrivePath, kept: Option<&File>) -> Result<(), Error> {
        let result = retried(|| self.remote.delete(path.as_str(), kept)).await;
        self.blocks.forget(path);
        result.map_err(|cause| Error::new("cannot delete", path, cause))
    }
}
