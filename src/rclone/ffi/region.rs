//! Content that can be lent to an upload.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
};

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

    /// Reads content from an offset and returns the number of bytes, which is 0 at the end.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        match self {
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(bytes.len()).min(bytes.len());
                buffer[..left].copy_from_slice(&bytes[start..start + left]);
                Ok(left)
            }
            Self::File { file, .. } => file.read_at(&mut buffer[..left], offset),
        }
    }

    /// Fills the buffer with content from an offset.
    ///
    /// # Errors
    /// Fails as [`Self::read_at`] does, and if there is less content.
    pub fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(offset + filled as u64, &mut buffer[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
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
