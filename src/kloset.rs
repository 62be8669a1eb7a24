//! A kloset on a drive: its layout, its objects, and the caches of their content.

mod batches;
mod blocks;
mod claim;
mod disk;
mod folder;
mod journal;
mod layout;
mod local_copies;
mod open;
mod process;
mod saved_listing;

use std::{
    collections::{HashMap, HashSet},
    io,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio_util::task::TaskTracker;

pub use layout::{Mac, Resource, is_kloset};

use self::{
    blocks::Blocks,
    folder::{Folder, OnFailure},
    journal::{Change, Journal},
    local_copies::LocalCopies,
    saved_listing::SavedListing,
};
use crate::{
    drive::{self, Content, Drive, DrivePath, Slot, Spool, Spooled},
    rclone::{self, File, Kind},
};

/// The first pause before a folder is listed again because its listing lags behind a change of this
/// machine. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Limits of the caches of a kloset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of memory for cached content of packfiles and states.
    pub memory: u64,
    /// The folder of the disk cache for the same content, and its size in bytes, if there is one.
    pub disk: Option<(PathBuf, u64)>,
    /// The folder for copies of configurations and for journals, if there is one.
    pub copies_dir: Option<PathBuf>,
}

/// A failed operation on a kloset.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation on the drive failed.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// A kloset was to be created in a folder that already holds one.
    #[error("{0} holds a kloset already; give another location, or use that kloset")]
    Exists(DrivePath),
    /// Another process is creating a kloset in the folder.
    #[error(
        "another process is creating a kloset here: it has stored {path}; try again when it has finished, or in {seconds} seconds if it was killed"
    )]
    BeingCreated {
        /// The claim of the other process.
        path: DrivePath,
        /// The seconds until the claim expires.
        seconds: i64,
    },
    /// The location differs only in case from the name of the folder in the drive.
    #[error("{location} is called {actual} in the drive; correct the location")]
    OtherCase {
        /// The location as it was configured.
        location: DrivePath,
        /// The path as the drive has it.
        actual: DrivePath,
    },
    /// The folder holds no kloset.
    #[error("{0} holds no kloset: there is no file CONFIG; `plakar at LOCATION create` creates one")]
    Missing(DrivePath),
    /// The folder holds objects of a kloset without its configuration, without which they cannot be
    /// read. Another configuration would make them, and all that is stored with it, unreadable.
    #[error(
        "{0} holds a kloset whose file CONFIG is missing; put CONFIG back (in iCloud it may be in Recently Deleted), or give another location"
    )]
    NoConfiguration(DrivePath),
    /// The object does not exist.
    #[error("{0} does not exist")]
    NoObject(DrivePath),
}

/// The objects of a kloset: a configuration, and a folder for each resource.
#[derive(Debug)]
pub struct Kloset {
    drive: Drive,
    top: DrivePath,
    packfiles: Arc<Folder>,
    states: Arc<Folder>,
    locks: Arc<Folder>,
    blocks: Blocks,
    copies: LocalCopies,
    journal: Journal,
    /// Whether plakar has requested any object or listing.
    requested: Arc<AtomicBool>,
    /// Whether this process has created the kloset.
    is_created: AtomicBool,
    /// Claims that are being withdrawn, and the removal of what killed processes have left.
    cleanups: TaskTracker,
    /// Whether the files that killed processes have left are removed.
    is_tidied: AtomicBool,
    /// The locks that this process has stored and not deleted yet, each as it was last stored.
    own_locks: Mutex<HashMap<Mac, Option<OwnLock>>>,
}

/// A lock of this process. No other process overwrites it, because plakar gives each lock a random
/// name (K/repository/lock.go).
#[derive(Debug)]
struct OwnLock {
    version: Arc<str>,
    content: Bytes,
}

impl Kloset {
    /// Returns the kloset in a folder, which need not exist yet. `origin` distinguishes the drive
    /// from those of other accounts in shared cache folders.
    pub fn new(drive: &Drive, top: &DrivePath, origin: &str, limits: &CacheLimits) -> Self {
        let folder = |resource: Resource| {
            let path = inside(top, resource.folder());
            // A saved listing lacks the locks of other machines, so locks are always listed.
            let saved =
                SavedListing::new(limits.copies_dir.as_deref().filter(|_| resource.is_immutable()), origin, &path);
            Arc::new(Folder::new(drive.clone(), path, saved))
        };
        Self {
            drive: drive.clone(),
            top: top.clone(),
            packfiles: folder(Resource::Packfile),
            states: folder(Resource::State),
            locks: folder(Resource::Lock),
            blocks: Blocks::new(limits.memory, limits.disk.clone(), origin),
            copies: LocalCopies::new(limits.copies_dir.as_deref(), origin),
            journal: Journal::new(limits.copies_dir.as_deref(), origin, top),
            requested: Arc::default(),
            is_created: AtomicBool::new(false),
            cleanups: TaskTracker::new(),
            // iCloud's uploads of objects have their names from the start.
            is_tidied: AtomicBool::new(drive.creates_exclusively()),
            own_locks: Mutex::default(),
        }
    }

    /// Returns the MACs of the objects of a resource. Files that are no objects are skipped.
    ///
    /// # Errors
    /// Fails if the listing fails.
    pub async fn list(&self, resource: Resource) -> Result<Vec<Mac>, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let files = self.folder(resource).list().await?;
            let listed: HashSet<Mac> = files.iter().filter_map(|(name, _)| Mac::from_name(name)).collect();
            let recent = self.journal.recent().await;
            let lags = |&(kind, mac): &(Resource, Mac)| kind == resource && !listed.contains(&mac);
            if recent.stored.iter().any(lags) {
                // The loop ends at the latest when the change is no longer recent.
                tokio::time::sleep(pause).await;
                pause *= 2;
                continue;
            }
            let mut macs = listed;
            macs.retain(|mac| !recent.deleted.contains(&(resource, *mac)));
            if resource == Resource::Lock {
                for abandoned in recent.abandoned_locks() {
                    if macs.remove(&abandoned) {
                        self.delete(Resource::Lock, abandoned).await?;
                    }
                }
            }
            return Ok(macs.into_iter().collect());
        }
    }

    /// Returns the total size of all objects in bytes.
    ///
    /// # Errors
    /// Fails if a listing fails.
    pub async fn size(&self) -> Result<u64, Error> {
        let mut size = 0;
        for resource in Resource::ALL {
            size += self.folder(resource).list().await?.iter().filter_map(|(_, file)| file.size).sum::<u64>();
        }
        Ok(size)
    }

    /// Returns an empty spool for an object.
    pub fn spool(&self) -> Spool {
        self.drive.spool()
    }

    /// Returns the error for an object whose spool failed.
    pub fn spool_error(&self, resource: Resource, mac: Mac, error: &io::Error) -> drive::Error {
        drive::Error::spool(&self.path(resource, mac), error)
    }

    /// Stores an object and replaces an existing object of the same name.
    ///
    /// # Errors
    /// Fails if the object is not stored in full.
    pub async fn put(&self, resource: Resource, mac: Mac, content: &Spooled) -> Result<(), Error> {
        if !self.is_tidied.swap(true, Ordering::Relaxed) {
            let drive = self.drive.clone();
            self.cleanups.spawn(async move { drive.tidy().await });
        }
        let (folder, name) = (self.folder(resource), mac.to_string());
        if resource == Resource::Lock {
            self.own_locks().insert(mac, None);
            // The lock is recorded before the upload because the process may be killed between the
            // two.
            self.journal.append(vec![Change::Locked(mac)]).await;
            // plakar refreshes its lock every 5 minutes and ignores locks that are 10 minutes old,
            // so a lock must not wait for the uploads of packfiles over a slow link.
            let version = folder.put(&name, content, Slot::NotNeeded).await?.version;
            if let Some(content) = content.in_memory() {
                self.own_locks().insert(mac, Some(OwnLock { version, content }));
            }
        } else {
            let result = folder.put(&name, content, Slot::Awaited).await;
            self.blocks.forget(&self.path(resource, mac));
            result?;
        }
        self.journal.append(vec![Change::Stored(resource, mac)]).await;
        Ok(())
    }

    /// Reads an object or a part of it.
    ///
    /// # Errors
    /// Fails if the object does not exist.
    pub async fn get(&self, resource: Resource, mac: Mac, part: Option<Range<u64>>) -> Result<Content, Error> {
        if let Some(error) = self.drive.fatal_error() {
            return Err(error.into());
        }
        let (folder, name, path) = (self.folder(resource), mac.to_string(), self.path(resource, mac));
        let no_object = || Error::NoObject(path.clone());
        let read = |file: &File| {
            if resource.is_immutable() {
                self.blocks.read(&path, file.clone(), part.clone())
            } else {
                drive::read(file.clone(), part.clone())
            }
        };
        let file = folder.file(&name).await?.ok_or_else(no_object)?;
        if resource == Resource::Lock && part.is_none() {
            // plakar reads its own lock back before it begins. That needs no request.
            if let Some(Some(lock)) = self.own_locks().get(&mac)
                && lock.version == file.version
            {
                return Ok(lock.content.clone().into());
            }
        }
        let mut content = read(&file);
        let Err(error) = content.begin().await else {
            self.drive.was_read(&file);
            return Ok(content);
        };
        if !matches!(error.kind, Kind::NotFound | Kind::Changed) {
            return Ok(content);
        }
        // Another process has deleted the object or stored it again, as plakar does with a lock.
        let instead = folder.file_instead_of(&name, &file).await?.ok_or_else(no_object)?;
        Ok(if instead.version == file.version { content } else { read(&instead) })
    }

    /// Returns the error for an object that could not be read. The error is fatal if it ends the
    /// run.
    pub async fn unreadable(&self, resource: Resource, mac: Mac, cause: rclone::Error) -> drive::Error {
        self.drive.unreadable(&self.path(resource, mac), cause).await
    }

    /// Deletes an object permanently, in the background. The object is no longer listed. Waits only
    /// if many deletions are under way.
    ///
    /// # Errors
    /// Fails if the object is unknown and the listing fails. A later failure is logged when it
    /// happens.
    pub async fn delete(&self, resource: Resource, mac: Mac) -> Result<(), Error> {
        let folder = self.folder(resource);
        let on_failure = if resource == Resource::Lock { OnFailure::Hide } else { OnFailure::ListAgain };
        let existed = folder.delete(&mac.to_string(), on_failure).await?;
        self.blocks.forget(&self.path(resource, mac));
        if resource == Resource::Lock {
            self.own_locks().remove(&mac);
        }
        // The journal may list a lock of a killed process that no longer exists.
        if existed || resource == Resource::Lock {
            self.journal.append(vec![Change::Deleted(resource, mac)]).await;
        }
        folder.deletions_have_room().await;
        Ok(())
    }

    /// Deletes the locks that this process has stored and plakar has not deleted, and the locks of
    /// killed processes of this machine. They would block other commands for ten minutes. Waits for
    /// all deletions.
    pub async fn shut_down(&self) {
        let mut locks: Vec<Mac> = self.own_locks().drain().map(|(mac, _)| mac).collect();
        locks.extend(self.journal.recent().await.abandoned_locks());
        for mac in locks {
            if let Err(error) = self.delete(Resource::Lock, mac).await {
                log::warn!("{error}");
            }
        }
        self.cleanups.close();
        tokio::join!(
            self.locks.deletions_done(),
            self.deletions_done(),
            self.cleanups.wait(),
            self.list_changed_folders()
        );
    }

    /// Lists the folders that this process has changed, so that a later command does not make the
    /// slow first listing after a change. The locks are left out: the next command changes them
    /// before it lists them.
    async fn list_changed_folders(&self) {
        let folders = [&self.packfiles, &self.states].into_iter().filter(|folder| folder.is_changed());
        let mut paths: Vec<DrivePath> = folders.map(|folder| folder.path().clone()).collect();
        if self.is_created.load(Ordering::Relaxed) {
            paths.extend([self.top.parent(), self.top.clone()]);
        }
        if !paths.is_empty() && self.drive.fatal_error().is_none() {
            for error in self.drive.list(&paths).await.into_iter().filter_map(Result::err) {
                log::info!("{error}");
            }
        }
    }

    /// Waits until all packfiles and states that plakar has deleted are gone from the drive.
    pub async fn deletions_done(&self) {
        self.packfiles.deletions_done().await;
        self.states.deletions_done().await;
    }

    fn own_locks(&self) -> MutexGuard<'_, HashMap<Mac, Option<OwnLock>>> {
        self.own_locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, resource: Resource) -> &Arc<Folder> {
        self.requested.store(true, Ordering::Relaxed);
        match resource {
            Resource::Packfile => &self.packfiles,
            Resource::State => &self.states,
            Resource::Lock => &self.locks,
        }
    }

    fn path(&self, resource: Resource, mac: Mac) -> DrivePath {
        inside(&inside(&self.top, resource.folder()), &mac.to_string())
    }
}

/// Returns the path of a file of the layout inside a folder. All names of the layout are valid.
fn inside(folder: &DrivePath, name: &str) -> DrivePath {
    folder.child(name).unwrap_or_else(|_| folder.clone())
}
