//! A kloset on a drive.

mod claim;

use std::{
    collections::HashMap,
    io,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use plakar_protocol::store::StorageResource;

use self::claim::Claim;
use super::layout::{self, CONFIG, RESOURCES};
use crate::{
    drive::{self, Content, Drive, DrivePath, Folder, Spool, Spooled},
    rclone::{Entry, File, Item, Kind, Time},
};

/// What goes wrong with a kloset.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The drive says no.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// A new kloset was to replace another.
    #[error("{0} holds a kloset already; give another location, or use that kloset")]
    Exists(DrivePath),
    /// Somebody else makes one at the same time.
    #[error(
        "another process is making a kloset here, as {path} tells; try again when that is done, or in {seconds} seconds if it was killed"
    )]
    BeingMade {
        /// The claim of the other.
        path: DrivePath,
        /// How long it counts.
        seconds: i64,
    },
    /// There is none.
    #[error("{0} holds no kloset: there is no file CONFIG; `plakar at LOCATION create` makes one")]
    Missing(DrivePath),
    /// An object that should be there.
    #[error("{0} is not there")]
    NoObject(DrivePath),
    /// Something that this layout does not know.
    #[error("this store keeps packfiles, states and locks, not {0}")]
    Unsupported(&'static str),
}

/// The objects of a kloset: a configuration, and a folder for each resource.
#[derive(Debug)]
pub struct Kloset {
    drive: Drive,
    top: DrivePath,
    folders: HashMap<&'static str, Arc<Folder>>,
    /// Whether plakar has asked for anything of a folder.
    asked: Arc<AtomicBool>,
    /// Locks that this process has put and not deleted, as they were stored last.
    own_locks: Mutex<HashMap<String, Option<OwnLock>>>,
}

/// A lock of this process's, which no other stores again: plakar names each by chance
/// (K/repository/lock.go).
#[derive(Debug)]
struct OwnLock {
    version: Arc<str>,
    content: Bytes,
}

impl Kloset {
    /// The kloset in a folder, which need not be there yet.
    pub fn new(drive: &Drive, top: &DrivePath) -> Self {
        let folder = |name| (name, Arc::new(Folder::new(drive.clone(), inside(top, name))));
        let folders = RESOURCES.into_iter().filter_map(layout::folder).map(folder).collect();
        Self { drive: drive.clone(), top: top.clone(), folders, asked: Arc::default(), own_locks: Mutex::default() }
    }

    /// Makes a kloset.
    ///
    /// # Errors
    /// If there is one, or somebody else makes one right now.
    pub async fn create(&self, configuration: Bytes) -> Result<(), Error> {
        if self.find_configuration().await?.is_some() {
            return Err(Error::Exists(self.top.clone()));
        }
        self.drive.make_folder(&self.top).await?;
        let mut tries = 0;
        loop {
            let claim = Claim::make(self).await?;
            let result = self.create_under(&claim, &configuration).await;
            let pause = claim.pause();
            claim.withdraw(self).await;
            match result {
                Err(Error::BeingMade { .. }) if tries < CLAIM_TRIES => tokio::time::sleep(pause).await,
                result => return result,
            }
            tries += 1;
        }
    }

    async fn create_under(&self, claim: &Claim, configuration: &Bytes) -> Result<(), Error> {
        claim.must_be_alone(self).await?;
        for name in RESOURCES.into_iter().filter_map(layout::folder) {
            self.drive.make_folder(&inside(&self.top, name)).await?;
        }
        self.drive.upload(&inside(&self.top, CONFIG), Time::now(), &configuration.clone().into()).await?;
        Ok(())
    }

    /// The bytes that Create was given. Looks ahead at the packfiles: between this and
    /// its first read of one, plakar waits for its cache daemon, which opens the kloset
    /// too.
    ///
    /// # Errors
    /// If there is no kloset.
    pub async fn configuration(&self) -> Result<Bytes, Error> {
        let entries = match self.drive.list_one(&self.top).await {
            Err(error) if error.kind() == Kind::NotFound => Vec::new(),
            entries => entries?,
        };
        let mut configuration = None;
        for entry in entries {
            match (entry.name(), entry.children) {
                (name, Some(..FEW)) if layout::folder(StorageResource::Packfile) == Some(name) => {
                    self.look_ahead(name);
                }
                (CONFIG, _) => configuration = Some(entry),
                _ => {}
            }
        }
        match configuration {
            Some(Entry { item: Item::File(file), modified, .. }) => {
                Ok(self.drive.read_kept(&inside(&self.top, CONFIG), file, modified).await?)
            }
            _ => Err(Error::Missing(self.top.clone())),
        }
    }

    /// Lists packfiles and, while plakar asks for nothing, reads the ends of the newest.
    /// The daemon, which reads none, lists the states by then.
    fn look_ahead(&self, packfiles: &str) {
        let Some(folder) = self.folders.get(packfiles).cloned() else {
            return;
        };
        let (drive, asked) = (self.drive.clone(), Arc::clone(&self.asked));
        tokio::spawn(async move {
            for (name, file) in folder.look_ahead(NEWEST).await {
                if !asked.load(Ordering::Relaxed) {
                    drive.look_at_end(&inside(folder.path(), &name), file);
                }
            }
        });
    }

    async fn find_configuration(&self) -> Result<Option<File>, drive::Error> {
        let entry = self.drive.stat(&inside(&self.top, CONFIG)).await?;
        Ok(entry.and_then(|entry| match entry.item {
            Item::File(file) => Some(file),
            Item::Folder => None,
        }))
    }

    /// The MACs of a resource. What is not the kloset's is passed over.
    ///
    /// # Errors
    /// If the listing fails.
    pub async fn list(&self, resource: StorageResource) -> Result<Vec<Vec<u8>>, Error> {
        let files = self.folder(resource)?.list().await?;
        Ok(files.iter().filter_map(|(name, _)| layout::mac(name)).collect())
    }

    /// Bytes of all objects.
    ///
    /// # Errors
    /// If a listing fails.
    pub async fn size(&self) -> Result<u64, Error> {
        let mut size = 0;
        for folder in self.folders.values() {
            size += folder.list().await?.iter().filter_map(|(_, file)| file.size).sum::<u64>();
        }
        Ok(size)
    }

    /// A spool for an object.
    pub fn spool(&self) -> Spool {
        self.drive.spool()
    }

    /// The error of a spool for an object.
    pub fn spool_error(&self, resource: StorageResource, name: &str, error: &io::Error) -> drive::Error {
        let folder = layout::folder(resource).unwrap_or_default();
        drive::Error::spool(&inside(&inside(&self.top, folder), name), error)
    }

    /// Stores an object, in place of the one of that name.
    ///
    /// # Errors
    /// If it is not stored in full.
    pub async fn put(&self, resource: StorageResource, name: &str, content: &Spooled) -> Result<(), Error> {
        let folder = self.folder(resource)?;
        if resource == StorageResource::Lock {
            self.locks().insert(name.to_owned(), None);
            // plakar refreshes its lock every 5 minutes, and 10 minutes old it
            // counts for nothing: it must not wait for the packfiles of a slow link.
            let version = folder.put_at_once(name, content).await?.version;
            if let Some(content) = content.in_memory() {
                self.locks().insert(name.to_owned(), Some(OwnLock { version, content }));
            }
            return Ok(());
        }
        Ok(folder.put(name, content).await?)
    }

    /// Reads an object or a part of it.
    ///
    /// # Errors
    /// If there is none.
    pub async fn get(&self, resource: StorageResource, name: &str, part: Option<Range<u64>>) -> Result<Content, Error> {
        let folder = self.folder(resource)?;
        let path = inside(folder.path(), name);
        let no_object = || Error::NoObject(path.clone());
        let read = |file: &File| {
            if layout::is_unchanging(resource) {
                self.drive.read_unchanging(&path, file.clone(), part.clone())
            } else {
                self.drive.read(file.clone(), part.clone())
            }
        };
        let file = folder.file(name).await?.ok_or_else(no_object)?;
        if resource == StorageResource::Lock && part.is_none() {
            // plakar reads its own lock too before it begins.
            if let Some(Some(lock)) = self.locks().get(name)
                && lock.version == file.version
            {
                return Ok(lock.content.clone().into());
            }
        }
        let mut content = read(&file);
        let Err(error) = content.begin().await else {
            return Ok(content);
        };
        if !matches!(error.kind, Kind::NotFound | Kind::Changed) {
            return Ok(content);
        }
        // Another process has stored it again, as it does with its lock, or has
        // deleted it.
        let instead = folder.file_instead_of(name, &file).await?.ok_or_else(no_object)?;
        Ok(if instead.version == file.version { content } else { read(&instead) })
    }

    /// Deletes an object; one that is not there is deleted.
    ///
    /// # Errors
    /// If it is still there.
    pub async fn delete(&self, resource: StorageResource, name: &str) -> Result<(), Error> {
        self.folder(resource)?.delete(name).await?;
        if resource == StorageResource::Lock {
            self.locks().remove(name);
        }
        Ok(())
    }

    /// Deletes the locks that this process has put and plakar has not deleted:
    /// plakar is gone, and nobody else would for ten minutes.
    pub async fn drop_own_locks(&self) {
        let locks: Vec<String> = self.locks().drain().map(|(name, _)| name).collect();
        for name in locks {
            if let Err(error) = self.delete(StorageResource::Lock, &name).await {
                log::warn!("{error}");
            }
        }
    }

    fn locks(&self) -> MutexGuard<'_, HashMap<String, Option<OwnLock>>> {
        self.own_locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, resource: StorageResource) -> Result<&Arc<Folder>, Error> {
        self.asked.store(true, Ordering::Relaxed);
        let folder = layout::folder(resource).and_then(|name| self.folders.get(name));
        folder.ok_or(Error::Unsupported(resource.as_str_name()))
    }
}

/// Packfiles whose listing is worth a look ahead, which not every process needs:
/// iCloud's has about 600 bytes for each.
const FEW: u64 = 1000;
/// Packfiles that hold what plakar reads first of the latest snapshot: its header in
/// the last one, and the index of its files at the end of the one before.
const NEWEST: usize = 2;
/// How often a kloset is begun while others begin one.
const CLAIM_TRIES: usize = 5;

/// The path of a name of the layout, none of which leads anywhere else.
fn inside(folder: &DrivePath, name: &str) -> DrivePath {
    folder.child(name).unwrap_or_else(|_| folder.clone())
}
