//! Records whose content is being received.

use bytes::Bytes;

use super::{
    Failure, Restored,
    bundle::Bundle,
    digest::Digest,
    store::{Content, Target},
};
use crate::drive::{self, Spool};

/// A record whose content is being received.
#[derive(Debug)]
pub struct Incoming<R> {
    pub(super) ticket: R,
    pub(super) name: String,
    pub(super) destination: Destination<R>,
}

/// What happens to the content of a record.
#[derive(Debug)]
pub enum Destination<R> {
    /// It is stored as a file.
    Stored(Box<Received>),
    /// It is a part of a package.
    Packed(Box<Bundle<R>>),
    /// It is ignored, because the outcome is known.
    Ignored(Result<Restored, Failure>),
}

/// The content of a file, as far as it was received.
#[derive(Debug)]
pub struct Received {
    target: Target,
    spool: Spool,
    digest: Option<Digest>,
}

impl Received {
    /// Returns empty content, with a digest if it is to be verified.
    pub fn new(target: Target, spool: Spool, is_verified: bool) -> Self {
        Self { target, spool, digest: is_verified.then(Digest::default) }
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// Fails if the spool has no room.
    pub async fn add(&mut self, piece: Bytes) -> Result<(), Failure> {
        if let Some(digest) = &mut self.digest {
            digest.add(&piece);
        }
        self.spool.add(piece).await.map_err(|error| drive::Error::spool(&self.target.path, &error).into())
    }

    /// Completes the content and returns its digest.
    pub fn finish(self) -> (Target, Content, Option<u128>) {
        let digest = self.digest.map(|digest| digest.value());
        (self.target, Content::Received(self.spool.finish()), digest)
    }

    /// Returns where the file is stored.
    pub fn into_target(self) -> Target {
        self.target
    }
}

impl<R> From<Result<Received, Failure>> for Destination<R> {
    fn from(received: Result<Received, Failure>) -> Self {
        match received {
            Ok(received) => Self::Stored(Box::new(received)),
            Err(failure) => Self::Ignored(Err(failure)),
        }
    }
}

impl<R> Incoming<R> {
    /// Appends a piece of the content. If the spool fails, the file fails once and its spool is
    /// dropped.
    pub async fn add(&mut self, piece: Bytes) {
        match &mut self.destination {
            Destination::Packed(bundle) => bundle.write(piece).await,
            Destination::Stored(received) => {
                if let Err(failure) = received.add(piece).await {
                    self.destination = Destination::Ignored(Err(failure));
                }
            }
            Destination::Ignored(_) => {}
        }
    }
}
