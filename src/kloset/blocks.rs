//! A cache of file content, in blocks, for files that never change.
//!
//! plakar asks for one small range per blob, widened by a random bit so that no
//! two are the same (K/repository/repository.go). So content is fetched and kept
//! in blocks: whoever misses one fetches a run of them with one request, and
//! whoever needs a block that is on its way waits for it.

mod fetch;
mod file;
mod window;

use std::{
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use super::disk::Disk;
use crate::{
    drive::{self, Content, DrivePath},
    rclone::File,
};
use file::CachedFile;

/// Bytes of a block. A read that misses wastes half of one on average.
const BLOCK: usize = 256 * 1024;
/// The most runs on their way at once, in the whole process. Go keeps up to 4 MiB
/// of each that came faster than it was read (net/http, HTTP/2 transport).
const RUNS: usize = 4;
/// Percent of the memory that blocks may have. Go and gRPC have the rest for them,
/// before and after they are here; `benches/kloset/memory.rs` holds that together.
const KEPT: u64 = 50;
/// Percent of the memory that the blocks of all runs on their way may have.
const ON_THEIR_WAY: u64 = 25;
/// The part of that for blocks that are used often; the rest is for new ones,
/// which were read ahead and must not go before they are used.
const OFTEN_USED: f64 = 0.25;
/// Files whose windows are kept. plakar reads from a few packfiles at a time.
const FILES: usize = 512;
/// Pieces that wait for whoever reads a part.
const PIECES: usize = 2;

/// The blocks of all files of a drive, within a budget of memory.
#[derive(Debug, Clone)]
pub struct Blocks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The files that were read last. A file that is dropped loses its window, and its
    /// blocks remain.
    files: Cache<DrivePath, Arc<CachedFile>>,
    blocks: Cache<Key, Bytes, Size>,
    disk: Option<Arc<Disk>>,
    /// What tells the drive from others that use the same folder.
    origin: String,
    /// Blocks that may be on their way in all runs together.
    room: Semaphore,
    rooms: usize,
    /// Runs that have begun or wait to begin.
    wanted: AtomicUsize,
}

/// A block of a file, by the identity of its version.
type Key = (u128, usize);

#[derive(Debug, Clone)]
struct Size;

impl Weighter<Key, Bytes> for Size {
    fn weight(&self, _: &Key, block: &Bytes) -> u64 {
        block.len() as u64
    }
}

impl Blocks {
    /// A cache of `memory` bytes, and of some bytes in a folder if that is given.
    /// `origin` tells the drive from others.
    pub fn new(memory: u64, disk: Option<(PathBuf, u64)>, origin: &str) -> Self {
        let kept = memory / 100 * KEPT;
        let blocks = in_blocks(kept);
        let rooms = in_blocks(memory / 100 * ON_THEIR_WAY).max(1);
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(blocks.max(1))
            .weight_capacity(kept)
            .hot_allocation(OFTEN_USED)
            .build();
        let blocks = match options {
            Ok(options) => {
                Cache::with_options(options, Size, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            // Only for options that are not set.
            Err(_) => Cache::with_weighter(blocks.max(1), kept, Size),
        };
        Self(Arc::new(Shared {
            files: Cache::new(FILES),
            blocks,
            disk: disk.map(|(folder, size)| Arc::new(Disk::new(&folder, size))),
            origin: origin.to_owned(),
            room: Semaphore::new(rooms),
            rooms,
            wanted: AtomicUsize::default(),
        }))
    }

    /// Reads a file that does not change, or a part of it. Exactly the bytes
    /// asked for come, less only what lies behind the end of the file.
    pub fn read(&self, path: &DrivePath, file: File, part: Option<Range<u64>>) -> Content {
        let Some(size) = file.size else {
            // Without a size nobody can tell whether a block is complete.
            return drive::read(file, part);
        };
        let part = part.unwrap_or(0..size);
        let part = part.start.min(size)..part.end.min(size);
        let cached = self.file(path, file, size);
        let (sender, pieces) = mpsc::channel(PIECES);
        let rest = cached.send_at_hand(part, &sender);
        if !rest.is_empty() {
            tokio::spawn(cached.send(rest, sender));
        }
        Content::of(pieces)
    }

    /// Starts to read the end of a file into the cache.
    pub fn prefetch_end(&self, path: &DrivePath, file: File) {
        if let Some(size) = file.size {
            // The blocks arrive without a reader too. A failure is reported to the next
            // reader.
            drop(self.read(path, file, Some(size.saturating_sub(1)..size)));
        }
    }

    /// Drops what is known of a file, because it was deleted or stored again.
    pub fn forget(&self, path: &DrivePath) {
        if let Some((_, forgotten)) = self.0.files.remove(path) {
            self.0.drop_blocks(&forgotten);
        }
    }

    fn file(&self, path: &DrivePath, file: File, size: u64) -> Arc<CachedFile> {
        let files = &self.0.files;
        match files.get(path) {
            Some(known) if known.is(&file) => known,
            other => {
                if let Some(other) = other {
                    self.0.drop_blocks(&other);
                }
                let cached = Arc::new(CachedFile::new(Arc::clone(&self.0), path, file, size));
                files.insert(path.clone(), Arc::clone(&cached));
                cached
            }
        }
    }
}

impl Shared {
    /// Blocks that one more run may have without being asked for them.
    fn share(&self) -> usize {
        self.rooms / (self.wanted.load(Ordering::Relaxed) + 1)
    }

    /// Waits until a run of so many blocks may begin.
    async fn room_for(&self, blocks: usize) -> Option<SemaphorePermit<'_>> {
        let rooms = blocks.max(self.rooms / RUNS).clamp(1, self.rooms);
        // None only if it were closed, which it never is.
        self.room.acquire_many(u32::try_from(rooms).unwrap_or(u32::MAX)).await.ok()
    }

    fn drop_blocks(&self, file: &CachedFile) {
        self.blocks.retain(|&(identity, _), _| identity != file.identity());
    }
}

fn in_blocks(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX) / BLOCK
}
