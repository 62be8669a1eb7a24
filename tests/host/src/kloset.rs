//! Snapshots in a store: content-addressed chunks in packfiles, a state for each snapshot, and
//! locks, written and read in plakar's order. The formats are the host's own.

mod lock;
mod packing;
mod state;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};

use self::packing::{Packfile, Packing};
use self::state::{Place, Saved, State};
use crate::error::{Error, Result};
use crate::snapshot::{Content, Snapshot};
use crate::store::{Mac, Range, Resource, Store, digest};

/// plakar's default limit of a packfile, in bytes.
const PACKFILE: usize = 64 * 1024 * 1024;
/// The maximum number of chunks that are read with one call.
const RUN: usize = 4 * 1024 * 1024 / packing::CHUNK;
/// The number of concurrent calls.
const CONCURRENCY: usize = 4;
/// The size of the configuration, about that of plakar's own.
const CONFIG: usize = 370;

/// The name of a snapshot, and of its state and its lock.
pub type SnapshotId = Mac;

/// A store that holds a kloset.
#[derive(Debug)]
pub struct Kloset<'a> {
    store: &'a Store,
    config: Bytes,
    packfile: usize,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checked {
    /// The number of chunks, each of which matched its name.
    pub chunks: usize,
    /// The total size of the chunks in bytes.
    pub bytes: u64,
}

impl<'a> Kloset<'a> {
    /// Creates a kloset in the store.
    ///
    /// # Errors
    /// Fails if there is one already, or the store cannot be written.
    pub async fn create(store: &'a Store) -> Result<Self> {
        let mut config = new_id().repeat(CONFIG / 32 + 1);
        config.truncate(CONFIG);
        store.create(config).await?;
        Self::open(store).await
    }

    /// Opens the kloset in the store.
    ///
    /// # Errors
    /// Fails if there is none, or it cannot be read.
    pub async fn open(store: &'a Store) -> Result<Self> {
        Ok(Self { config: store.open().await?, store, packfile: PACKFILE })
    }

    /// Sets a smaller size of packfiles, in bytes.
    #[must_use]
    pub fn with_packfiles_of(mut self, size: usize) -> Self {
        self.packfile = size;
        self
    }

    /// Returns the configuration that the kloset was created with.
    pub fn config(&self) -> &Bytes {
        &self.config
    }

    /// Stores a snapshot, which must hold the bytes of its contents.
    ///
    /// # Errors
    /// Fails if the store is locked by a maintenance, or cannot be written. The lock is left behind
    /// when something cannot be stored, as plakar leaves it.
    pub async fn backup(&self, snapshot: &Snapshot) -> Result<SnapshotId> {
        let id = new_id();
        lock::acquire(self.store, id).await?;
        let known = self.places().await?;
        let mut packing = Packing::new(self.packfile, &known);
        let state = State::of(snapshot, |content| packing.add(content));
        let (packfiles, places) = packing.finish();
        stream::iter(packfiles)
            .map(|packfile| self.put(packfile))
            .buffer_unordered(CONCURRENCY + 1)
            .try_collect::<()>()
            .await?;
        let state = state.with_places(places).encode()?;
        self.store.put(Resource::State, id, state).await?;
        self.store.delete(Resource::Lock, id).await?;
        Ok(id)
    }

    async fn put(&self, packfile: Packfile) -> Result<()> {
        let size = packfile.content.len() as u64;
        let written = self.store.put(Resource::Packfile, packfile.mac, packfile.content).await?;
        if written.cast_unsigned() == size {
            return Ok(());
        }
        Err(Error::protocol("Put", format!("{written} bytes written of {size}")))
    }

    /// Stores a lock and does not delete it, as a killed plakar.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub async fn leave_lock(&self, taken: SystemTime, exclusive: bool) -> Result<Mac> {
        let id = new_id();
        lock::put(self.store, id, taken, exclusive).await?;
        Ok(id)
    }

    /// Returns the names of all snapshots.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotId>> {
        self.store.list(Resource::State).await
    }

    async fn state(&self, id: SnapshotId) -> Result<State> {
        State::decode(&self.store.get(Resource::State, id, None).await?)
    }

    async fn places(&self) -> Result<HashMap<Mac, Place>> {
        let mut places = HashMap::new();
        for id in self.snapshots().await? {
            places.extend(self.state(id).await?.places);
        }
        Ok(places)
    }

    /// Reads each chunk of a snapshot separately and compares it with its name.
    ///
    /// # Errors
    /// Fails if a chunk cannot be read or is damaged.
    pub async fn check(&self, id: SnapshotId) -> Result<Checked> {
        let (state, places) = (self.state(id).await?, self.places().await?);
        let mut reads = stream::iter(state.chunks())
            .map(|chunk| self.read(std::slice::from_ref(chunk), &places))
            .buffer_unordered(CONCURRENCY);
        let mut checked = Checked::default();
        while let Some(content) = reads.try_next().await? {
            checked.chunks += 1;
            checked.bytes += content.len() as u64;
        }
        Ok(checked)
    }

    /// Reads a snapshot with the bytes of its contents.
    ///
    /// # Errors
    /// Fails if the store cannot be read, or something in it is damaged.
    pub async fn load(&self, id: SnapshotId) -> Result<Snapshot> {
        let (state, places) = (self.state(id).await?, self.places().await?);
        let mut snapshot = state.header();
        let mut entries = stream::iter(&state.entries)
            .map(async |saved| Ok::<_, Error>((saved, self.content(saved, &places).await?)))
            .buffer_unordered(CONCURRENCY);
        while let Some((saved, content)) = entries.try_next().await? {
            snapshot.entries.insert(saved.path.clone(), saved.entry(content));
        }
        Ok(snapshot)
    }

    async fn content(&self, saved: &Saved, places: &HashMap<Mac, Place>) -> Result<Option<Content>> {
        let Some(chunks) = &saved.chunks else { return Ok(None) };
        let follow = |a: &Mac, b: &Mac| match (places.get(a), places.get(b)) {
            (Some(a), Some(b)) => a.packfile == b.packfile && a.end() == b.offset,
            _ => false,
        };
        let mut bytes = BytesMut::new();
        for run in chunks.chunk_by(follow).flat_map(|run| run.chunks(RUN)) {
            bytes.extend_from_slice(&self.read(run, places).await?);
        }
        let bytes = bytes.freeze();
        Ok(Some(Content { size: bytes.len() as u64, digest: digest(&bytes), bytes: Some(bytes) }))
    }

    /// Reads consecutive chunks of a packfile with one call. The range is wider than the chunks, as
    /// plakar's ranges always are.
    async fn read(&self, chunks: &[Mac], places: &HashMap<Mac, Place>) -> Result<Bytes> {
        let place = |mac| places.get(mac).ok_or_else(|| Error::Kloset("a chunk is missing".to_owned()));
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
            return Ok(Bytes::new());
        };
        let (start, end) = (place(first)?, place(last)?.end());
        let before = u64::from(first[0]).min(start.offset);
        let range = Range {
            offset: start.offset - before,
            length: u32::try_from(end - start.offset + before).unwrap_or(u32::MAX),
        };
        let mut content = self.store.get(Resource::Packfile, start.packfile, Some(range)).await?;
        if content.len() != range.length as usize {
            let short = format!("received {} bytes instead of {}", content.len(), range.length);
            return Err(Error::Kloset(short));
        }
        content.advance(usize::try_from(before).unwrap_or(usize::MAX));
        let mut rest = content.clone();
        for chunk in chunks {
            if digest(&rest.split_to(place(chunk)?.length as usize)) != *chunk {
                return Err(Error::Kloset("a chunk is damaged".to_owned()));
            }
        }
        Ok(content)
    }
}

/// Returns a unique name for a snapshot.
fn new_id() -> Mac {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    digest(format!("{} {} {made}", std::process::id(), now.as_nanos()).as_bytes())
}
