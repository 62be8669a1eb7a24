//! Read-ahead of small files.

use std::{
    collections::{BTreeMap, HashMap},
    ops::{Bound, RangeInclusive},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Versions;
use crate::{
    drive::{Content, Drive, DrivePath, Spooled},
    rclone::File,
};

/// The largest file that is read ahead, in bytes. [`Content`] buffers a file of this size in full.
const MAX_FILE_SIZE: u64 = 1024 * 1024;

/// The number of consecutive reads above which the following files are read ahead.
const THRESHOLD: usize = 1;

/// The number of files that each further consecutive read adds to the read-ahead window.
const GROWTH: usize = 8;

/// The number of following files among which those to read ahead are selected.
const SELECTED_FROM: usize = 4096;

/// The maximum total size of the files that were read ahead and not opened yet, in bytes.
const MAX_WAITING_BYTES: u64 = 24 * 1024 * 1024;

/// The minimum and maximum number of files that are announced to the backend.
const ANNOUNCED: RangeInclusive<usize> = 8..=256;

/// The listed files, and the content of those that were read ahead. plakar opens the files that
/// have changed, roughly in the order of the listing.
///
/// At a round trip of 40 ms, reading a small file takes 100 ms, nearly all of it waiting. So while
/// plakar opens consecutive files, the files that follow are read ahead: more with each opened
/// file, up to limits on their number and bytes. Before that, these files and later ones are
/// announced to the backend, so that it gets the addresses of many contents with one request. A
/// skipped file ends the read-ahead, because the next files are likely to be skipped, too. A single
/// changed file does not start it. Generated files are not read ahead, and they neither start nor end
/// the read-ahead: the metadata of a photo changes without its content. Files that have not changed since
/// the last backup are treated in the same way until plakar opens one of them, as in a backup to another
/// kloset.
#[derive(Debug)]
pub struct ReadAhead {
    drive: Drive,
    limit: usize,
    last: Versions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The files that were listed and not released, in the order of the listing.
    files: BTreeMap<u64, Listed>,
    numbers: HashMap<String, u64>,
    listed: u64,
    /// The number of files opened since a file was last skipped.
    consecutive: usize,
    /// The number of files that were read ahead and not opened yet, and their bytes.
    waiting: usize,
    waiting_bytes: u64,
    /// The number of the last file that was announced to the backend.
    announced: u64,
    /// Whether plakar has opened a file that has not changed since the last backup.
    opens_unchanged: bool,
}

#[derive(Debug)]
struct Listed {
    file: File,
    /// Whether the last backup has listed the file with the same version.
    is_unchanged: bool,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Untouched,
    Ahead(Content),
    /// The content was downloaded with the listing. The flag is set for the archive of a
    /// package.
    Downloaded(Arc<Spooled>, bool),
    Opened,
}

impl ReadAhead {
    /// Returns a read-ahead of at most `limit` files that were not opened yet. `last` is what the last
    /// backup has listed.
    pub fn new(drive: Drive, limit: usize, last: Versions) -> Self {
        Self { drive, limit, last, state: Mutex::default() }
    }

    /// Adds the next file of the listing.
    pub fn add(&self, path: &DrivePath, file: File) {
        self.insert(path, file, Progress::Untouched);
    }

    /// Adds the next file of the listing, whose content was downloaded.
    pub fn add_downloaded(&self, path: &DrivePath, file: File, content: Arc<Spooled>, is_package: bool) {
        self.insert(path, file, Progress::Downloaded(content, is_package));
    }

    fn insert(&self, path: &DrivePath, file: File, progress: Progress) {
        let is_unchanged = self.last.is_unchanged(path, &file.version) == Some(true);
        let mut state = self.state();
        state.listed += 1;
        let number = state.listed;
        state.files.insert(number, Listed { file, is_unchanged, progress });
        state.numbers.insert(path.to_string(), number);
    }

    /// Opens a file that was added and not released. Returns its content and the file.
    pub fn open(&self, path: &str) -> Option<(Content, File)> {
        let mut state = self.state();
        let number = *state.numbers.get(path)?;
        let listed = state.files.get_mut(&number)?;
        let (file, is_unchanged) = (listed.file.clone(), listed.is_unchanged);
        let size = file.size.unwrap_or_default();
        let content = match std::mem::replace(&mut listed.progress, Progress::Opened) {
            Progress::Ahead(content) => {
                state.waiting -= 1;
                state.waiting_bytes -= size;
                content
            }
            Progress::Downloaded(content, is_package) => Content::of_spooled(content, is_package),
            Progress::Untouched | Progress::Opened => self.drive.read(file.clone()),
        };
        if !file.is_generated {
            state.opens_unchanged |= is_unchanged;
            state.consecutive += 1;
            self.read_ahead(&mut state, number);
        }
        Some((content, file))
    }

    /// Reads ahead the files that follow `number`, within the window.
    fn read_ahead(&self, state: &mut State, number: u64) {
        let window = self.limit.min(GROWTH * state.consecutive.saturating_sub(THRESHOLD));
        if window == 0 {
            return;
        }
        state.announce(number, window);
        let State { files, waiting, waiting_bytes, opens_unchanged, .. } = state;
        let next = files.range_mut((Bound::Excluded(number), Bound::Unbounded));
        let next = next.take(SELECTED_FROM).filter(|(_, listed)| listed.is_expected(*opens_unchanged));
        for (_, listed) in next.take(window) {
            let small = listed.file.size.filter(|&size| size <= MAX_FILE_SIZE);
            let (Some(size), Progress::Untouched) = (small, &listed.progress) else {
                continue;
            };
            if *waiting >= window || *waiting_bytes + size > MAX_WAITING_BYTES {
                return;
            }
            listed.progress = Progress::Ahead(self.drive.read(listed.file.clone()));
            *waiting += 1;
            *waiting_bytes += size;
        }
    }

    /// Releases a file, which will not be opened any more. Returns the file, and whether it was
    /// opened.
    pub fn release(&self, path: &str) -> Option<(File, bool)> {
        let mut state = self.state();
        let listed = state.numbers.remove(path).and_then(|number| state.files.remove(&number))?;
        match listed.progress {
            Progress::Opened => return Some((listed.file, true)),
            Progress::Ahead(_) => {
                state.waiting -= 1;
                state.waiting_bytes -= listed.file.size.unwrap_or_default();
            }
            Progress::Untouched | Progress::Downloaded(..) => {}
        }
        if listed.is_expected(state.opens_unchanged) {
            state.consecutive = 0;
        }
        Some((listed.file, false))
    }

    /// Releases all files.
    pub fn release_all(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    /// Reports whether the file counts for the read-ahead: its content takes a request, and plakar is
    /// expected to open it.
    fn is_expected(&self, opens_unchanged: bool) -> bool {
        !self.file.is_generated && (opens_unchanged || !self.is_unchanged)
    }
}

impl State {
    /// Announces the files that follow `number` to the backend, up to four windows ahead. Does
    /// nothing while half of that many files are announced already.
    fn announce(&mut self, number: u64, window: usize) {
        let ahead = (4 * window).clamp(*ANNOUNCED.start(), *ANNOUNCED.end());
        let from = self.announced.max(number);
        if self.expected((Bound::Excluded(number), Bound::Included(from))).nth(ahead / 2).is_some() {
            return;
        }
        let next = || self.expected((Bound::Excluded(from), Bound::Unbounded)).take(ahead / 2);
        if let Some((&last, _)) = next().last() {
            File::announce(next().map(|(_, listed)| &listed.file));
            self.announced = last;
        }
    }

    /// Returns the files with these numbers that count for the read-ahead.
    fn expected(&self, numbers: (Bound<u64>, Bound<u64>)) -> impl Iterator<Item = (&u64, &Listed)> {
        let listed = self.files.range(numbers).take(SELECTED_FROM);
        listed.filter(|(_, listed)| listed.is_expected(self.opens_unchanged))
    }
}
