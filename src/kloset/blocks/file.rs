//! A file whose content is cached.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, mpsc},
    task::spawn_blocking,
};
use xxhash_rust::xxh3::xxh3_128;

use super::{BLOCK, Shared, fetch::Fetch, window::Window};
use crate::{
    drive::DrivePath,
    rclone::{Error, File},
};

/// The maximum number of concurrent fetches of a file. At this number, a reader that misses a block
/// waits until a fetch has ended, because the reads until then show how large the next fetch should be.
const MAX_FETCHES: usize = 4;

/// A version of a file and the state of its cached blocks.
#[derive(Debug)]
pub struct CachedFile {
    shared: Arc<Shared>,
    /// The identity of this version of the file, the same in every process.
    identity: u128,
    file: File,
    size: u64,
    reading: Mutex<Reading>,
    fetch_ended: Notify,
}

#[derive(Debug)]
struct Reading {
    window: Window,
    fetches: Vec<Arc<Fetch>>,
}

enum Found {
    Block(Bytes),
    UnderWay(Arc<Fetch>),
    TooManyFetches,
}

impl CachedFile {
    pub fn new(shared: Arc<Shared>, path: &DrivePath, file: File, size: u64) -> Self {
        let identity = xxh3_128(format!("{}\0{path}\0{}\0{size}", shared.origin, file.version).as_bytes());
        let reading = Mutex::new(Reading {
            window: Window::new(block_of(size.next_multiple_of(BLOCK as u64))),
            fetches: Vec::new(),
        });
        Self { shared, identity, file, size, reading, fetch_ended: Notify::new() }
    }

    /// Reports whether this is the version of the file that a listing returned.
    pub fn is_version_of(&self, file: &File) -> bool {
        self.file.version == file.version && Some(self.size) == file.size
    }

    /// Returns the identity of this version of the file.
    pub fn identity(&self) -> u128 {
        self.identity
    }

    /// Sends the bytes of a part that are in memory, as far as the channel has room, and returns
    /// the rest of the part. Most of plakar's reads are completed here, without a task.
    pub fn send_cached(
        self: &Arc<Self>,
        mut part: Range<u64>,
        pieces: &mpsc::Sender<Result<Bytes, Error>>,
    ) -> Range<u64> {
        while !part.is_empty()
            && let Ok(room) = pieces.try_reserve()
        {
            let block = block_of(part.start);
            let Some(content) = self.shared.blocks.get(&(self.identity, block)) else {
                break;
            };
            let piece = piece_of(&content, &part);
            part.start += piece.len() as u64;
            room.send(Ok(piece));
            self.read_ahead(block);
        }
        part
    }

    /// Sends a part of the content, which must lie within the file.
    pub async fn send(self: Arc<Self>, part: Range<u64>, pieces: mpsc::Sender<Result<Bytes, Error>>) {
        let mut at = part.start;
        while at < part.end {
            let piece = self.piece(at..part.end).await;
            at += piece.as_ref().map_or(0, Bytes::len) as u64;
            let failed = piece.is_err();
            if pieces.send(piece).await.is_err() || failed {
                return;
            }
        }
    }

    /// Returns the bytes of a part that are in its first block.
    async fn piece(self: &Arc<Self>, part: Range<u64>) -> Result<Bytes, Error> {
        let first = block_of(part.start);
        let content = self.block(first, block_of(part.end - 1) + 1 - first).await?;
        self.read_ahead(first);
        Ok(piece_of(&content, &part))
    }

    /// Returns a block. `requested` is the number of blocks of the part, from this one on.
    async fn block(self: &Arc<Self>, block: usize, requested: usize) -> Result<Bytes, Error> {
        loop {
            let fetch_ended = self.fetch_ended.notified();
            let found = self.find(block, requested);
            match found {
                Found::Block(content) => return Ok(content),
                Found::UnderWay(fetch) => return fetch.block(block).await,
                Found::TooManyFetches => fetch_ended.await,
            }
        }
    }

    fn find(self: &Arc<Self>, block: usize, requested: usize) -> Found {
        let mut reading = self.reading();
        if let Some(content) = self.shared.blocks.get(&(self.identity, block)) {
            return Found::Block(content);
        }
        if let Some(fetch) = reading.fetches.iter().find(|fetch| fetch.contains(block)) {
            return Found::UnderWay(Arc::clone(fetch));
        }
        if reading.fetches.len() >= MAX_FETCHES {
            return Found::TooManyFetches;
        }
        let blocks = reading
            .window
            .range_to_fetch(block, requested, self.shared.share(), |block| self.is_available(&reading, block));
        Found::UnderWay(self.start(&mut reading, blocks))
    }

    /// Records that a block was read, and prefetches the blocks that are likely to be read next.
    fn read_ahead(self: &Arc<Self>, block: usize) {
        let mut reading = self.reading();
        reading.window.mark_read(block);
        let share = self.shared.share().min(self.shared.room.available_permits());
        if reading.fetches.len() >= MAX_FETCHES {
            return;
        }
        let is_available = |block| self.is_available(&reading, block);
        if let Some(next) = reading.window.next(block, share, is_available) {
            let blocks = reading.window.range_to_fetch(next, 1, share, is_available);
            self.start(&mut reading, blocks);
        }
    }

    fn is_available(&self, reading: &Reading, block: usize) -> bool {
        reading.fetches.iter().any(|fetch| fetch.contains(block))
            || self.shared.blocks.contains_key(&(self.identity, block))
    }

    fn start(self: &Arc<Self>, reading: &mut Reading, blocks: Range<usize>) -> Arc<Fetch> {
        reading.window.mark_fetched(blocks.clone());
        let fetch = Arc::new(Fetch::new(blocks));
        reading.fetches.push(Arc::clone(&fetch));
        self.shared.fetches.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(Arc::clone(self).carry_out(Arc::clone(&fetch)));
        fetch
    }

    async fn carry_out(self: Arc<Self>, fetch: Arc<Fetch>) {
        let room = self.shared.room_for(fetch.blocks().len()).await;
        let keep = |block, content: &Bytes| self.shared.blocks.insert((self.identity, block), content.clone());
        let mut next = fetch.blocks().start;
        while next < fetch.blocks().end {
            if let Some(content) = self.read_from_disk(next).await {
                fetch.add(content, keep);
                next += 1;
                continue;
            }
            let missing = next..self.end_of_missing(next, fetch.blocks().end).await;
            if fetch.receive(missing.clone(), &self.file, self.size, keep).await.is_err() {
                // A response that does not end as expected is not trusted, so its blocks are
                // dropped.
                for block in fetch.blocks() {
                    self.shared.blocks.remove(&(self.identity, block));
                }
                break;
            }
            next = missing.end;
            self.write_to_disk(missing.start, fetch.arrived_of(missing)).await;
        }
        drop(room);
        self.shared.fetches.fetch_sub(1, Ordering::Relaxed);
        self.reading().fetches.retain(|other| !Arc::ptr_eq(other, &fetch));
        self.fetch_ended.notify_waiters();
    }

    async fn read_from_disk(&self, block: usize) -> Option<Bytes> {
        let disk = Arc::clone(self.shared.disk.as_ref()?);
        let key = self.key(block);
        let start = (block * BLOCK) as u64;
        let size = usize::try_from(self.size - start).map_or(BLOCK, |rest| rest.min(BLOCK));
        // Fails only when the process ends.
        spawn_blocking(move || disk.get(key, size)).await.ok()?
    }

    /// Returns the first block in the range that is on disk, or `end` if there is none.
    async fn end_of_missing(&self, first: usize, end: usize) -> usize {
        let Some(disk) = self.shared.disk.clone() else {
            return end;
        };
        let next = first + 1;
        let keys: Vec<_> = (next..end).map(|block| self.key(block)).collect();
        // Fails only when the process ends.
        let found = spawn_blocking(move || keys.into_iter().position(|key| disk.has(key))).await;
        found.ok().flatten().map_or(end, |position| next + position)
    }

    async fn write_to_disk(&self, first: usize, contents: Vec<Bytes>) {
        let Some(disk) = self.shared.disk.clone() else {
            return;
        };
        let blocks: Vec<_> =
            contents.into_iter().enumerate().map(|(n, content)| (self.key(first + n), content)).collect();
        let write = move || {
            let written = blocks.into_iter().try_for_each(|(key, content)| disk.put(key, &content));
            written.unwrap_or_else(|error| disk.warn(&error));
        };
        // Fails only when the process ends.
        let _ = spawn_blocking(write).await;
    }

    /// Returns the key of a block, the same in every process.
    fn key(&self, block: usize) -> u128 {
        self.identity ^ xxh3_128(&(block as u64).to_le_bytes())
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the bytes of a part that begins in this block, up to the end of the block.
fn piece_of(block: &Bytes, part: &Range<u64>) -> Bytes {
    let offset = (part.start % BLOCK as u64) as usize;
    let end = usize::try_from(part.end - part.start).map_or(BLOCK, |length| offset + length);
    block.slice(offset..block.len().min(end))
}

fn block_of(offset: u64) -> usize {
    usize::try_from(offset / BLOCK as u64).unwrap_or(usize::MAX)
}
