//! The digest that compares the content that was sent with the content that is read back.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

/// The digest of content that is being received. It detects damage, not forgery.
#[derive(Default)]
pub struct Digest(Xxh3);

impl Digest {
    /// Adds the next piece of the content.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Returns the digest of all pieces.
    pub fn value(&self) -> u128 {
        self.0.digest128()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}
