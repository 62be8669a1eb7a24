//! Content that can be lent to an upload.

use std::{fs::File, io, os::fd::OwnedFd};

use bytes::Bytes;

/// Content of known size that can be read repeatedly from its start.
#[derive(Debug)]
pub enum Region {
    /// Content in memory.
    Memory(Bytes),
    /// Content of a file that does not change.
    File {
        /// The file, from its first byte.
        file: File,
        /// The number of its bytes.
        size: u64,
    },
}

impl Region {
    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// Returns the content in memory, which is empty for a file.
    pub fn memory(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::File { .. } => &[],
        }
    }

    /// Duplicates the descriptor of the file, if the content is in one. The caller owns the result.
    ///
    /// # Errors
    /// Fails if the process has too many descriptors.
    pub fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        match self {
            Self::Memory(_) => Ok(None),
            Self::File { file, .. } => Ok(Some(file.try_clone()?.into())),
        }
    }
}
