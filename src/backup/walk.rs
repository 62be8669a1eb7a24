//! A walk of a tree that lists many folders concurrently and returns them in order.

mod calls;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use tokio::{sync::mpsc, task::JoinSet};

use super::{Excludes, Form, Package, Packages, Unpacked};
use crate::{
    drive::{Drive, DrivePath, Error, Refused, Spooled},
    rclone::{self, Entry, InvalidEntry, Item, Listing},
};

/// The capacity, in folders, of the channel of found folders.
pub(super) const FOLDERS_AHEAD: usize = 4;

/// What a walk finds, folder by folder.
#[derive(Debug)]
pub enum Found {
    /// All entries of a folder, sorted by name.
    Folder(Vec<(DrivePath, Entry)>),
    /// A package that is saved as a folder.
    Package(Arc<Package>),
    /// The numbers of the items of a folder in a package.
    Members(Arc<Package>, Range<usize>),
    /// A file whose content was downloaded to see whether it is a package, and whether it is.
    Downloaded(DrivePath, Box<Entry>, Arc<Spooled>, bool),
    /// A folder that cannot be listed in full, or an item that cannot be used.
    Failed(Failed),
    /// The number of items of a folder that were left out.
    Excluded(u64),
    /// A line for the user about something that was left out.
    Note(String),
}

/// A path that cannot be backed up in full.
#[derive(Debug)]
pub struct Failed {
    /// The path.
    pub path: DrivePath,
    /// The cause.
    pub error: Error,
    /// The number of items that the service counts in the folder but does not list.
    pub missing: u64,
}

impl Failed {
    fn new(path: DrivePath, error: Error) -> Self {
        Self { path, error, missing: 0 }
    }
}

/// Sends everything below `top`. The folders are sent in the bytewise order of their paths, in
/// which plakar reads its parent snapshot. The items of a folder are sent together, sorted by name.
///
/// Items that `excludes` leaves out are neither sent nor listed, and klosets below `top` are sent
/// without their content. With `packages`, packages are sent as folders. At most `calls` calls run
/// concurrently. The walk waits for the receiver and ends when the receiver is dropped.
///
/// # Errors
/// Fails if the top cannot be listed or nothing can be listed any more. Any other failure is sent
/// as [`Found::Failed`].
pub async fn walk(
    drive: &Drive,
    top: &DrivePath,
    excludes: &Excludes,
    packages: Option<&Arc<Packages>>,
    calls: usize,
    found: mpsc::Sender<Found>,
) -> Result<(), Error> {
    let mut walk = Walk { drive, excludes, packages, calls, folders: BTreeMap::new(), under_way: JoinSet::new() };
    walk.folders.insert(top.clone(), Folder::Waiting(1));
    while !walk.folders.is_empty() {
        walk.start_calls();
        while let Some(listed) = walk.take_first_listed() {
            match listed {
                (path, Err(error)) if path == *top || error.is_fatal() => return Err(error),
                (path, Err(error)) => {
                    if found.send(Found::Failed(Failed::new(path, error))).await.is_err() {
                        return Ok(());
                    }
                }
                (_, Ok(listed)) => {
                    if found.send(listed).await.is_err() {
                        return Ok(());
                    }
                }
            }
            walk.start_calls();
        }
        if let Some(done) = walk.under_way.join_next().await {
            let done = done.map_err(|error| Error::interrupted(top, &error))?;
            for finding in walk.store(done, top).await? {
                if found.send(finding).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Returns the failure of an item that cannot be used. If the item has no usable path, the path is
/// that of its folder.
fn unusable(folder: &DrivePath, invalid: InvalidEntry) -> Found {
    let path = DrivePath::parse(&invalid.path).unwrap_or_else(|_| folder.clone());
    let operation = if path == *folder { "cannot use an item of" } else { "cannot use" };
    let error = Error::new(operation, &path, invalid.cause);
    Found::Failed(Failed::new(path, error))
}

/// Returns the failure of a package that is saved as an archive because it cannot be unpacked.
fn refused(path: &DrivePath, refused: &Refused) -> Found {
    let text = format!("it is saved as the archive that the service makes of it, because {refused}");
    Found::Failed(Failed::new(path.clone(), Error::new("cannot unpack", path, rclone::Error::unexpected(text))))
}

/// A call that has ended.
enum Done {
    Listings(Vec<DrivePath>, Vec<Result<Listing, Error>>),
    Package(DrivePath, Result<Box<Unpacked>, Error>),
}

/// A folder of the walk, or a file that may be a package.
enum Folder {
    /// A folder that has to be listed, with the number of its items, or 1 if that is unknown.
    Waiting(u64),
    /// A file that has to be downloaded.
    Package(Box<Entry>),
    /// A folder that is being listed, with the number of its items, or a file that is being
    /// downloaded.
    UnderWay(u64),
    Listed(Result<Found, Error>),
}

struct Walk<'a> {
    drive: &'a Drive,
    excludes: &'a Excludes,
    packages: Option<&'a Arc<Packages>>,
    calls: usize,
    /// Folders that were found and not sent yet. The order of the map is the order of the walk.
    folders: BTreeMap<DrivePath, Folder>,
    under_way: JoinSet<Done>,
}

impl Walk<'_> {
    /// Removes and returns the first folder in order, if it has been listed.
    fn take_first_listed(&mut self) -> Option<(DrivePath, Result<Found, Error>)> {
        let first = self.folders.first_entry()?;
        if !matches!(first.get(), Folder::Listed(_)) {
            return None;
        }
        match first.remove_entry() {
            (path, Folder::Listed(listed)) => Some((path, listed)),
            _ => None,
        }
    }

    /// Stores the result of a call. Returns what was found besides it.
    async fn store(&mut self, done: Done, top: &DrivePath) -> Result<Vec<Found>, Error> {
        let mut findings = Vec::new();
        match done {
            Done::Listings(paths, listed) => {
                for (path, listing) in paths.into_iter().zip(listed) {
                    let listed = match listing {
                        Ok(listing) => Ok(self.store_listing(&path, listing, top, &mut findings).await?),
                        Err(error) => Err(error),
                    };
                    self.folders.insert(path, Folder::Listed(listed));
                }
            }
            Done::Package(path, Ok(unpacked)) => match *unpacked {
                Unpacked::Tree(package) => self.add_package(path, package, &mut findings).await?,
                Unpacked::Archive(entry, reason, content) => {
                    findings.push(refused(&path, &reason));
                    let listed = match content {
                        Some(content) => Found::Downloaded(path.clone(), entry, content, true),
                        None => Found::Folder(vec![(path.clone(), *entry)]),
                    };
                    self.folders.insert(path, Folder::Listed(Ok(listed)));
                }
                Unpacked::File(entry, content) => {
                    let listed = Found::Downloaded(path.clone(), entry, content, false);
                    self.folders.insert(path, Folder::Listed(Ok(listed)));
                }
            },
            Done::Package(path, Err(error)) => drop(self.folders.insert(path, Folder::Listed(Err(error)))),
        }
        Ok(findings)
    }

    /// Returns what is sent of a listing, and adds the rest to `findings`.
    async fn store_listing(
        &mut self,
        path: &DrivePath,
        listing: Listing,
        top: &DrivePath,
        findings: &mut Vec<Found>,
    ) -> Result<Found, Error> {
        if let Some(cause) = listing.incomplete.or(listing.doubt) {
            let error = Error::new("cannot list all of", path, cause);
            findings.push(Found::Failed(Failed { path: path.clone(), error, missing: listing.missing }));
        }
        if let Some(note) = listing.note {
            findings.push(Found::Note(format!("{}: {note}", path.to_string().escape_debug())));
        }
        if listing.excluded > 0 {
            findings.push(Found::Excluded(listing.excluded));
        }
        if path != top && self.excludes.leaves_out_kloset(&listing.entries) {
            findings.push(Found::Note(format!(
                "the kloset in {} is left out of the backup; to include it, set include_klosets=true",
                path.to_string().escape_debug()
            )));
            findings.push(Found::Excluded(listing.entries.len() as u64));
            return Ok(Found::Folder(Vec::new()));
        }
        findings.extend(listing.invalid.into_iter().map(|invalid| unusable(path, invalid)));
        let mut items = self.accept(path, listing.entries, findings);
        if let Some(packages) = self.packages {
            let mut rest = Vec::new();
            for (path, entry) in items {
                if let Some(entry) = self.take_package(packages, &path, entry, findings).await? {
                    rest.push((path, entry));
                }
            }
            items = rest;
        }
        Ok(Found::Folder(items))
    }

    /// Adds an entry to the walk if it is or may be a package that is saved as a folder. Returns any
    /// other entry.
    async fn take_package(
        &mut self,
        packages: &Packages,
        path: &DrivePath,
        entry: Entry,
        findings: &mut Vec<Found>,
    ) -> Result<Option<Entry>, Error> {
        let file = match &entry.item {
            Item::File(file) if Packages::may_be_package(&entry) => file.clone(),
            _ => return Ok(Some(entry)),
        };
        match packages.known(path, &file) {
            Some(Form::Tree(members)) => {
                let package = Package::new(path, &entry, file, members);
                self.add_package(path.clone(), package, findings).await?;
                Ok(None)
            }
            Some(Form::Archive(reason)) => {
                findings.push(refused(path, &Refused(reason)));
                Ok(Some(entry))
            }
            Some(Form::File) => Ok(Some(entry)),
            None => {
                self.folders.insert(path.clone(), Folder::Package(Box::new(entry)));
                Ok(None)
            }
        }
    }

    /// Adds the folders of a package to the walk.
    async fn add_package(
        &mut self,
        path: DrivePath,
        mut package: Package,
        findings: &mut Vec<Found>,
    ) -> Result<(), Error> {
        let excluded = package.exclude(self.excludes).await;
        match excluded.map_err(|cause| Error::new("cannot unpack", &path, cause))? {
            0 => {}
            excluded => findings.push(Found::Excluded(excluded)),
        }
        let package = Arc::new(package);
        for (folder, numbers) in package.folders() {
            let members = Found::Members(Arc::clone(&package), numbers);
            self.folders.insert(folder, Folder::Listed(Ok(members)));
        }
        self.folders.insert(path, Folder::Listed(Ok(Found::Package(package))));
        Ok(())
    }

    /// Returns the entries of a folder that are backed up, in order, and adds the folders among
    /// them to the walk. Adds the other entries to `findings`.
    fn accept(
        &mut self,
        folder: &DrivePath,
        entries: Vec<Entry>,
        findings: &mut Vec<Found>,
    ) -> Vec<(DrivePath, Entry)> {
        let mut items: BTreeMap<DrivePath, Entry> = BTreeMap::new();
        for entry in entries {
            if self.excludes.leaves_out_shared(&entry) {
                let path = entry.path.escape_debug();
                findings.push(Found::Note(format!(
                    "/{path}, which another account shares, is left out of the backup (shared=skip)"
                )));
                findings.push(Found::Excluded(1));
                continue;
            }
            let name = entry.path.strip_prefix(folder.as_str()).unwrap_or(&entry.path);
            let name = if folder.is_top() { name } else { name.strip_prefix('/').unwrap_or(name) };
            match folder.child(name) {
                Err(bad) => {
                    findings.push(Found::Failed(Failed::new(folder.clone(), Error::bad_name(folder, bad))));
                }
                // Of two items with the same path, a folder is backed up, because it may contain more.
                Ok(path) => {
                    let is_folder = matches!(entry.item, Item::Folder);
                    match items.get_mut(&path) {
                        None => {
                            items.insert(path, entry);
                        }
                        Some(twin) => {
                            if is_folder && !matches!(twin.item, Item::Folder) {
                                *twin = entry;
                            }
                            findings.push(Found::Failed(Failed::new(path.clone(), Error::twin(&path))));
                        }
                    }
                }
            }
        }
        for (path, entry) in &items {
            if matches!(entry.item, Item::Folder) {
                let items = entry.children.unwrap_or(1).max(1);
                self.folders.insert(path.clone(), Folder::Waiting(items));
            }
        }
        items.into_iter().collect()
    }
}
