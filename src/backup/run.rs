//! A backup: what is listed, what is read, and the result.

mod sink;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::mpsc;

use self::sink::Sink;
use super::{
    Excludes, FormsFile, Package, Packages, ReadAhead, Root, Versions, VersionsFile,
    walk::{FOLDERS_AHEAD, walk},
};
use crate::{
    drive::{self, Content, Drive, DrivePath, Member},
    rclone::{self, Entry, File, Item, Time},
    report::Summary,
};

/// The number of files without a response after which a backup fails, if no file could be read.
const MAX_UNANSWERED: u64 = 4;

/// The maximum number of lines for the user about what was left out.
const MAX_NOTES: usize = 100;

/// Why a backup failed. Its snapshot is not kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The location does not exist.
    #[error("cannot back up {0}: no such file or folder")]
    Missing(DrivePath),
    /// The location cannot be listed, or no file can be read any more.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// Files failed, and the configuration allows no snapshot without them.
    #[error("{} of {} files failed, and on_partial=fail: {}", .0.failed, .0.files, .0.grouped_causes())]
    Partial(Box<Summary>),
    /// None of the files that plakar opened could be read.
    #[error("none of {} files could be read: {}", .0.failed, .0.grouped_causes())]
    Nothing(Box<Summary>),
    /// The receiver of the listing was dropped.
    #[error("plakar closed the connection during the listing")]
    Disconnected,
}

/// An item of the listing, in the order of the listing.
#[derive(Debug)]
pub enum Listed<'a> {
    /// A folder above the location.
    Ancestor(&'a DrivePath, Time),
    /// A file or a folder.
    Entry(&'a DrivePath, &'a Entry),
    /// A package that is saved as a folder.
    Package(&'a Package),
    /// An item of a package, and its path.
    Member(&'a DrivePath, &'a Package, &'a Member),
    /// A path that could not be listed.
    Failed(&'a DrivePath, &'a drive::Error),
}

/// A backup of a folder or a file.
#[derive(Debug)]
pub struct Backup {
    drive: Drive,
    top: DrivePath,
    excludes: Excludes,
    listings: usize,
    files: ReadAhead,
    /// The packages, if they are saved as folders.
    packages: Option<Arc<Packages>>,
    listed: Mutex<Versions>,
    failed: Mutex<Vec<DrivePath>>,
    /// Lines for the user about what was left out.
    notes: Mutex<Vec<String>>,
    summary: Mutex<Summary>,
    /// Whether plakar has opened a file. An importer that only counts opens none.
    opened: AtomicBool,
    /// Whether a file was read.
    read: AtomicBool,
    /// The number of files that were opened and could not be read.
    unread: AtomicU64,
    /// The number of files for which the service gave no response.
    unanswered: AtomicU64,
}

/// A file that is being read.
#[derive(Debug)]
pub struct Reading {
    backup: Arc<Backup>,
    path: DrivePath,
    file: File,
}

impl Backup {
    /// Returns a backup of `top` with at most `listings` concurrent calls that list folders and at
    /// most `read_ahead` files that are read ahead. With `packages`, packages are saved as folders.
    /// `last` is what the last backup has listed.
    pub fn new(
        drive: Drive,
        top: &DrivePath,
        excludes: Excludes,
        packages: Option<Packages>,
        listings: usize,
        read_ahead: usize,
        last: Versions,
    ) -> Self {
        Self {
            files: ReadAhead::new(drive.clone(), read_ahead, last),
            drive,
            top: top.clone(),
            excludes,
            packages: packages.map(Arc::new),
            listings,
            listed: Mutex::default(),
            failed: Mutex::default(),
            notes: Mutex::default(),
            summary: Mutex::default(),
            opened: AtomicBool::default(),
            read: AtomicBool::default(),
            unread: AtomicU64::default(),
            unanswered: AtomicU64::default(),
        }
    }

    /// Lists the folders above the location, the location, and everything below it. Converts each
    /// item with `record_of`, sends the records and returns their number. Stores in `root` whether
    /// the location is a file.
    ///
    /// # Errors
    /// Fails if the location cannot be listed or nothing can be listed any more.
    pub async fn list<R>(
        &self,
        root: &Root,
        records: &mpsc::Sender<R>,
        record_of: impl Fn(Listed<'_>) -> R,
    ) -> Result<u64, Error> {
        let mut sink = Sink { backup: self, records, record_of, sent: 0 };
        let Some(top) = self.drive.stat(&self.top).await? else {
            return Err(Error::Missing(self.top.clone()));
        };
        if let Err(error) = root.store(matches!(top.item, Item::File(_))) {
            log::warn!("the next backup of {} will read it again: its mark cannot be stored: {error}", self.top);
        }
        for folder in self.top.ancestors() {
            // The folders above the location serve only as the path to it.
            let modified = match self.drive.stat(&folder).await {
                Ok(Some(entry)) => entry.modified,
                _ => Time::UNKNOWN,
            };
            sink.send(Listed::Ancestor(&folder, modified)).await?;
        }
        let is_folder = matches!(top.item, Item::Folder);
        let excluded = self.excludes.is_excluded(&self.top, is_folder).await;
        if excluded.map_err(|cause| drive::Error::new("cannot back up", &self.top, cause))? {
            self.note(format!("nothing is backed up: the rules of ignore leave out {} itself", self.top));
            self.counts().excluded += 1;
            return Ok(sink.sent);
        }
        sink.send_entry(&self.top, &top).await?;
        if is_folder {
            let (sender, found) = mpsc::channel(FOLDERS_AHEAD);
            let walking = walk(&self.drive, &self.top, &self.excludes, self.packages.as_ref(), self.listings, sender);
            let (walked, sent) = tokio::join!(walking, sink.send_all(found));
            walked?;
            sent?;
        }
        Ok(sink.sent)
    }

    /// Opens a file that was listed and not released.
    pub fn open(self: &Arc<Self>, path: &str) -> Option<(Content, Reading)> {
        self.opened.store(true, Ordering::Relaxed);
        let member = self.packages.as_ref().and_then(|packages| packages.open(path));
        let (content, file) = member.or_else(|| self.files.open(path))?;
        let path = DrivePath::parse(path).ok()?;
        Some((content, Reading { backup: Arc::clone(self), path, file }))
    }

    /// Releases a file that plakar no longer needs, and counts it.
    pub fn release(&self, path: &str) {
        if let Some(was_opened) = self.packages.as_ref().and_then(|packages| packages.release(path)) {
            self.count_released(was_opened);
            return;
        }
        let Some((file, was_opened)) = self.files.release(path) else {
            return;
        };
        // Most packages are recognised only when they are opened.
        let is_package = file.is_package || was_opened && file.turned_out_to_be_package();
        self.counts().packages += u64::from(is_package);
        self.count_released(was_opened);
    }

    fn count_released(&self, was_opened: bool) {
        let mut summary = self.counts();
        match was_opened {
            true => summary.read += 1,
            false => summary.unchanged += 1,
        }
    }

    /// Releases all files.
    pub fn release_all(&self) {
        self.files.release_all();
        if let Some(packages) = &self.packages {
            packages.release_all();
        }
    }

    /// Adds a line for the user. Both importers of a backup list everything, so a line is printed only
    /// by the one that reports the result.
    fn note(&self, text: String) {
        let mut notes = lock(&self.notes);
        if notes.len() < MAX_NOTES {
            notes.push(text);
        }
    }

    /// Returns the lines for the user, once.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.notes))
    }

    /// Returns the error that ended the backup, if there is one.
    pub fn fatal_error(&self) -> Option<drive::Error> {
        self.drive.fatal_error()
    }

    /// Waits for an error that ends the backup.
    pub async fn until_fatal_error(&self) -> drive::Error {
        self.drive.until_fatal_error().await
    }

    /// Reports whether plakar has opened a file. For each backup, plakar starts a second importer
    /// that only counts files.
    pub fn was_opened(&self) -> bool {
        self.opened.load(Ordering::Relaxed)
    }

    /// Returns what the backup has done so far.
    pub fn summary(&self) -> Summary {
        let mut summary = self.counts().clone();
        summary.read = summary.read.saturating_sub(self.unread.load(Ordering::Relaxed));
        summary
    }

    /// Stores the versions of the files that a successful backup has listed, and the forms of its
    /// packages.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn store_versions(&self, versions: &VersionsFile, forms: &FormsFile) -> io::Result<()> {
        let mut listed = std::mem::take(&mut *lock(&self.listed));
        listed.sort_without(&lock(&self.failed));
        versions.store(&listed)?;
        match &self.packages {
            Some(packages) => forms.store(packages.take_forms()),
            None => Ok(()),
        }
    }

    /// Reports how a backup ended whose records are all acknowledged. With
    /// `all_or_nothing`, a backup that lacks files fails.
    ///
    /// # Errors
    /// Fails if the backup has failed.
    pub fn verdict(&self, all_or_nothing: bool) -> Result<(), Error> {
        let summary = self.summary();
        if summary.failed == 0 {
            return Ok(());
        }
        if all_or_nothing {
            return Err(Error::Partial(Box::new(summary)));
        }
        let was_read = self.read.load(Ordering::Relaxed);
        if !was_read && self.unanswered.load(Ordering::Relaxed) >= MAX_UNANSWERED {
            return Err(Error::Nothing(Box::new(summary)));
        }
        Ok(())
    }

    fn count_package(&self, is_shared: bool) {
        let mut summary = self.counts();
        summary.folders += 1;
        summary.packages += 1;
        summary.shared += u64::from(is_shared);
    }

    fn count_failed(&self, error: &drive::Error, missing: u64) {
        let mut summary = self.counts();
        summary.fail(&error.cause().text);
        summary.missing += missing;
    }

    fn counts(&self) -> MutexGuard<'_, Summary> {
        lock(&self.summary)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reading {
    /// Counts a piece of the content, or the failure of the file. The returned error is fatal if it
    /// ends the backup.
    pub async fn count(&self, piece: Result<Bytes, rclone::Error>) -> Result<Bytes, drive::Error> {
        match piece {
            Ok(piece) => {
                self.backup.read.store(true, Ordering::Relaxed);
                self.backup.drive.was_read(&self.file);
                self.backup.counts().bytes += piece.len() as u64;
                Ok(piece)
            }
            Err(cause) => {
                let error = self.backup.drive.unreadable(&self.path, cause).await;
                if error.may_be_outage() {
                    self.backup.unanswered.fetch_add(1, Ordering::Relaxed);
                }
                self.backup.counts().fail(&error.cause().text);
                self.backup.unread.fetch_add(1, Ordering::Relaxed);
                lock(&self.backup.failed).push(self.path.clone());
                Err(error)
            }
        }
    }
}
