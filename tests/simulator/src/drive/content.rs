//! What a file holds: bytes that were sent, or bytes made from a seed when they are read.

use bytes::{Bytes, BytesMut};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha1::Sha1;
use sha2::{Digest, Sha256};

const CHUNK: u64 = 256 * 1024;

/// The bytes of a file.
#[derive(Clone, Debug)]
pub enum Content {
    Bytes(Bytes),
    /// `size` bytes of the ChaCha8 stream of `seed`, made at reading: a large file costs no memory.
    Generated { seed: u64, size: u64 },
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }
}

impl Content {
    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Generated { size, .. } => *size,
        }
    }

    /// The bytes from `offset` on, at most `length`, fewer at the end.
    #[must_use]
    pub fn read(&self, offset: u64, length: u64) -> Bytes {
        let end = offset.saturating_add(length).min(self.size());
        let start = offset.min(end);
        match self {
            Self::Bytes(bytes) => bytes.slice(start as usize..end as usize),
            Self::Generated { seed, .. } => generated(*seed, start, end),
        }
    }

    /// At most one transfer chunk from `offset` on, ending at `end`.
    pub(crate) fn chunk(&self, offset: u64, end: u64) -> Bytes {
        self.read(offset, (end - offset).min(CHUNK))
    }

    /// SHA-256 in lower-case hexadecimal; reads the whole content.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        let mut offset = 0;
        while offset < self.size() {
            let chunk = self.chunk(offset, self.size());
            offset += chunk.len() as u64;
            hash.update(&chunk);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The 21 bytes (a version byte, then a SHA-1) that stand for a content in the service's answers.
    /// For generated content the digest is of seed and size, so that naming a large file does not read it.
    pub(crate) fn signature(&self) -> [u8; 21] {
        let digest = match self {
            Self::Bytes(bytes) => Sha1::digest(bytes),
            Self::Generated { seed, size } => Sha1::digest(format!("{seed}/{size}").as_bytes()),
        };
        let mut signature = [1; 21];
        signature[1..].copy_from_slice(&digest);
        signature
    }
}

fn generated(seed: u64, start: u64, end: u64) -> Bytes {
    const WORD: u64 = 4;
    let first_word = start / WORD;
    let lead = (start - first_word * WORD) as usize;
    let length = (end - start) as usize;
    let mut stream = ChaCha8Rng::seed_from_u64(seed);
    stream.set_word_pos(u128::from(first_word));
    let mut bytes = BytesMut::zeroed(lead + length);
    stream.fill_bytes(&mut bytes);
    bytes.freeze().slice(lead..)
}
