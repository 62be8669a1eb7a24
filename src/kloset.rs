//! A kloset on a drive: its layout, its objects, and the caches of their content.

mod blocks;
mod claim;
mod disk;
mod folder;
mod layout;
mod local_copies;

use std::{
    collections::HashMap,
    io,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

pub use layout::{Mac, Resource, is_kloset};

use self::{blocks::Blocks, claim::Claim, folder::Folder, layout::CONFIG, local_copies::LocalCopies};
use crate::{
    drive::{self, Content, Drive, DrivePath, Spool, Spooled},
    rclone::{Entry, File, Item, Kind, Replacement, Time},
};

/// Bounds of what a kloset keeps of its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of memory for content of packfiles and states.
    pub memory: u64,
    /// A folder for the same content and its size in bytes, if any.
    pub disk: Option<(PathBuf, u64)>,
    /// A folder for copies of configurations, if any.
    pub copies_dir: Option<PathBuf>,
}

/// A failed operation on a kloset.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The drive failed.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// A new kloset was to replace another.
    #[error("{0} holds a kloset already; give another location, or use that kloset")]
    Exists(DrivePath),
    /// Another process is creating one.
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
}

/// The objects of a kloset: a configuration, and a folder for each resource.
#[derive(Debug)]
pub struct Kloset {
    drive: Drive,
    top: DrivePath,
    packfiles: Arc<Folder>,
    states: Folder,
    locks: Folder,
    blocks: Blocks,
    copies: LocalCopies,
    /// Whether plakar has asked for anything of a folder.
    asked: Arc<AtomicBool>,
    /// Locks that this process has put and not deleted, as they were stored last.
    own_locks: Mutex<HashMap<Mac, Option<OwnLock>>>,
}

/// A lock of this process. No other process stores it again: plakar gives each lock a
/// random name (K/repository/lock.go).
#[derive(Debug)]
struct OwnLock {
    version: Arc<str>,
    content: Bytes,
}

impl Kloset {
    /// Returns the kloset in a folder, which need not exist yet. `origin` distinguishes
    /// the drive from those of other accounts in shared cache folders.
    pub fn new(drive: &Drive, top: &DrivePath, origin: &str, limits: &CacheLimits) -> Self {
        let folder = |resource: Resource| Folder::new(drive.clone(), inside(top, resource.folder()));
        Self {
            drive: drive.clone(),
            top: top.clone(),
            packfiles: Arc::new(folder(Resource::Packfile)),
            states: folder(Resource::State),
            locks: folder(Resource::Lock),
            blocks: Blocks::new(limits.memory, limits.disk.clone(), origin),
            copies: LocalCopies::new(limits.copies_dir.as_deref(), origin),
            asked: Arc::default(),
            own_locks: Mutex::default(),
        }
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
        for resource in Resource::ALL {
            self.drive.make_folder(&inside(&self.top, resource.folder())).await?;
        }
        let content = configuration.clone().into();
        self.drive.upload(&inside(&self.top, CONFIG), Time::now(), &content, Replacement::Awaited).await?;
        Ok(())
    }

    /// Returns the bytes that Create was given. Starts to prefetch the ends of the
    /// newest packfiles: between this and its first read of one, plakar waits for its
    /// cache daemon, which opens the kloset too.
    ///
    /// # Errors
    /// If there is no kloset.
    pub async fn configuration(&self) -> Result<Bytes, Error> {
        let entries = match self.drive.list_usable(&self.top).await {
            Err(error) if error.kind() == Kind::NotFound => Vec::new(),
            entries => entries?,
        };
        let mut configuration = None;
        for entry in entries {
            match (entry.name(), entry.children) {
                (name, Some(..FEW)) if name == Resource::Packfile.folder() => self.prefetch(),
                (CONFIG, _) => configuration = Some(entry),
                _ => {}
            }
        }
        match configuration {
            Some(Entry { item: Item::File(file), modified, .. }) => {
                let path = inside(&self.top, CONFIG);
                let content = self.copies.read(&path, file, modified).await;
                Ok(content.map_err(|cause| drive::Error::new("cannot read", &path, cause))?)
            }
            _ => Err(Error::Missing(self.top.clone())),
        }
    }

    /// Lists the packfiles and, until plakar asks for something, reads the ends of the
    /// newest. The cache daemon reads no packfile, and asks for the states by then.
    fn prefetch(&self) {
        let (folder, blocks, asked) = (Arc::clone(&self.packfiles), self.blocks.clone(), Arc::clone(&self.asked));
        tokio::spawn(async move {
            for (name, file) in folder.prefetch(NEWEST).await {
                if !asked.load(Ordering::Relaxed) {
                    blocks.prefetch_end(&inside(folder.path(), &name), file);
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

    /// Returns the MACs of the objects of a resource. Foreign files are left out.
    ///
    /// # Errors
    /// If the listing fails.
    pub async fn list(&self, resource: Resource) -> Result<Vec<Mac>, Error> {
        let files = self.folder(resource).list().await?;
        Ok(files.iter().filter_map(|(name, _)| Mac::from_name(name)).collect())
    }

    /// Returns the size of all objects in bytes.
    ///
    /// # Errors
    /// If a listing fails.
    pub async fn size(&self) -> Result<u64, Error> {
        let mut size = 0;
        for resource in Resource::ALL {
            size += self.folder(resource).list().await?.iter().filter_map(|(_, file)| file.size).sum::<u64>();
        }
        Ok(size)
    }

    /// Returns a spool for an object.
    pub fn spool(&self) -> Spool {
        self.drive.spool()
    }

    /// Returns the error of a spool for an object.
    pub fn spool_error(&self, resource: Resource, mac: Mac, error: &io::Error) -> drive::Error {
        drive::Error::spool(&self.path(resource, mac), error)
    }

    /// Stores an object, in place of the one of that name.
    ///
    /// # Errors
    /// If it is not stored in full.
    pub async fn put(&self, resource: Resource, mac: Mac, content: &Spooled) -> Result<(), Error> {
        let (folder, name) = (self.folder(resource), mac.to_string());
        if resource == Resource::Lock {
            self.own_locks().insert(mac, None);
            // plakar refreshes its lock every 5 minutes, and a lock of 10 minutes counts
            // for nothing: it must not wait for the packfiles of a slow link.
            let version = folder.put_at_once(&name, content).await?.version;
            if let Some(content) = content.in_memory() {
                self.own_locks().insert(mac, Some(OwnLock { version, content }));
            }
            return Ok(());
        }
        let result = folder.put(&name, content).await;
        self.blocks.forget(&self.path(resource, mac));
        Ok(result?)
    }

    /// Reads an object or a part of it.
    ///
    /// # Errors
    /// If there is none.
    pub async fn get(&self, resource: Resource, mac: Mac, part: Option<Range<u64>>) -> Result<Content, Error> {
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
            // plakar reads its own lock too before it begins.
            if let Some(Some(lock)) = self.own_locks().get(&mac)
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
        let instead = folder.file_instead_of(&name, &file).await?.ok_or_else(no_object)?;
        Ok(if instead.version == file.version { content } else { read(&instead) })
    }

    /// Deletes an object; one that is not there is deleted.
    ///
    /// # Errors
    /// If it is still there.
    pub async fn delete(&self, resource: Resource, mac: Mac) -> Result<(), Error> {
        let result = self.folder(resource).delete(&mac.to_string()).await;
        self.blocks.forget(&self.path(resource, mac));
        result?;
        if resource == Resource::Lock {
            self.own_locks().remove(&mac);
        }
        Ok(())
    }

    /// Deletes the locks that this process has put and plakar has not deleted. Once
    /// plakar is gone they would block other commands for ten minutes.
    pub async fn delete_own_locks(&self) {
        let locks: Vec<Mac> = self.own_locks().drain().map(|(mac, _)| mac).collect();
        for mac in locks {
            if let Err(error) = self.delete(Resource::Lock, mac).await {
                log::warn!("{error}");
            }
        }
    }

    fn own_locks(&self) -> MutexGuard<'_, HashMap<Mac, Option<OwnLock>>> {
        self.own_locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, resource: Resource) -> &Folder {
        self.asked.store(true, Ordering::Relaxed);
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

/// Packfiles up to which their listing is prefetched, which not every process needs:
/// iCloud's listing has about 600 bytes for each.
const FEW: u64 = 1000;
/// Packfiles that hold what plakar reads first of the latest snapshot: its header in
/// the last one, and the index of its files at the end of the one before.
const NEWEST: usize = 2;
/// How often to claim a folder while other processes claim it.
const CLAIM_TRIES: usize = 5;

/// Returns the path of a name of the layout, all of which are valid.
fn inside(folder: &DrivePath, name: &str) -> DrivePath {
    folder.child(name).unwrap_or_else(|_| folder.clone())
}
