//! Content that can be lent to an upload.

use std::{fs::File, io, os::fd::OwnedFd};

use bytes::Bytes;

/// Content of known size that can be read again from its start.
#[derive(Debug)]
pub enum Region {
    /// Content in memory.
    Memory(Bytes),
    /// Content of a file that nobody changes.
    File {
        /// The file, from its first byte.
        file: File,
        /// How many bytes of it.
        size: u64,
    },
}

impl Region {
    /// In bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// What lies in memory.
    pub fn memory(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::File { .. } => &[],
        }
    }

    /// A descriptor of the file, if it is one, to be given away.
    ///
    /// # Errors
    /// If the process has too many.
    pub fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        match self {
            Self::Memory(_) => Ok(None),
            Self::File { file, .. } => Ok(Some(file.try_clone()?.into())),
        }
    }
}
