//! The calls of a walk: which folders are listed next, and how many.

use std::sync::Arc;

use super::{Done, Folder, Found, Walk};
use crate::{drive::DrivePath, rclone::Item};

/// The number of folders that our backend for iCloud lists with one request.
const FOLDERS_PER_REQUEST: usize = 20;
/// The maximum number of folders that one call lists. A larger number does not help backends that
/// use a request for each folder.
const MAX_FOLDERS_PER_CALL: usize = 2 * FOLDERS_PER_REQUEST;
/// The number of folders that may be listed ahead of the one that is sent next, for each concurrent
/// call.
const MAX_FOLDERS_AHEAD: usize = 64;
/// The number of items that may be listed ahead of the folder that is sent next. It bounds the
/// memory of a walk, because plakar takes the items more slowly than they are listed.
const MAX_ITEMS_AHEAD: u64 = 12_000;
/// The number of items for which a call that lists few folders is worthwhile.
const MIN_ITEMS_PER_CALL: u64 = 2_000;

impl Folder {
    /// Returns the number of items that are listed or being listed.
    fn items(&self) -> u64 {
        match self {
            Self::UnderWay(items) => *items,
            Self::Listed(Ok(Found::Folder(items))) => items.len() as u64,
            Self::Waiting(_) | Self::Package(_) | Self::Listed(_) => 0,
        }
    }
}

impl Walk<'_> {
    /// Distributes the first waiting folders evenly among the free calls. Unless the folder that is
    /// sent next is among them, they wait until they are enough for a call.
    pub(super) fn start_calls(&mut self) {
        self.start_downloads();
        let free = self.calls.saturating_sub(self.under_way.len());
        if free == 0 {
            return;
        }
        let near = MAX_FOLDERS_AHEAD * self.calls;
        let urgent = matches!(self.folders.first_key_value(), Some((_, Folder::Waiting(_))));
        let ahead: u64 = self.folders.values().take(near).map(Folder::items).sum();
        let mut items = 0;
        let mut waiting: Vec<(&DrivePath, &mut Folder)> = Vec::new();
        for (path, folder) in self.folders.iter_mut().take(near) {
            let Folder::Waiting(more) = *folder else { continue };
            let fits = ahead + items + more <= MAX_ITEMS_AHEAD || urgent && waiting.is_empty();
            if !fits || waiting.len() == free * MAX_FOLDERS_PER_CALL {
                break;
            }
            items += more;
            waiting.push((path, folder));
        }
        if !urgent && waiting.len() < MAX_FOLDERS_PER_CALL && items < MIN_ITEMS_PER_CALL {
            return;
        }
        let mut size = waiting.len().div_ceil(free).max(1);
        // If nothing waits for these folders, each request gets its full number of them.
        let is_full = !urgent && waiting.len() >= FOLDERS_PER_REQUEST;
        if is_full {
            waiting.truncate(waiting.len() / FOLDERS_PER_REQUEST * FOLDERS_PER_REQUEST);
        }
        if is_full || size > FOLDERS_PER_REQUEST {
            size = size.next_multiple_of(FOLDERS_PER_REQUEST);
        }
        for batch in waiting.chunks_mut(size) {
            let paths: Vec<DrivePath> = batch
                .iter_mut()
                .map(|(path, folder)| {
                    **folder = match **folder {
                        Folder::Waiting(items) => Folder::UnderWay(items),
                        _ => Folder::UnderWay(0),
                    };
                    path.clone()
                })
                .collect();
            let (drive, rules) = (self.drive.clone(), self.excludes.rules());
            self.under_way.spawn(async move {
                let listed = drive.list_without(&paths, rules).await;
                Done::Listings(paths, listed)
            });
        }
    }

    /// Starts the download of files that may be packages, as far as there is room for them. The
    /// first in order needs no room: the walk cannot continue without it, and plakar may still need the
    /// ones that were sent before.
    fn start_downloads(&mut self) {
        let Some(packages) = self.packages else {
            return;
        };
        let mut free = self.calls.saturating_sub(self.under_way.len());
        for (number, (path, folder)) in self.folders.iter_mut().take(MAX_FOLDERS_AHEAD * self.calls).enumerate() {
            let Folder::Package(entry) = folder else {
                continue;
            };
            let Item::File(file) = &entry.item else {
                continue;
            };
            let file = file.clone();
            let room = packages.room_for(&file);
            if free == 0 || room.is_none() && number > 0 {
                return;
            }
            free -= 1;
            let Folder::Package(entry) = std::mem::replace(folder, Folder::UnderWay(0)) else {
                continue;
            };
            let (packages, path) = (Arc::clone(packages), path.clone());
            self.under_way.spawn(async move {
                let unpacked = packages.unpack(&path, entry, file, room).await.map(Box::new);
                Done::Package(path, unpacked)
            });
        }
    }
}
