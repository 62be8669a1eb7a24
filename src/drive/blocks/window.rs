//! How much to read at once: as much as has paid so far.

use std::ops::Range;

use super::BLOCK;

/// A first look costs little more than the wait for the answer: at 20 MB/s, this
/// is what comes in the 50 ms that a request takes.
const FIRST: u64 = 1024 * 1024;
/// Files up to this size are fetched whole. plakar's packfiles of a small backup
/// have 0.5 to 1.5 MiB, most of it padding that nobody asks for.
const WHOLE: u64 = 4 * 1024 * 1024;
/// More at once would not make a transfer faster, only a wrong guess dearer.
const LARGEST: u64 = 6 * 1024 * 1024;
/// What is read in sequence is fetched this much before it is asked for.
const LEAD: usize = 1024 * 1024 / BLOCK;
/// Blocks that must have been read, for the most part, right before another to
/// call that a sequence.
const BEFORE: usize = 4;
/// The largest range that plakar asks for is about 12 MiB; it is worth one request.
const LARGEST_ASKED: u64 = 16 * 1024 * 1024;

/// What has been read of one file, and so what a guess about it is worth.
#[derive(Debug)]
pub struct Window {
    size: u64,
    /// Bytes read of each block, as far as known: at most a block's.
    used: Box<[u32]>,
    /// Their sum.
    paid: u64,
}

impl Window {
    /// Of a file of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self { size, used: vec![0; block_count(size)].into(), paid: 0 }
    }

    /// Notes that a part of a block was read.
    pub fn note(&mut self, block: usize, bytes: usize) {
        let used = &mut self.used[block];
        let after = (*used as usize + bytes).min(BLOCK);
        self.paid += (after - *used as usize) as u64;
        *used = u32::try_from(after).unwrap_or(u32::MAX);
    }

    /// Bytes to fetch at once beyond what was asked for: never more than was
    /// read of the file before, so that wrong guesses cost at most as much again.
    fn ahead(&self, share: u64) -> u64 {
        if self.size <= WHOLE {
            return self.size;
        }
        self.paid.clamp(FIRST, LARGEST).min(share)
    }

    /// The blocks to fetch when `missing` is, of a part that needs `asked` blocks
    /// from there on: at least those, then what follows, then what comes before,
    /// up to blocks that are there or on their way. `share` is how many bytes one
    /// run may have.
    pub fn run(
        &self,
        missing: usize,
        asked: usize,
        share: u64,
        is_there: impl Fn(usize) -> bool,
    ) -> Range<usize> {
        let most = blocks_in(self.ahead(share)).max(asked.min(blocks_in(LARGEST_ASKED))).max(1);
        let mut run = missing..missing + 1;
        while run.len() < most && run.end < self.used.len() && !is_there(run.end) {
            run.end += 1;
        }
        while run.len() < most && run.start > 0 && !is_there(run.start - 1) {
            run.start -= 1;
        }
        run
    }

    /// The block to fetch next while `block` is being read: one a little ahead
    /// that is missing, if the file is being read in sequence here.
    pub fn next(&self, block: usize, share: u64, is_there: impl Fn(usize) -> bool) -> Option<usize> {
        let half = |&used: &u32| used as usize >= BLOCK / 2;
        let in_sequence = block >= BEFORE && self.used[block - BEFORE..block].iter().all(half);
        if !in_sequence || self.ahead(share) < FIRST {
            return None;
        }
        (block + 1..self.used.len().min(block + 1 + LEAD)).find(|&block| !is_there(block))
    }
}

/// Blocks of a file of `size` bytes; the last one may be short.
pub fn block_count(size: u64) -> usize {
    usize::try_from(size.div_ceil(BLOCK as u64)).unwrap_or(usize::MAX)
}

fn blocks_in(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX) / BLOCK
}
