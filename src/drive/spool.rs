//! Spools for content to be uploaded. The size of the content must be known before the upload, and
//! a retry reads it again from the start.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use crate::rclone::Region;

/// The unit of the memory limit.
const MEMORY_UNIT: usize = 64 * 1024;
/// The unit in which room on the disk is reserved.
const RESERVATION_UNIT: u64 = 16 * 1024 * 1024;

/// The shared storage of all spools: memory up to a limit, then files without a name, which
/// disappear with the process.
#[derive(Debug, Clone)]
pub struct Spools {
    memory: Arc<Semaphore>,
    folder: Arc<PathBuf>,
}

impl Spools {
    /// Returns storage of `memory` bytes for all spools of the process together, and of files in
    /// `folder`.
    pub fn new(memory: usize, folder: &Path) -> Self {
        Self { memory: Arc::new(Semaphore::new(memory / MEMORY_UNIT)), folder: Arc::new(folder.to_owned()) }
    }

    /// Returns an empty spool.
    pub fn begin(&self) -> Spool {
        Spool { spools: self.clone(), held: Held::Memory { bytes: BytesMut::new(), budget: None } }
    }
}

/// Content that is being received.
#[derive(Debug)]
pub struct Spool {
    spools: Spools,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Memory { bytes: BytesMut, budget: Option<OwnedSemaphorePermit> },
    File { file: File, size: u64, reserved: u64 },
}

/// Complete content. Its shares of limits are released on drop.
#[derive(Debug)]
pub struct Spooled {
    content: Arc<Region>,
    budgets: Vec<OwnedSemaphorePermit>,
}

impl Spooled {
    /// Returns the content.
    pub fn content(&self) -> &Arc<Region> {
        &self.content
    }

    /// Returns the content if it is in memory and not in a file.
    pub fn in_memory(&self) -> Option<Bytes> {
        match &*self.content {
            Region::Memory(bytes) => Some(bytes.clone()),
            Region::File { .. } => None,
        }
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.content.size()
    }

    /// Returns the content with a share of another limit, which it holds until it is dropped.
    pub fn holding(mut self, permit: Option<OwnedSemaphorePermit>) -> Self {
        self.budgets.extend(permit);
        self
    }
}

impl From<Bytes> for Spooled {
    /// Returns content that is already in memory. It does not count towards the limit.
    fn from(bytes: Bytes) -> Self {
        Self { content: Arc::new(Region::Memory(bytes)), budgets: Vec::new() }
    }
}

impl Spool {
    /// Appends content.
    ///
    /// # Errors
    /// Fails if the file cannot be created or has no room, as on a full disk.
    pub async fn add(&mut self, chunk: Bytes) -> io::Result<()> {
        if let Held::Memory { bytes, budget } = &mut self.held {
            if self.spools.make_room(bytes, budget, chunk.len()) {
                bytes.extend_from_slice(&chunk);
                return Ok(());
            }
            self.move_to_file().await?;
        }
        self.append(chunk).await
    }

    async fn move_to_file(&mut self) -> io::Result<()> {
        let folder = Arc::clone(&self.spools.folder);
        let file = spawn_blocking(move || tempfile::tempfile_in(&*folder)).await??;
        let before = std::mem::replace(&mut self.held, Held::File { file, size: 0, reserved: 0 });
        match before {
            Held::Memory { bytes, .. } => self.append(bytes.freeze()).await,
            Held::File { .. } => Ok(()),
        }
    }

    async fn append(&mut self, chunk: Bytes) -> io::Result<()> {
        let Held::File { file, size, reserved } = &mut self.held else {
            return Ok(());
        };
        let (at, end) = (*size, *size + chunk.len() as u64);
        let room = if end > *reserved { Some(*reserved..end.next_multiple_of(RESERVATION_UNIT)) } else { None };
        *reserved = room.as_ref().map_or(*reserved, |room| room.end);
        *size = end;
        let file = file.try_clone()?;
        let write = move || {
            if let Some(room) = room {
                reserve(&file, room)?;
            }
            file.write_all_at(&chunk, at)
        };
        spawn_blocking(write).await?
    }

    /// Completes the content.
    pub fn finish(self) -> Spooled {
        let (content, budget) = match self.held {
            Held::Memory { bytes, budget } => (Region::Memory(bytes.freeze()), budget),
            Held::File { file, size, .. } => (Region::File { file, size }, None),
        };
        Spooled { content: Arc::new(content), budgets: budget.into_iter().collect() }
    }
}

/// Reserves room on the disk, so that a full disk is detected before content that does not fit is
/// written, and so that several spools do not count on the same room.
fn reserve(file: &File, room: Range<u64>) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, room.start, room.end - room.start) {
        // Not every file system can reserve room. A full disk is then detected by the write.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        result => Ok(result?),
    }
}

impl Spools {
    /// Grows `bytes` by at least `more` if the limit has room for the whole new size.
    fn make_room(&self, bytes: &mut BytesMut, budget: &mut Option<OwnedSemaphorePermit>, more: usize) -> bool {
        let needed = bytes.len() + more;
        let held = budget.as_ref().map_or(0, |budget| budget.num_permits() * MEMORY_UNIT);
        if needed <= held {
            return true;
        }
        // The capacity doubles, so that the content is not copied for every chunk.
        let wanted = needed.max(2 * held).next_multiple_of(MEMORY_UNIT);
        let Some(permit) = self.take((wanted - held) / MEMORY_UNIT) else {
            return false;
        };
        match budget {
            Some(budget) => budget.merge(permit),
            None => *budget = Some(permit),
        }
        bytes.reserve(wanted - bytes.len());
        true
    }

    fn take(&self, units: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(units).ok()?;
        // Fails only if the limit has no room: the semaphore is never closed.
        Arc::clone(&self.memory).try_acquire_many_owned(units).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn spooled(spools: &Spools, parts: &[&'static [u8]]) -> Spooled {
        let mut spool = spools.begin();
        for part in parts {
            spool.add(Bytes::from_static(part)).await.unwrap();
        }
        spool.finish()
    }

    #[tokio::test]
    async fn content_beyond_the_memory_limit_goes_to_an_unnamed_file() {
        let folder = tempfile::tempdir().unwrap();
        let spools = Spools::new(MEMORY_UNIT, folder.path());
        let first = spooled(&spools, &[b"one ", b"two"]).await;
        assert!(matches!(**first.content(), Region::Memory(_)));

        let second = spooled(&spools, &[b"three ", b"four"]).await;
        let Region::File { file, size: 10 } = &**second.content() else {
            panic!("{:?}", second.content());
        };
        let mut content = [0; 10];
        file.read_exact_at(&mut content, 0).unwrap();
        assert_eq!(&content, b"three four");
        assert_eq!(file.metadata().unwrap().len(), 10);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);

        drop(first);
        let third = spooled(&spools, &[b"five"]).await;
        assert!(matches!(**third.content(), Region::Memory(_)));
        assert_eq!(third.size(), 4);
    }
}
