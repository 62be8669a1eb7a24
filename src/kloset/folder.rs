//! A folder of a kloset. One listing serves many look-ups of files.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Mutex as AsyncMutex;

use super::{
    batches::Batches,
    journal::LAG,
    saved_listing::{Described, MAX_FILES, SavedListing},
};
use crate::{
    drive::{Drive, DrivePath, Error, Slot, Spooled},
    rclone::{Deletion, Entry, File, Item, Kind, Replacement, Time},
};

/// How long a prefetched listing is used. plakar's cache daemon lists the states right after it has
/// opened the kloset.
const PREFETCH_LIFE: Duration = Duration::from_secs(10);

/// The maximum number of attempts to store a file whose name is unexpectedly taken.
const MAX_PUTS: usize = 3;

/// The files of a folder, as last listed and as changed by this process since then.
#[derive(Debug)]
pub struct Folder {
    drive: Drive,
    path: DrivePath,
    known: Mutex<Known>,
    /// Held while the folder is being listed, so that concurrent callers share one listing.
    listing: AsyncMutex<()>,
    deletions: Batches<Deleted>,
    saved: SavedListing,
    /// Held while the listing is saved, so that the last one is the most recent.
    saving: AsyncMutex<()>,
}

/// A file to be deleted.
#[derive(Debug)]
struct Deleted {
    path: DrivePath,
    file: File,
    on_failure: OnFailure,
}

#[derive(Debug, Default)]
struct Known {
    files: HashMap<Arc<str>, File>,
    /// The files that this process has stored within [`LAG`].
    stored: HashMap<Arc<str>, (File, Instant)>,
    /// The files that this process has deleted within [`LAG`] or is deleting.
    tombstones: HashMap<Arc<str>, Tombstone>,
    /// When the folder was listed, if nothing in it was requested since.
    prefetched: Option<Instant>,
    /// How often the folder was listed. A caller that waited for the listing of another caller need
    /// not list again.
    listings: u64,
    /// Whether this process has stored a file since the last listing.
    is_changed: bool,
}

/// Hides a deleted file from listings that still show it.
#[derive(Debug)]
struct Tombstone {
    /// The version that was deleted.
    version: Arc<str>,
    since: Instant,
}

impl Known {
    /// Adopts a listing, with the changes of this process that it may not show yet.
    fn adopt(&mut self, entries: &[Entry]) {
        self.files = entries.iter().filter_map(file_of).collect();
        self.listings += 1;
        self.is_changed = false;
        self.stored.retain(|_, (_, since)| since.elapsed() < LAG);
        self.tombstones.retain(|_, tombstone| tombstone.since.elapsed() < LAG);
        let tombstones = &self.tombstones;
        self.files.retain(|name, file| tombstones.get(name).is_none_or(|deleted| deleted.version != file.version));
        for (name, (file, _)) in &self.stored {
            // A listing that has the name is used as it is: another process may have stored the
            // file again, and a version that is gone is detected when it is read.
            self.files.entry(Arc::clone(name)).or_insert_with(|| file.clone());
        }
    }
}

impl Folder {
    /// Returns the folder at `path`, which need not exist. `saved` is its saved listing.
    pub fn new(drive: Drive, path: DrivePath, saved: SavedListing) -> Self {
        Self {
            drive,
            path,
            known: Mutex::default(),
            listing: AsyncMutex::default(),
            deletions: Batches::default(),
            saved,
            saving: AsyncMutex::default(),
        }
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &DrivePath {
        &self.path
    }

    /// Lists the folder, unless it was listed already. If the listing fails, a later call lists again
    /// and returns its own error.
    pub async fn prefetch(&self) -> Vec<Entry> {
        let _listing = self.listing.lock().await;
        if self.known().listings > 0 {
            return Vec::new();
        }
        match self.entries().await {
            Ok(entries) => {
                self.known().adopt(&entries);
                entries
            }
            Err(error) => {
                log::info!("{error}");
                Vec::new()
            }
        }
    }

    /// Returns the listing that an earlier process has saved, if it has changed the folder within the
    /// last minute.
    pub async fn saved_listing(&self) -> Option<Vec<Described>> {
        self.saved.read().await
    }

    /// Adopts a saved listing and returns its entries. Returns none if `items`, the
    /// number of items in the folder, differs: then another machine has changed the folder.
    pub async fn adopt(&self, saved: Vec<Described>, items: Option<u64>) -> Option<Vec<Entry>> {
        if items != Some(saved.len() as u64) {
            return None;
        }
        match self.drive.saved(&self.path, saved, false).await {
            Ok(entries) => {
                self.adopt_prefetched(&entries);
                Some(entries)
            }
            Err(error) => {
                log::info!("the saved listing of {} is not used: {error}", self.path);
                None
            }
        }
    }

    /// Saves the files as a listing for the next process, if all of them are known.
    async fn save_listing(&self) {
        let _saving = self.saving.lock().await;
        let (names, files): (Vec<_>, Vec<_>) = {
            let known = self.known();
            if known.listings == 0 || known.files.len() > MAX_FILES {
                return;
            }
            known.files.iter().map(|(name, file)| (name.to_string(), file.clone())).unzip()
        };
        let Ok(described) = File::save(&files.iter().collect::<Vec<_>>()).await else {
            return; // the next process lists the folder
        };
        let all: Option<Vec<Described>> =
            names.into_iter().zip(described).map(|(name, text)| Some((name, text?))).collect();
        if let Some(all) = all {
            self.saved.write(all).await;
        }
    }

    /// Reports whether this process has stored a file since the last listing.
    pub fn is_changed(&self) -> bool {
        self.known().is_changed
    }

    /// Adopts a listing that was made together with another one. The next call of [`Self::list`]
    /// uses it if it is made within [`PREFETCH_LIFE`].
    pub fn adopt_prefetched(&self, entries: &[Entry]) {
        let mut known = self.known();
        known.adopt(entries);
        known.prefetched = Some(Instant::now());
    }

    /// Lists the folder. A folder that does not exist is empty.
    ///
    /// # Errors
    /// Fails if the listing fails.
    pub async fn list(&self) -> Result<Vec<(Arc<str>, File)>, Error> {
        let listing = self.listing.lock().await;
        let prefetched = self.known().prefetched.take();
        if prefetched.is_none_or(|at| at.elapsed() >= PREFETCH_LIFE) {
            self.refresh().await?;
        }
        drop(listing);
        Ok(self.known().files.iter().map(|(name, file)| (Arc::clone(name), file.clone())).collect())
    }

    /// Finds a file by name. If the name is unknown, the folder is listed once.
    ///
    /// # Errors
    /// Fails if the listing fails.
    pub async fn file(&self, name: &str) -> Result<Option<File>, Error> {
        let seen = {
            let known = self.known();
            if let Some(file) = known.files.get(name) {
                return Ok(Some(file.clone()));
            }
            known.listings
        };
        let _listing = self.listing.lock().await;
        if self.known().listings == seen {
            self.refresh().await?;
        }
        Ok(self.known().files.get(name).cloned())
    }

    /// Finds a file by name after the file `stale` could not be read: another process may have
    /// replaced or deleted it.
    ///
    /// # Errors
    /// Fails if the listing fails.
    pub async fn file_instead_of(&self, name: &str, stale: &File) -> Result<Option<File>, Error> {
        let _listing = self.listing.lock().await;
        let is_stale = self.known().files.get(name).is_none_or(|file| file.version == stale.version);
        if is_stale {
            self.known().stored.remove(name);
            self.refresh().await?;
        }
        Ok(self.known().files.get(name).cloned())
    }

    async fn refresh(&self) -> Result<(), Error> {
        let entries = self.entries().await?;
        self.known().adopt(&entries);
        Ok(())
    }

    async fn entries(&self) -> Result<Vec<Entry>, Error> {
        match self.drive.list_all(&self.path).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
            entries => entries,
        }
    }

    /// Stores a file and replaces an existing file of the same name. Returns the stored file.
    ///
    /// The names are MACs, so a name that is not known is assumed to be new: the folder is not listed
    /// to look for it. If another process has stored the file meanwhile, it is replaced.
    ///
    /// # Errors
    /// Fails if the file cannot be stored in full.
    pub async fn put(&self, name: &str, content: &Spooled, slot: Slot) -> Result<File, Error> {
        let path = self.path_for_put(name).await?;
        let is_known = self.known().files.contains_key(name);
        let mut replacement = if is_known { Replacement::Awaited } else { Replacement::Refused };
        let mut tries = 0;
        let file = loop {
            tries += 1;
            match self.drive.upload(&path, Time::now(), content, replacement, slot).await {
                Err(error) if error.kind() == Kind::Exists && tries < MAX_PUTS => replacement = Replacement::Awaited,
                stored => break stored?.file,
            }
        };
        self.add_stored(name, file.clone());
        self.save_listing().await;
        Ok(file)
    }

    /// Returns the path of a file to be stored. Waits for a deletion of the same name that is under
    /// way.
    async fn path_for_put(&self, name: &str) -> Result<DrivePath, Error> {
        let is_deleted = self.known().tombstones.contains_key(name);
        if is_deleted {
            self.deletions.done().await;
        }
        self.child(name)
    }

    fn add_stored(&self, name: &str, file: File) {
        let (name, mut known) = (Arc::<str>::from(name), self.known());
        known.tombstones.remove(&name);
        known.stored.insert(Arc::clone(&name), (file.clone(), Instant::now()));
        known.files.insert(name, file);
        known.is_changed = true;
    }

    /// Deletes a file permanently, in the background. The file is no longer listed. Reports whether
    /// the file exists. A name alone is not enough to delete a file, because another process may
    /// store a file of that name before the deletion begins.
    ///
    /// # Errors
    /// Fails if the name is unknown and the listing fails.
    pub async fn delete(self: &Arc<Self>, name: &str, on_failure: OnFailure) -> Result<bool, Error> {
        let path = self.child(name)?;
        let Some(file) = self.file(name).await? else {
            return Ok(false);
        };
        {
            let (name, mut known) = (Arc::<str>::from(name), self.known());
            known.stored.remove(&name);
            known.files.remove(&name);
            let version = Arc::clone(&file.version);
            known.tombstones.insert(name, Tombstone { version, since: Instant::now() });
        }
        if self.deletions.add(Deleted { path, file, on_failure }) {
            let folder = Arc::clone(self);
            tokio::spawn(async move {
                while let Some(batch) = folder.deletions.next().await {
                    folder.delete_batch(&batch).await;
                    folder.deletions.finish(&batch);
                }
            });
        }
        Ok(true)
    }

    async fn delete_batch(&self, batch: &[Deleted]) {
        let files: Vec<_> = batch.iter().map(|deleted| (&deleted.path, &deleted.file)).collect();
        let results = self.drive.delete_all(&files, Deletion::Permanent).await;
        let is_gone = |error: &Error| error.kind() == Kind::NotFound;
        let mut failures = batch.iter().zip(results).filter_map(|(deleted, result)| {
            let error = result.err().filter(|error| !is_gone(error))?;
            if deleted.on_failure == OnFailure::ListAgain {
                self.known().tombstones.remove(deleted.path.name());
            }
            Some((error, deleted.on_failure.advice()))
        });
        if let Some((error, advice)) = failures.next() {
            log::warn!("{error}; {advice}");
            let more = failures.count();
            if more > 0 {
                log::warn!("{more} more files of {} cannot be deleted either", self.path);
            }
        }
    }

    /// Waits until few deletions are left.
    pub async fn deletions_have_room(&self) {
        self.deletions.have_room().await;
    }

    /// Waits until no deletion is waiting or under way.
    pub async fn deletions_done(&self) {
        self.deletions.done().await;
    }

    fn child(&self, name: &str) -> Result<DrivePath, Error> {
        self.path.child(name).map_err(|bad| Error::bad_name(&self.path, bad))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happens to a file whose deletion fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The file is listed again.
    ListAgain,
    /// The file stays hidden: it is a lock, and its command has ended.
    Hide,
}

impl OnFailure {
    fn advice(self) -> &'static str {
        match self {
            Self::ListAgain => "a later `plakar maintenance` deletes it",
            Self::Hide => "until the lock expires after 10 minutes, other machines may find the kloset locked",
        }
    }
}

fn file_of(entry: &Entry) -> Option<(Arc<str>, File)> {
    match &entry.item {
        Item::File(file) => Some((entry.name().into(), file.clone())),
        Item::Folder | Item::Link(_) => None,
    }
}
