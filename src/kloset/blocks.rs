//! A cache of file content, in blocks, for files that never change.
//!
//! plakar requests one small range for each blob, widened by a random amount so that no two ranges
//! are the same (K/repository/repository.go). So content is fetched and cached in blocks. A reader
//! that misses a block fetches several blocks with one request, and a reader that needs a block of
//! a fetch under way waits for that one.

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

/// The size of a block in bytes. On average, a read that misses fetches half a block too much.
const BLOCK: usize = 256 * 1024;
/// The maximum number of concurrent fetches in the process. For each fetch, Go buffers up to 4 MiB that
/// arrive faster than they are read (net/http, HTTP/2 transport).
const MAX_FETCHES: usize = 4;
/// Percentage of the memory limit that cached blocks may use. The rest is for Go and gRPC, which
/// hold the same content before and after it is cached. `benches/kloset/memory.rs` checks the sum.
const CACHED_PERCENT: u64 = 50;
/// Percentage of the memory limit that the blocks of all concurrent fetches may use.
const FETCHED_PERCENT: u64 = 25;
/// The fraction of the cache for blocks that are used often. The rest is for new blocks, which were
/// prefetched and must not be evicted before they are used.
const HOT_FRACTION: f64 = 0.25;
/// The number of files whose read-ahead windows are stored. plakar reads from a few packfiles at a
/// time.
const MAX_FILES: usize = 512;
/// The capacity, in pieces, of the channel to the reader of a part.
const PIECES_AHEAD: usize = 2;

/// The cached blocks of all files of a drive, within a memory limit.
#[derive(Debug, Clone)]
pub struct Blocks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The files that were read most recently. A file that is evicted loses its window, but its
    /// blocks stay cached.
    files: Cache<DrivePath, Arc<CachedFile>>,
    blocks: Cache<Key, Bytes, Size>,
    disk: Option<Arc<Disk>>,
    /// Distinguishes the drive from others that use the same folder.
    origin: String,
    /// The number of blocks that all concurrent fetches may still have.
    room: Semaphore,
    /// The number of blocks that all concurrent fetches may have.
    capacity: usize,
    /// The number of fetches that have begun or wait to begin.
    fetches: AtomicUsize,
}

/// The key of a block: the identity of a version of a file, and the number of the block.
type Key = (u128, usize);

#[derive(Debug, Clone)]
struct Size;

impl Weighter<Key, Bytes> for Size {
    fn weight(&self, _: &Key, block: &Bytes) -> u64 {
        block.len() as u64
    }
}

impl Blocks {
    /// Returns a cache with `memory` bytes of memory and, if `disk` is given, a folder with its own
    /// limit in bytes. `origin` distinguishes the drive from others in the same folder.
    pub fn new(memory: u64, disk: Option<(PathBuf, u64)>, origin: &str) -> Self {
        let cached = memory / 100 * CACHED_PERCENT;
        let blocks = in_blocks(cached);
        let capacity = in_blocks(memory / 100 * FETCHED_PERCENT).max(1);
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(blocks.max(1))
            .weight_capacity(cached)
            .hot_allocation(HOT_FRACTION)
            .build();
        let blocks = match options {
            Ok(options) => {
                Cache::with_options(options, Size, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            // Fails only for options that are not set here.
            Err(_) => Cache::with_weighter(blocks.max(1), cached, Size),
        };
        Self(Arc::new(Shared {
            files: Cache::new(MAX_FILES),
            blocks,
            disk: disk.map(|(folder, size)| Arc::new(Disk::new(&folder, size))),
            origin: origin.to_owned(),
            room: Semaphore::new(capacity),
            capacity,
            fetches: AtomicUsize::default(),
        }))
    }

    /// Reads an immutable file or a part of it. Returns exactly the requested bytes, without those
    /// beyond the end of the file.
    pub fn read(&self, path: &DrivePath, file: File, part: Option<Range<u64>>) -> Content {
        let Some(size) = file.size else {
            // Without a size, it is unknown whether a block is complete.
            return drive::read(file, part);
        };
        let part = part.unwrap_or(0..size);
        let part = part.start.min(size)..part.end.min(size);
        let cached = self.file(path, file, size);
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let rest = cached.send_cached(part, &sender);
        if !rest.is_empty() {
            tokio::spawn(cached.send(rest, sender));
        }
        Content::of(pieces)
    }

    /// Starts to fetch the end of a file into the cache.
    pub fn prefetch_end(&self, path: &DrivePath, file: File) {
        if let Some(size) = file.size {
            // The blocks are fetched even without a reader. The next reader gets the error if this
            // fails.
            drop(self.read(path, file, Some(size.saturating_sub(1)..size)));
        }
    }

    /// Drops the cached state of a file that was deleted or stored again.
    pub fn forget(&self, path: &DrivePath) {
        if let Some((_, forgotten)) = self.0.files.remove(path) {
            self.0.drop_blocks(&forgotten);
        }
    }

    fn file(&self, path: &DrivePath, file: File, size: u64) -> Arc<CachedFile> {
        let files = &self.0.files;
        match files.get(path) {
            Some(known) if known.is_version_of(&file) => known,
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
    /// Returns the number of blocks that a further fetch may have beyond those that were requested.
    fn share(&self) -> usize {
        self.capacity / (self.fetches.load(Ordering::Relaxed) + 1)
    }

    /// Waits until a fetch of this many blocks may begin.
    async fn room_for(&self, blocks: usize) -> Option<SemaphorePermit<'_>> {
        let permits = blocks.max(self.capacity / MAX_FETCHES).clamp(1, self.capacity);
        // None only if the semaphore is closed, which never happens.
        self.room.acquire_many(u32::try_from(permits).unwrap_or(u32::MAX)).await.ok()
    }

    fn drop_blocks(&self, file: &CachedFile) {
        self.blocks.retain(|&(identity, _), _| identity != file.identity());
    }
}

fn in_blocks(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX) / BLOCK
}
