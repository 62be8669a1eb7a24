//! The contents of files: bytes that were uploaded, or bytes generated from a seed when they are
//! read.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

const CHUNK: u64 = 256 * 1024;

/// The size above which uploaded bytes are in a file.
const IN_MEMORY: usize = 16 * 1024 * 1024;

/// The largest generated content whose signature is that of its bytes.
const SIGNED: u64 = 64 * 1024;

/// What precedes a content in its SHA-1.
const SALT: &[u8] = b"com.apple.XattrObjectSalt\0com.apple.DataObjectSalt\0";

/// The bytes of a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// Held in memory.
    Bytes(Held),
    /// In a file without a name.
    Spooled(Arc<Spooled>),
    /// The stream of a seed, generated when it is read, so that a large file needs no memory.
    Generated {
        /// Selects the stream.
        seed: u64,
        /// Size in bytes.
        size: u64,
    },
}

/// Bytes, and their SHA-1 once it was needed. It is computed only once, because the service returns
/// the SHA-1 of a large file without any delay.
#[derive(Clone, Debug)]
pub struct Held {
    bytes: Bytes,
    sha1: Arc<OnceLock<[u8; 20]>>,
}

/// Bytes in a file without a name.
#[derive(Debug)]
pub struct Spooled {
    file: File,
    size: u64,
    sha1: [u8; 20],
}

/// Bytes that are being received. They are written to a file if there are many of them.
pub(crate) enum Receiving {
    Memory(BytesMut),
    File { file: File, size: u64, sha1: Box<Context> },
}

impl Default for Receiving {
    fn default() -> Self {
        Self::Memory(BytesMut::new())
    }
}

impl Receiving {
    /// Appends bytes.
    pub(crate) fn add(&mut self, more: &[u8]) -> std::io::Result<()> {
        if let Self::Memory(bytes) = self {
            if bytes.len() + more.len() <= IN_MEMORY {
                bytes.extend_from_slice(more);
                return Ok(());
            }
            let sha1 = Box::new(salted());
            let spooled = Self::File { file: tempfile::tempfile()?, size: 0, sha1 };
            if let Self::Memory(bytes) = std::mem::replace(self, spooled) {
                self.add(&bytes)?;
            }
        }
        if let Self::File { file, size, sha1 } = self {
            file.write_all_at(more, *size)?;
            *size += more.len() as u64;
            sha1.update(more);
        }
        Ok(())
    }

    /// Returns the received content.
    pub(crate) fn finish(self) -> Content {
        match self {
            Self::Memory(bytes) => Content::from(bytes.freeze()),
            Self::File { file, size, sha1 } => {
                Content::Spooled(Arc::new(Spooled { file, size, sha1: to_array(sha1.finish().as_ref()) }))
            }
        }
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(Held { bytes, sha1: Arc::default() })
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::from(Bytes::copy_from_slice(bytes))
    }
}

impl Content {
    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(held) => held.bytes.len() as u64,
            Self::Spooled(spooled) => spooled.size,
            Self::Generated { size, .. } => *size,
        }
    }

    /// Returns at most `length` bytes from `offset` on, fewer at the end.
    ///
    /// # Panics
    ///
    /// Panics if a spooled content cannot be read from the disk.
    #[must_use]
    pub fn read(&self, offset: u64, length: u64) -> Bytes {
        let end = offset.saturating_add(length).min(self.size());
        let start = offset.min(end);
        match self {
            Self::Bytes(held) => held.bytes.slice(start as usize..end as usize),
            Self::Spooled(spooled) => {
                let mut bytes = vec![0; (end - start) as usize];
                spooled.file.read_exact_at(&mut bytes, start).expect("the file of a spooled content can be read");
                bytes.into()
            }
            Self::Generated { seed, .. } => generated(*seed, start, end),
        }
    }

    /// Returns the bytes from `offset` to `end`, or the first transfer chunk of them.
    pub(crate) fn chunk(&self, offset: u64, end: u64) -> Bytes {
        self.read(offset, (end - offset).min(CHUNK))
    }

    /// Returns the SHA-256 in lower-case hexadecimal; reads the whole content.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut hash = Context::new(&SHA256);
        let mut offset = 0;
        while offset < self.size() {
            let chunk = self.chunk(offset, self.size());
            offset += chunk.len() as u64;
            hash.update(&chunk);
        }
        hex::encode(hash.finish())
    }

    /// Returns the 21 bytes (a version byte, then a SHA-1) that identify the content in the
    /// service's responses. For larger generated content it has another form, so that the content
    /// need not be read.
    pub(crate) fn signature(&self) -> [u8; 21] {
        let mut signature = [1; 21];
        if matches!(self, Self::Generated { size, .. } if *size > SIGNED) {
            signature[0] = 2;
        }
        signature[1..].copy_from_slice(&match self {
            Self::Bytes(held) => *held.sha1.get_or_init(|| sha1(&held.bytes)),
            Self::Spooled(spooled) => spooled.sha1,
            Self::Generated { size, .. } if *size <= SIGNED => sha1(&self.read(0, *size)),
            Self::Generated { seed, size } => sha1(format!("{seed}/{size}").as_bytes()),
        });
        signature
    }
}

/// Returns the SHA-1 of the salt.
fn salted() -> Context {
    let mut sha1 = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    sha1.update(SALT);
    sha1
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut sha1 = salted();
    sha1.update(bytes);
    to_array(sha1.finish().as_ref())
}

fn to_array(digest: &[u8]) -> [u8; 20] {
    let mut array = [0; 20];
    array.copy_from_slice(digest);
    array
}

/// Word `n` of a stream is the n-th output of SplitMix64, so any part can be generated without the
/// bytes before it, and an unoptimised build generates hundreds of megabytes a second.
fn generated(seed: u64, start: u64, end: u64) -> Bytes {
    const WORD: u64 = 8;
    let (first, last) = (start / WORD, end.div_ceil(WORD));
    let mut bytes = BytesMut::with_capacity(((last - first) * WORD) as usize);
    let base = mixed(seed);
    for word in first..last {
        bytes.put_u64_le(mixed(base.wrapping_add(word.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
    }
    let lead = (start - first * WORD) as usize;
    bytes.freeze().slice(lead..lead + (end - start) as usize)
}

/// The output function of [SplitMix64](https://prng.di.unimi.it/splitmix64.c).
fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spooled_content_equals_the_same_content_in_memory() {
        let whole = Content::Generated { seed: 7, size: IN_MEMORY as u64 + 1_000 }.read(0, u64::MAX);
        let mut receiving = Receiving::default();
        for piece in whole.chunks(3_000_000) {
            receiving.add(piece).unwrap();
        }
        let (spooled, held) = (receiving.finish(), Content::from(whole.clone()));
        assert!(matches!(spooled, Content::Spooled(_)));
        assert_eq!((spooled.size(), spooled.signature()), (held.size(), held.signature()));
        assert_eq!(spooled.sha256(), held.sha256());
        assert_eq!(spooled.read(2_999_990, 20), whole[2_999_990..3_000_010]);
        assert_eq!(spooled.read(held.size() - 5, 20), whole[whole.len() - 5..]);
        let mut short = Receiving::default();
        short.add(b"short").unwrap();
        assert!(matches!(short.finish(), Content::Bytes(_)));
    }

    #[test]
    fn any_range_of_generated_content_equals_that_range_of_the_whole() {
        let content = Content::Generated { seed: 7, size: 1003 };
        let whole = content.read(0, u64::MAX);
        assert_eq!(whole.len(), 1003);
        for (offset, length) in [(0, 1), (3, 10), (8, 8), (15, 2), (999, 100), (1003, 1)] {
            let end = (offset + length).min(1003);
            assert_eq!(content.read(offset, length), whole[offset as usize..end as usize], "{offset}+{length}");
        }
        assert_ne!(whole, Content::Generated { seed: 8, size: 1003 }.read(0, 1003));
        assert_ne!(whole[..8], whole[8..16]);
    }
}
