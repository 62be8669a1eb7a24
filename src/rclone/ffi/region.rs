//! Bytes that can be lent to an upload.

use std::{fs::File, io, ops::Deref};

use bytes::Bytes;
use memmap2::Mmap;

/// Content of known size that can be read again from its start.
#[derive(Debug)]
pub enum Region {
    /// Content in memory.
    Memory(Bytes),
    /// Content of a file without a name.
    Mapped(Mmap),
}

impl Region {
    /// Maps a whole file.
    ///
    /// # Errors
    /// If the system refuses the mapping.
    pub fn map(file: &File) -> io::Result<Self> {
        // SAFETY: a mapping is undefined if somebody else changes the file. The
        // spool makes it without a name (drive/spool.rs), so nobody else can
        // open it, and does not write to it after this.
        unsafe { Mmap::map(file) }.map(Self::Mapped)
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}
