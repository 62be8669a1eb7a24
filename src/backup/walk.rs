//! A walk of a tree that lists many folders concurrently and returns them in order.

use std::collections::BTreeMap;

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use super::Excludes;
use crate::{
    drive::{Drive, DrivePath, Error},
    rclone::{Entry, InvalidEntry, Item, Listing},
};

/// The maximum number of folders that one call lists. A larger number does not help backends that
/// use a request for each folder. Our backend for iCloud lists 20 with a request, so this is a
/// multiple of 20.
const BATCH: usize = 40;
/// The number of folders that may be listed ahead of the one that is sent next, for each concurrent
/// call. It bounds the memory of a walk.
const AHEAD: usize = 64;
/// The capacity, in folders, of the channel of found folders.
pub(super) const FOLDERS_AHEAD: usize = 4;

/// What a walk finds, folder by folder.
#[derive(Debug)]
pub enum Found {
    /// All entries of a folder, sorted by name.
    Folder(Vec<(DrivePath, Entry)>),
    /// A folder that cannot be listed in full, or an item that cannot be used.
    Failed(Failed),
    /// The number of items of a folder that were left out.
    Excluded(u64),
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
/// without their content. At most `calls` calls run concurrently. The walk waits for the receiver
/// and ends when the receiver is dropped.
///
/// # Errors
/// Fails if the top cannot be listed or nothing can be listed any more. Any other failure is sent
/// as [`Found::Failed`].
pub async fn walk(
    drive: &Drive,
    top: &DrivePath,
    excludes: &Excludes,
    calls: usize,
    found: mpsc::Sender<Found>,
) -> Result<(), Error> {
    let mut walk = Walk { drive, excludes, calls, folders: BTreeMap::new(), under_way: JoinSet::new() };
    walk.folders.insert(top.clone(), Folder::Waiting);
    while !walk.folders.is_empty() {
        walk.start_calls();
        while let Some(listed) = walk.take_first_listed() {
            match listed {
                (path, Err(error)) if path == *top || error.ends_everything() => return Err(error),
                (path, Err(error)) => {
                    if found.send(Found::Failed(Failed::new(path, error))).await.is_err() {
                        return Ok(());
                    }
                }
                (_, Ok(items)) => {
                    if found.send(Found::Folder(items)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            walk.start_calls();
        }
        if let Some(batch) = walk.under_way.join_next().await {
            for finding in walk.store_listings(batch, top)? {
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

type Listed = Result<Vec<(DrivePath, Entry)>, Error>;
type Batch = (Vec<DrivePath>, Vec<Result<Listing, Error>>);

enum Folder {
    Waiting,
    UnderWay,
    Listed(Listed),
}

struct Walk<'a> {
    drive: &'a Drive,
    excludes: &'a Excludes,
    calls: usize,
    /// Folders that were found and not sent yet. The order of the map is the order of the walk.
    folders: BTreeMap<DrivePath, Folder>,
    under_way: JoinSet<Batch>,
}

impl Walk<'_> {
    /// Distributes the first waiting folders evenly among the free calls.
    fn start_calls(&mut self) {
        let free = self.calls.saturating_sub(self.under_way.len());
        if free == 0 {
            return;
        }
        let near = self.folders.iter_mut().take(AHEAD * self.calls);
        let mut waiting: Vec<(&DrivePath, &mut Folder)> =
            near.filter(|(_, folder)| matches!(folder, Folder::Waiting)).collect();
        waiting.truncate(free * BATCH);
        let size = waiting.len().div_ceil(free).max(1);
        for batch in waiting.chunks_mut(size) {
            let paths: Vec<DrivePath> = batch
                .iter_mut()
                .map(|(path, folder)| {
                    **folder = Folder::UnderWay;
                    path.clone()
                })
                .collect();
            let (drive, rules) = (self.drive.clone(), self.excludes.rules());
            self.under_way.spawn(async move {
                let listed = drive.list_without(&paths, rules).await;
                (paths, listed)
            });
        }
    }

    /// Removes and returns the first folder in order, if it has been listed.
    fn take_first_listed(&mut self) -> Option<(DrivePath, Listed)> {
        let first = self.folders.first_entry()?;
        if !matches!(first.get(), Folder::Listed(_)) {
            return None;
        }
        match first.remove_entry() {
            (path, Folder::Listed(listed)) => Some((path, listed)),
            _ => None,
        }
    }

    /// Stores the listings of a call. Returns the failures and excluded items in them.
    fn store_listings(&mut self, batch: Result<Batch, JoinError>, top: &DrivePath) -> Result<Vec<Found>, Error> {
        let (paths, listed) = batch.map_err(|error| Error::interrupted(top, &error))?;
        let mut findings = Vec::new();
        for (path, listing) in paths.into_iter().zip(listed) {
            let listed = listing.map(|listing| {
                if let Some(cause) = listing.incomplete.or(listing.doubt) {
                    let error = Error::new("cannot list all of", &path, cause);
                    findings.push(Found::Failed(Failed { path: path.clone(), error, missing: listing.missing }));
                }
                if listing.excluded > 0 {
                    findings.push(Found::Excluded(listing.excluded));
                }
                if path != *top && self.excludes.leaves_out_kloset(&listing.entries) {
                    log::warn!(
                        "the kloset in {} is left out of the backup; to include it, set include_klosets=true",
                        path.to_string().escape_debug()
                    );
                    findings.push(Found::Excluded(listing.entries.len() as u64));
                    return Vec::new();
                }
                findings.extend(listing.invalid.into_iter().map(|invalid| unusable(&path, invalid)));
                self.accept(&path, listing.entries, &mut findings)
            });
            self.folders.insert(path, Folder::Listed(listed));
        }
        Ok(findings)
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
                log::warn!("/{path}, which another account shares, is left out of the backup (shared=skip)");
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
                self.folders.insert(path.clone(), Folder::Waiting);
            }
        }
        items.into_iter().collect()
    }
}
