//! Content that waits to be uploaded: its size must be known before, and a
//! retry needs it again from the start.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use crate::rclone::Region;

/// The grain of the memory budget.
const UNIT: usize = 64 * 1024;

/// Where spools are kept: in memory as far as the budget goes, else in files
/// without a name, which are gone when the process is.
#[derive(Debug, Clone)]
pub struct Spools {
    memory: Arc<Semaphore>,
    folder: Arc<PathBuf>,
}

impl Spools {
    /// `memory` bytes for all spools of the process together; `folder` for files.
    pub fn new(memory: usize, folder: &Path) -> Self {
        Self { memory: Arc::new(Semaphore::new(memory / UNIT)), folder: Arc::new(folder.to_owned()) }
    }

    /// An empty spool.
    pub fn begin(&self) -> Spool {
        Spool { spools: self.clone(), held: Held::Memory { bytes: BytesMut::new(), budget: None } }
    }
}

/// Content that is coming in.
#[derive(Debug)]
pub struct Spool {
    spools: Spools,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Memory { bytes: BytesMut, budget: Option<OwnedSemaphorePermit> },
    File { file: File, size: u64 },
}

/// Content that is complete. Its share of the budget is free when it is dropped.
#[derive(Debug)]
pub struct Spooled {
    content: Arc<Region>,
    _budget: Option<OwnedSemaphorePermit>,
}

impl Spooled {
    /// The content.
    pub fn content(&self) -> &Arc<Region> {
        &self.content
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.content.len() as u64
    }
}

impl From<Bytes> for Spooled {
    /// Content that is in memory already, outside of the budget.
    fn from(bytes: Bytes) -> Self {
        Self { content: Arc::new(Region::Memory(bytes)), _budget: None }
    }
}

impl Spool {
    /// Adds content.
    ///
    /// # Errors
    /// If the file cannot be made or written, as on a full disk.
    pub async fn add(&mut self, chunk: Bytes) -> io::Result<()> {
        if let Held::Memory { bytes, budget } = &mut self.held {
            let units = (bytes.len() + chunk.len()).div_ceil(UNIT);
            let missing = units.saturating_sub(budget.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
            match self.spools.take(missing) {
                Some(more) => {
                    match budget {
                        Some(budget) => budget.merge(more),
                        None => *budget = Some(more),
                    }
                    bytes.extend_from_slice(&chunk);
                    return Ok(());
                }
                None => self.move_to_file().await?,
            }
        }
        self.append(chunk).await
    }

    async fn move_to_file(&mut self) -> io::Result<()> {
        let folder = Arc::clone(&self.spools.folder);
        let file = spawn_blocking(move || tempfile::tempfile_in(&*folder)).await??;
        let before = std::mem::replace(&mut self.held, Held::File { file, size: 0 });
        match before {
            Held::Memory { bytes, .. } => self.append(bytes.freeze()).await,
            Held::File { .. } => Ok(()),
        }
    }

    async fn append(&mut self, chunk: Bytes) -> io::Result<()> {
        let Held::File { file, size } = &mut self.held else {
            return Ok(());
        };
        *size += chunk.len() as u64;
        let mut file = file.try_clone()?;
        spawn_blocking(move || file.write_all(&chunk)).await?
    }

    /// Ends the content.
    ///
    /// # Errors
    /// If the file cannot be mapped into memory.
    pub async fn finish(self) -> io::Result<Spooled> {
        match self.held {
            Held::Memory { bytes, budget } => {
                Ok(Spooled { content: Arc::new(Region::Memory(bytes.freeze())), _budget: budget })
            }
            Held::File { file, .. } => {
                let content = spawn_blocking(move || Region::map(&file)).await??;
                Ok(Spooled { content: Arc::new(content), _budget: None })
            }
        }
    }
}

impl Spools {
    fn take(&self, units: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(units).ok()?;
        // Refused only for want of room: the semaphore is never closed.
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
        spool.finish().await.unwrap()
    }

    #[tokio::test]
    async fn what_the_budget_does_not_hold_goes_to_a_file_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let spools = Spools::new(UNIT, folder.path());
        let first = spooled(&spools, &[b"one ", b"two"]).await;
        assert!(matches!(**first.content(), Region::Memory(_)));

        let second = spooled(&spools, &[b"three ", b"four"]).await;
        assert!(matches!(**second.content(), Region::Mapped(_)));
        assert_eq!(&***second.content(), b"three four");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);

        drop(first);
        let third = spooled(&spools, &[b"five"]).await;
        assert!(matches!(**third.content(), Region::Memory(_)));
        assert_eq!(third.size(), 4);
    }
}
