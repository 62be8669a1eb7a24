//! Packages that a backup saves as folders.
//!
//! The service delivers a package as one archive, and plakar requests each file by its path. So a
//! package that is new or has changed is downloaded when it is listed, and its archive is held in a
//! spool until plakar has read the files. The items of an unchanged package are known from the last
//! backup. It is downloaded only if plakar opens one of its files, as in a backup to another
//! kloset.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use super::{Excludes, Form, Forms};
use crate::{
    drive::{self, Archive, Content, Drive, DrivePath, Member, MemberKind, Refused, Spooled},
    rclone::{self, Entry, File, Item, Kind, Time},
};

/// The maximum total size, as listed, of the archives that are held for plakar, in MiB.
const MAX_HELD_MIB: u32 = 256;
const MIB: u64 = 1024 * 1024;
/// The largest package, as listed, whose archive is unpacked.
const MAX_PACKAGE_SIZE: u64 = 1024 * MIB;

/// The packages of a backup.
#[derive(Debug)]
pub struct Packages {
    drive: Drive,
    room: Arc<Semaphore>,
    /// How the last backup saved packages.
    known: Forms,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How this backup saves packages.
    forms: Forms,
    /// The files that were listed and not released.
    files: HashMap<String, Open>,
}

#[derive(Debug)]
struct Open {
    package: Arc<Package>,
    member: usize,
    was_opened: bool,
}

/// A package that is saved as a folder.
#[derive(Debug)]
pub struct Package {
    /// Its path in the drive.
    pub path: DrivePath,
    /// When it was modified.
    pub modified: Time,
    /// Whether another account shares it.
    pub is_shared: bool,
    /// The package as a file of the drive.
    pub file: File,
    /// Its items. Those of a folder follow each other, sorted by name.
    pub members: Vec<Member>,
    archive: OnceCell<Result<Arc<Archive>, rclone::Error>>,
}

/// The result of unpacking a file that may be a package.
#[derive(Debug)]
pub enum Unpacked {
    /// A package that is saved as a folder.
    Tree(Package),
    /// A package that is saved as its archive, and why it is not unpacked.
    Archive(Box<Entry>, Refused, Option<Arc<Spooled>>),
    /// A file that is not a package, and its content.
    File(Box<Entry>, Arc<Spooled>),
}

impl Packages {
    /// Returns the packages of a backup. `known` is how the last one has saved them.
    pub fn new(drive: Drive, known: Forms) -> Self {
        Self { drive, room: Arc::new(Semaphore::new(MAX_HELD_MIB as usize)), known, state: Mutex::default() }
    }

    /// Reports whether an entry is a package or may be one.
    pub fn may_be_package(entry: &Entry) -> bool {
        matches!(&entry.item, Item::File(file) if file.is_package || file.listed_size.is_some())
    }

    /// Returns how the last backup saved an entry, if the entry has not changed since.
    pub fn known(&self, path: &DrivePath, file: &File) -> Option<Form> {
        let form = self.known.get(path, &file.version)?;
        self.state().forms.add(path, &file.version, &form);
        Some(form)
    }

    /// Reserves room for an archive within the limit. Returns `None` if there is too little.
    pub fn room_for(&self, file: &File) -> Option<OwnedSemaphorePermit> {
        let size = file.listed_size.unwrap_or(MAX_PACKAGE_SIZE).div_ceil(MIB);
        let share = u32::try_from(size).unwrap_or(MAX_HELD_MIB).clamp(1, MAX_HELD_MIB);
        Arc::clone(&self.room).try_acquire_many_owned(share).ok()
    }

    /// Downloads a file and unpacks it, if it is a package.
    ///
    /// # Errors
    /// Fails if it cannot be downloaded.
    pub async fn unpack(
        &self,
        path: &DrivePath,
        entry: Box<Entry>,
        file: File,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Unpacked, drive::Error> {
        let version = Arc::clone(&file.version);
        let unpacked = self.try_to_unpack(path, entry, file, room).await?;
        let form = match &unpacked {
            Unpacked::Tree(package) => Form::Tree(package.members.clone()),
            Unpacked::Archive(_, refused, _) => Form::Archive(refused.to_string()),
            Unpacked::File(..) => Form::File,
        };
        self.state().forms.add(path, &version, &form);
        Ok(unpacked)
    }

    async fn try_to_unpack(
        &self,
        path: &DrivePath,
        entry: Box<Entry>,
        file: File,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Unpacked, drive::Error> {
        if file.is_package && file.listed_size.is_some_and(|size| size > MAX_PACKAGE_SIZE) {
            return Ok(Unpacked::Archive(entry, Refused("it has more than a gigabyte".to_owned()), None));
        }
        let spooled = match self.drive.download(file.clone()).await {
            Ok(spooled) => Arc::new(spooled.holding(room)),
            Err(error) if error.kind == Kind::Unsupported => {
                return Ok(Unpacked::Archive(entry, Refused(error.text), None));
            }
            Err(error) => return Err(self.drive.unreadable(path, error).await),
        };
        self.drive.was_read(&file);
        if !file.turned_out_to_be_package() {
            return Ok(Unpacked::File(entry, spooled));
        }
        match open(Arc::clone(&spooled), path, &file).await {
            Ok(archive) => {
                let members = archive.members().to_vec();
                let package = Package::new(path, &entry, file, members);
                // The cell of a new package is empty.
                let _ = package.archive.set(Ok(Arc::new(archive)));
                Ok(Unpacked::Tree(package))
            }
            Err(refused) => Ok(Unpacked::Archive(entry, refused, Some(spooled))),
        }
    }

    /// Adds a file of a package that is sent to plakar.
    pub fn add(&self, path: &DrivePath, package: &Arc<Package>, member: usize) {
        let open = Open { package: Arc::clone(package), member, was_opened: false };
        self.state().files.insert(path.to_string(), open);
    }

    /// Opens a file that was added and not released. Returns its content and the package.
    pub fn open(&self, path: &str) -> Option<(Content, File)> {
        let mut state = self.state();
        let open = state.files.get_mut(path)?;
        open.was_opened = true;
        let (package, member) = (Arc::clone(&open.package), open.member);
        Some((package.read(member, self.drive.clone()), open.package.file.clone()))
    }

    /// Releases a file, which will not be opened any more. Reports whether it was opened.
    pub fn release(&self, path: &str) -> Option<bool> {
        let open = self.state().files.remove(path)?; // the lock is released before an archive is dropped
        Some(open.was_opened)
    }

    /// Releases all files.
    pub fn release_all(&self) {
        let files = std::mem::take(&mut self.state().files);
        drop(files);
    }

    /// Returns how the packages were saved, once.
    pub fn take_forms(&self) -> Forms {
        std::mem::take(&mut self.state().forms)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Package {
    /// Returns a package with the items that it had when it was last downloaded.
    pub fn new(path: &DrivePath, entry: &Entry, file: File, members: Vec<Member>) -> Self {
        Self {
            path: path.clone(),
            modified: entry.modified,
            is_shared: entry.is_shared,
            file,
            members,
            archive: OnceCell::new(),
        }
    }

    /// Removes the items that the rules leave out, and returns their number.
    ///
    /// # Errors
    /// Fails if the rules could not be applied.
    pub async fn exclude(&mut self, excludes: &Excludes) -> Result<u64, rclone::Error> {
        if excludes.rules().is_none() {
            return Ok(0);
        }
        let (mut kept, mut excluded, mut count) = (Vec::new(), HashSet::new(), 0);
        let mut members = std::mem::take(&mut self.members);
        members.sort_by_key(|member| member.path.matches('/').count()); // folders before their items
        for member in members {
            let is_folder = member.kind == MemberKind::Folder;
            let is_below = member.path.rsplit_once('/').is_some_and(|(folder, _)| excluded.contains(folder));
            let path = self.path_of(&member);
            if !is_below && !excludes.is_excluded(&path, is_folder).await? {
                kept.push(member);
                continue;
            }
            count += u64::from(!is_below);
            excluded.insert(member.path);
        }
        kept.sort_by(|one, other| one.place().cmp(&other.place()));
        self.members = kept;
        Ok(count)
    }

    /// Returns the path of an item in the drive.
    pub fn path_of(&self, member: &Member) -> DrivePath {
        // The names of items are checked when the archive is opened.
        self.path.join(&member.path).unwrap_or_else(|_| self.path.clone())
    }

    /// Returns the numbers of the items that are directly in the package.
    pub fn top(&self) -> Range<usize> {
        0..self.members.partition_point(|member| member.place().0.is_empty())
    }

    /// Returns the folders in the package that are not empty, each with the numbers of its items.
    pub fn folders(&self) -> Vec<(DrivePath, Range<usize>)> {
        let mut folders: Vec<(DrivePath, Range<usize>)> = Vec::new();
        for (number, member) in self.members.iter().enumerate().skip(self.top().end) {
            let folder = self.path_of(member).parent();
            match folders.last_mut() {
                Some((last, numbers)) if *last == folder => numbers.end = number + 1,
                _ => folders.push((folder, number..number + 1)),
            }
        }
        folders
    }

    /// Reads a file of the package.
    fn read(self: Arc<Self>, member: usize, drive: Drive) -> Content {
        let (sender, content) = Content::channel();
        tokio::spawn(async move {
            let opened = self.archive(&drive).await.and_then(|archive| archive.read(&self.members[member]));
            let mut pieces = match opened {
                Ok(pieces) => pieces,
                Err(error) => {
                    let _ = sender.send(Err(error)).await; // fails if the receiver was dropped
                    return;
                }
            };
            while let Some(piece) = pieces.next().await {
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        content
    }

    /// Returns the archive, which is downloaded at most once.
    async fn archive(&self, drive: &Drive) -> Result<Arc<Archive>, rclone::Error> {
        let download = || async {
            let spooled = drive.download(self.file.clone()).await?;
            let opened = open(Arc::new(spooled), &self.path, &self.file).await;
            let unexpected =
                |refused: Refused| rclone::Error::new(Kind::Changed, format!("the package has changed: {refused}"));
            opened.map(Arc::new).map_err(unexpected)
        };
        self.archive.get_or_init(download).await.clone()
    }
}

async fn open(spooled: Arc<Spooled>, path: &DrivePath, file: &File) -> Result<Archive, Refused> {
    let (name, listed) = (path.name().to_owned(), file.listed_size);
    let opened = spawn_blocking(move || Archive::open(spooled, &name, listed)).await;
    opened.unwrap_or_else(|error| Err(Refused(format!("its archive cannot be read: {error}"))))
}
