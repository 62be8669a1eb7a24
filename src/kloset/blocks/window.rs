//! The read-ahead window of a file. It grows while the fetched blocks are read.

use std::ops::Range;

use super::BLOCK;

/// The initial window. At 20 to 50 MB/s, this many bytes arrive in the time that a request takes
/// (40 ms or more), so they at most double its cost.
const INITIAL_WINDOW: usize = 2 * 1024 * 1024 / BLOCK;
/// Files up to this size are fetched whole. plakar's packfiles of a small backup have 0.5 to 1.5
/// MiB, most of it padding that is never read.
const MAX_WHOLE_FILE: usize = 4 * 1024 * 1024 / BLOCK;
/// The largest window. A larger one makes a transfer no faster and a wrong guess more expensive.
/// The largest range that plakar requests, about 12 MiB, is one fetch.
const MAX_WINDOW: usize = 16 * 1024 * 1024 / BLOCK;
/// The minimum number of blocks after the one being read that a sequential read prefetches. If fetches
/// are large, it prefetches half a fetch. plakar requests 5 MB and then processes them for a while,
/// during which the link must not be idle.
const MIN_LEAD: usize = 1024 * 1024 / BLOCK;
/// The number of blocks before a missing one that are also fetched if it is near the end of the
/// file. plakar reads a few small blobs near the end of a packfile before it reads the packfile
/// from the start.
const BEFORE_END: usize = 512 * 1024 / BLOCK;
/// The number of preceding blocks that must have been read for a read to count as sequential.
const SEQUENCE: usize = 4;

/// The record of what has been fetched and read of a file. It determines how many blocks are
/// prefetched.
#[derive(Debug)]
pub struct Window {
    blocks: Box<[Block]>,
    /// Blocks that were read after they were fetched.
    read: usize,
    /// Blocks that were fetched and have not been read.
    unread: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Unknown,
    Fetched,
    Read,
}

impl Window {
    /// Returns the window of a file of this many blocks.
    pub fn new(blocks: usize) -> Self {
        Self { blocks: vec![Block::Unknown; blocks].into(), read: 0, unread: 0 }
    }

    /// Records that a block was read.
    pub fn mark_read(&mut self, block: usize) {
        if self.blocks[block] == Block::Fetched {
            self.unread -= 1;
        }
        if self.blocks[block] != Block::Read {
            self.read += 1;
            self.blocks[block] = Block::Read;
        }
    }

    /// Records that blocks are being fetched, possibly again.
    pub fn mark_fetched(&mut self, range: Range<usize>) {
        for block in &mut self.blocks[range] {
            match block {
                Block::Unknown => self.unread += 1,
                Block::Fetched => {}
                Block::Read => {
                    self.read -= 1;
                    self.unread += 1;
                }
            }
            *block = Block::Fetched;
        }
    }

    /// Returns the number of blocks to fetch at once. Its limit ensures that at most twice as many
    /// blocks are fetched in vain as are read.
    fn size(&self, share: usize) -> usize {
        let size = match self.blocks.len() {
            ..=MAX_WHOLE_FILE => MAX_WHOLE_FILE,
            _ => (2 * self.read).saturating_sub(self.unread).clamp(INITIAL_WINDOW, MAX_WINDOW),
        };
        size.min(share).max(1)
    }

    /// Returns the blocks to fetch for a part of `requested` blocks, the first of which is
    /// `missing`: these blocks, then the blocks that follow, then those before, up to blocks that
    /// are cached or under way. The range may have `share` blocks that were not requested.
    pub fn range_to_fetch(
        &self,
        missing: usize,
        requested: usize,
        share: usize,
        is_available: impl Fn(usize) -> bool,
    ) -> Range<usize> {
        let most = self.size(share).max(requested.min(MAX_WINDOW));
        let mut range = missing..missing + 1;
        while range.len() < most && range.end < self.blocks.len() && !is_available(range.end) {
            range.end += 1;
        }
        // A few blocks up to the end or to a cached block are not worth a separate request. They
        // are added only if the limit allows it, because a fetch that waits for the limit leaves the
        // link idle.
        let rest = (range.end..self.blocks.len()).take_while(|&block| !is_available(block)).count();
        if rest <= most / 2 && range.len() + rest <= share.max(most) {
            range.end += rest;
        }
        let ends_the_file = range.end == self.blocks.len() && range.end > MAX_WHOLE_FILE;
        let first = if ends_the_file { missing.saturating_sub(BEFORE_END) } else { 0 };
        while range.len() < most && range.start > first && !is_available(range.start - 1) {
            range.start -= 1;
        }
        range
    }

    /// Returns the block to prefetch next while `block` is being read: a missing block a little
    /// ahead, if the read is sequential.
    pub fn next(&self, block: usize, share: usize, is_available: impl Fn(usize) -> bool) -> Option<usize> {
        let in_sequence =
            block >= SEQUENCE && self.blocks[block - SEQUENCE..block].iter().all(|&before| before == Block::Read);
        if !in_sequence || share < INITIAL_WINDOW {
            return None;
        }
        let lead = MIN_LEAD.max(self.size(share) / 2);
        (block + 1..self.blocks.len().min(block + 1 + lead)).find(|&block| !is_available(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: usize = 64 * 1024 * 1024 / BLOCK;
    const PLENTY: usize = FILE;

    /// Reads the blocks in order and returns the ranges that are fetched.
    fn read(order: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
        let mut window = Window::new(FILE);
        let mut there = vec![false; FILE];
        let mut ranges = Vec::new();
        for block in order {
            if !there[block] {
                let range = window.range_to_fetch(block, 1, PLENTY, |block| there[block]);
                assert!(range.contains(&block) && !range.clone().any(|block| there[block]), "{range:?} for {block}");
                window.mark_fetched(range.clone());
                there[range.clone()].fill(true);
                ranges.push(range);
            }
            window.mark_read(block);
        }
        ranges
    }

    #[test]
    fn sequential_reads_take_few_fetches_in_either_direction() {
        assert!(read(0..FILE).len() <= 10);
        assert!(read((0..FILE).rev()).len() <= 10);
    }

    #[test]
    fn scattered_reads_fetch_little_around_them() {
        let ranges = read((0..FILE).step_by(4 * INITIAL_WINDOW));
        assert!(ranges.iter().all(|range| range.len() == INITIAL_WINDOW), "{ranges:?}");
    }

    #[test]
    fn fetches_shrink_when_reads_become_scattered() {
        let walk = 0..FILE / 4;
        let scattered = (FILE / 4 + MAX_WINDOW..FILE).step_by(MAX_WINDOW);
        let ranges = read(walk.clone().chain(scattered));
        assert!(ranges.iter().any(|range| range.len() == MAX_WINDOW), "{ranges:?}");
        let fetched: usize = ranges.iter().map(Range::len).sum();
        assert!(fetched <= 3 * (walk.len() + ranges.len()) + INITIAL_WINDOW * ranges.len(), "{ranges:?}");
    }

    #[test]
    fn a_small_file_is_one_fetch_wherever_it_is_read() {
        let window = Window::new(6);
        assert_eq!(window.range_to_fetch(4, 1, PLENTY, |_| false), 0..6);
    }

    #[test]
    fn a_short_rest_of_a_file_is_fetched_with_the_blocks_before_it() {
        let window = Window::new(FILE);
        assert_eq!(window.range_to_fetch(FILE - INITIAL_WINDOW - INITIAL_WINDOW / 2, 1, PLENTY, |_| false).end, FILE);
        assert_eq!(window.range_to_fetch(FILE - 2 * INITIAL_WINDOW, 1, PLENTY, |_| false).end, FILE - INITIAL_WINDOW);
        assert_eq!(
            window.range_to_fetch(FILE - INITIAL_WINDOW - INITIAL_WINDOW / 2, 1, INITIAL_WINDOW, |_| false).end,
            FILE - INITIAL_WINDOW / 2,
            "no room"
        );
    }

    #[test]
    fn a_read_at_the_end_fetches_few_blocks_before_it() {
        let window = Window::new(FILE);
        assert_eq!(window.range_to_fetch(FILE - 1, 1, PLENTY, |_| false), FILE - 1 - BEFORE_END..FILE);
        let is_available = |block| block >= FILE - 1;
        assert_eq!(
            window.range_to_fetch(FILE - 2, 1, PLENTY, is_available),
            FILE - 1 - INITIAL_WINDOW..FILE - 1,
            "read backwards"
        );
    }

    #[test]
    fn requested_blocks_are_one_fetch_even_if_memory_is_short() {
        let window = Window::new(FILE);
        assert_eq!(window.range_to_fetch(10, 20, 1, |_| false), 10..30);
        assert_eq!(window.range_to_fetch(10, 1, 1, |_| false), 10..11);
    }

    #[test]
    fn long_sequential_reads_prefetch_further_ahead() {
        let mut window = Window::new(FILE);
        let fetched = FILE / 2;
        window.mark_fetched(0..fetched);
        (0..fetched).for_each(|block| window.mark_read(block));
        let far = fetched - MAX_WINDOW / 2;
        assert_eq!(window.next(far, PLENTY, |block| block < fetched), Some(fetched));
        assert_eq!(window.next(far, INITIAL_WINDOW, |block| block < fetched), None, "memory is short");
    }

    #[test]
    fn only_sequential_reads_prefetch() {
        let mut window = Window::new(FILE);
        window.mark_fetched(0..8);
        let is_available = |block| block < 8;
        window.mark_read(6);
        assert_eq!(window.next(6, PLENTY, is_available), None);
        (0..6).for_each(|block| window.mark_read(block));
        assert_eq!(window.next(6, PLENTY, is_available), Some(8));
        assert_eq!(window.next(2, PLENTY, is_available), None);
    }
}
