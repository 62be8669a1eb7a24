//! Consecutive blocks that are being fetched.

use std::{
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use super::BLOCK;
use crate::{
    drive,
    rclone::{Error, File},
};

/// Consecutive blocks that are fetched with one request. The fetch holds its blocks until it ends, so that every
/// waiting reader gets its block even if the cache evicts it.
#[derive(Debug)]
pub struct Fetch {
    blocks: Range<usize>,
    arrived: Mutex<Vec<Bytes>>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone)]
enum Progress {
    Arrived(usize),
    Failed(Error),
}

impl Fetch {
    pub fn new(blocks: Range<usize>) -> Self {
        Self { blocks, arrived: Mutex::default(), progress: watch::Sender::new(Progress::Arrived(0)) }
    }

    pub fn blocks(&self) -> Range<usize> {
        self.blocks.clone()
    }

    pub fn contains(&self, block: usize) -> bool {
        self.blocks.contains(&block)
    }

    /// Waits for a block of the fetch and returns it.
    pub async fn block(&self, block: usize) -> Result<Bytes, Error> {
        let position = block - self.blocks.start;
        let mut progress = self.progress.subscribe();
        let is_over = |progress: &Progress| match progress {
            Progress::Arrived(count) => *count > position,
            Progress::Failed(_) => true,
        };
        let failure = match progress.wait_for(is_over).await.as_deref() {
            Ok(Progress::Failed(error)) => Some(error.clone()),
            _ => None,
        };
        match (self.arrived().get(position), failure) {
            (Some(content), None) => Ok(content.clone()),
            (_, Some(error)) => Err(error),
            (None, None) => Err(Error::unexpected("a fetched block is missing")),
        }
    }

    /// Requests `blocks`, the next ones of the fetch, from a file of `size` bytes, and passes each of
    /// them to `store`.
    ///
    /// # Errors
    /// Fails if the response contains fewer or more bytes than requested. All waiting readers get the
    /// error.
    pub async fn receive(
        &self,
        blocks: Range<usize>,
        file: &File,
        size: u64,
        store: impl Fn(usize, &Bytes),
    ) -> Result<(), ()> {
        let start = (blocks.start * BLOCK) as u64;
        let end = size.min((blocks.end * BLOCK) as u64);
        let mut content = drive::read_unchanging(file.clone(), start..end, BLOCK);
        let mut block = BytesMut::new();
        let mut at = start;
        while at < end {
            let wanted = BLOCK.min(usize::try_from(end - at).unwrap_or(BLOCK));
            let piece = match content.next().await {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return self.fail(error),
                None => return self.fail(Error::unexpected("the content ended early without an error")),
            };
            // Each piece is a block, except after a broken connection.
            let whole = if block.is_empty() && piece.len() == wanted {
                piece
            } else {
                block.extend_from_slice(&piece);
                if block.len() < wanted {
                    continue;
                }
                std::mem::take(&mut block).freeze()
            };
            if whole.len() != wanted {
                return self.fail(Error::unexpected("the pieces of the content do not match its blocks"));
            }
            at += wanted as u64;
            self.add(whole, &store);
        }
        Ok(())
    }

    /// Adds the next block and passes it to `store`.
    pub fn add(&self, content: Bytes, store: impl Fn(usize, &Bytes)) {
        let mut arrived = self.arrived();
        store(self.blocks.start + arrived.len(), &content);
        arrived.push(content);
        let count = arrived.len();
        drop(arrived);
        self.progress.send_replace(Progress::Arrived(count));
    }

    /// Returns the blocks in the range that have arrived.
    pub fn arrived_of(&self, blocks: Range<usize>) -> Vec<Bytes> {
        let first = blocks.start - self.blocks.start;
        self.arrived().iter().skip(first).take(blocks.len()).cloned().collect()
    }

    fn fail(&self, error: Error) -> Result<(), ()> {
        self.progress.send_replace(Progress::Failed(error));
        Err(())
    }

    fn arrived(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
