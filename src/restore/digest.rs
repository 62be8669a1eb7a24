//! The digest that compares the content that was sent with the content that is read back.

use std::{fmt, io, sync::Arc};

use xxhash_rust::xxh3::Xxh3;

use crate::rclone::Region;

/// The digest of content that is being received. It detects damage, not forgery.
#[derive(Default)]
pub struct Digest(Xxh3);

/// The number of bytes that are read at once.
const PIECE_SIZE: u64 = 1024 * 1024;

impl Digest {
    /// Returns the digest of a complete content.
    ///
    /// # Errors
    /// Fails if the content cannot be read.
    pub async fn of(content: &Arc<Region>) -> io::Result<u128> {
        let content = Arc::clone(content);
        let digest = tokio::task::spawn_blocking(move || {
            let mut digest = Self::default();
            let mut at = 0;
            while at < content.size() {
                let length = PIECE_SIZE.min(content.size() - at);
                let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
                content.read_exact_at(at, &mut piece)?;
                digest.add(&piece);
                at += length;
            }
            Ok(digest.value())
        });
        digest.await?
    }

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
