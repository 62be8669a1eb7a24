//! A scan: what a backup would list, without reading any content.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::mpsc;

use super::{
    Excludes, Failed, Found, Versions,
    names::portability_problem,
    walk::{FOLDERS_AHEAD, walk},
};
use crate::{
    drive::{Drive, DrivePath, Error},
    rclone::{Entry, Item},
};

/// The maximum number of largest files, of largest folders, of names and of failures in the result.
const MAX_EXAMPLES: usize = 10;

/// What a scan has found.
#[derive(Debug, Default)]
pub struct Scan {
    /// The number of files.
    pub files: u64,
    /// The number of folders.
    pub folders: u64,
    /// The bytes of all files whose size is known.
    pub bytes: u64,
    /// The number of files that are or may be packages. The size of a package is known only after
    /// it was read.
    pub packages: u64,
    /// The number of items that other accounts share.
    pub shared: u64,
    /// The number of items that were left out.
    pub excluded: u64,
    /// The number of items that the service counts but does not list.
    pub missing: u64,
    /// The largest files.
    pub largest_files: Vec<(DrivePath, u64)>,
    /// The number of names that other systems may refuse.
    pub unportable: u64,
    /// Some of these names, with the reasons.
    pub unportable_names: Vec<(DrivePath, &'static str)>,
    /// The number of paths that could not be listed.
    pub failed: u64,
    /// Some of these failures.
    pub failures: Vec<Error>,
    /// What a backup would read, if the last backup is known.
    pub changes: Option<Changes>,
    /// The number of files below each folder, at any depth, and their bytes.
    below: HashMap<DrivePath, (u64, u64)>,
}

/// The differences from the last backup.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// Files that the last backup did not list.
    pub new: u64,
    /// Files of another version.
    pub changed: u64,
    /// Files that the last backup listed and that are not listed now.
    pub gone: u64,
    /// The bytes of new and changed files whose size is known.
    pub bytes: u64,
}

impl Scan {
    /// Scans a folder with at most `listings` concurrent calls. `progress` is called after each
    /// folder. `last` is what the last backup of the same location listed.
    ///
    /// # Errors
    /// Fails if the folder cannot be listed or nothing can be listed any more.
    pub async fn run(
        drive: &Drive,
        top: &DrivePath,
        excludes: &Excludes,
        listings: usize,
        last: Option<Versions>,
        mut progress: impl FnMut(&Self),
    ) -> Result<Self, Error> {
        let mut scan = Self { folders: 1, changes: last.as_ref().map(|_| Changes::default()), ..Self::default() };
        let (sender, mut found) = mpsc::channel(FOLDERS_AHEAD);
        let walking = walk(drive, top, excludes, None, listings, sender);
        let receiving = async {
            while let Some(found) = found.recv().await {
                scan.add(found, last.as_ref());
                progress(&scan);
            }
            scan
        };
        let (walked, mut scan) = tokio::join!(walking, receiving);
        walked?;
        if let (Some(changes), Some(last)) = (&mut scan.changes, &last) {
            changes.gone = (last.files() + changes.new).saturating_sub(scan.files);
        }
        Ok(scan)
    }

    /// Returns the folders with the most bytes below them, without the top.
    pub fn largest_folders(&self, top: &DrivePath) -> Vec<(&DrivePath, u64, u64)> {
        let below = self.below.iter().filter(|(path, _)| *path != top && path.is_below(top));
        let mut folders: Vec<_> = below.map(|(path, &(files, bytes))| (path, files, bytes)).collect();
        folders.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(b.0)));
        folders.truncate(MAX_EXAMPLES);
        folders
    }

    fn add(&mut self, found: Found, last: Option<&Versions>) {
        match found {
            Found::Folder(items) => {
                self.count_names(&items);
                for (path, entry) in &items {
                    self.count(path, entry, last);
                }
            }
            // A scan does not unpack packages.
            Found::Package(_) | Found::Members(..) | Found::Downloaded(..) => {}
            Found::Excluded(items) => self.excluded += items,
            Found::Note(text) => log::warn!("{text}"),
            Found::Failed(Failed { error, missing, .. }) => {
                self.failed += 1;
                self.missing += missing;
                if self.failures.len() < MAX_EXAMPLES {
                    self.failures.push(error);
                }
            }
        }
    }

    fn count(&mut self, path: &DrivePath, entry: &Entry, last: Option<&Versions>) {
        self.shared += u64::from(entry.is_shared);
        let file = match &entry.item {
            Item::File(file) => file,
            Item::Folder => {
                self.folders += 1;
                return;
            }
            Item::Link(_) => return,
        };
        self.files += 1;
        self.packages += u64::from(file.is_package || file.size.is_none());
        let size = file.size.unwrap_or_default();
        self.bytes += size;
        for folder in path.ancestors() {
            let (files, bytes) = self.below.entry(folder).or_default();
            *files += 1;
            *bytes += size;
        }
        let place = self.largest_files.partition_point(|&(_, other)| other >= size);
        if place < MAX_EXAMPLES {
            self.largest_files.insert(place, (path.clone(), size));
            self.largest_files.truncate(MAX_EXAMPLES);
        }
        if let (Some(changes), Some(last)) = (&mut self.changes, last) {
            match last.is_unchanged(path, &file.version) {
                Some(true) => return,
                Some(false) => changes.changed += 1,
                None => changes.new += 1,
            }
            changes.bytes += size;
        }
    }

    fn count_names(&mut self, items: &[(DrivePath, Entry)]) {
        let mut folded: BTreeMap<String, u64> = BTreeMap::new();
        for (path, _) in items {
            *folded.entry(path.name().to_lowercase()).or_default() += 1;
        }
        for (path, _) in items {
            let has_twin = folded.get(&path.name().to_lowercase()).is_some_and(|&count| count > 1);
            let twin = has_twin.then_some("differs from another name only in case");
            if let Some(why) = portability_problem(path.name()).or(twin) {
                self.unportable += 1;
                if self.unportable_names.len() < MAX_EXAMPLES {
                    self.unportable_names.push((path.clone(), why));
                }
            }
        }
    }
}
