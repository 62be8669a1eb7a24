//! The distribution of chunks to packfiles.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use super::state::Place;
use crate::store::{Mac, digest};

/// The size of each chunk in bytes, except the last one of a file.
pub(super) const CHUNK: usize = 1024 * 1024;
/// The start of every packfile.
const HEADER: &[u8; 16] = b"host's packfile\n";

/// A full packfile.
pub(super) struct Packfile {
    pub mac: Mac,
    pub content: Bytes,
}

/// The packfiles of a backup. A chunk that is already in the kloset is left out.
pub(super) struct Packing<'a> {
    limit: usize,
    known: &'a HashMap<Mac, Place>,
    open: BytesMut,
    in_open: Vec<(Mac, u64, u32)>,
    full: Vec<Packfile>,
    added: HashMap<Mac, Place>,
}

impl<'a> Packing<'a> {
    pub(super) fn new(limit: usize, known: &'a HashMap<Mac, Place>) -> Self {
        Self {
            limit,
            known,
            open: BytesMut::from(&HEADER[..]),
            in_open: Vec::new(),
            full: Vec::new(),
            added: HashMap::new(),
        }
    }

    /// Adds a content and returns the names of its chunks.
    pub(super) fn add(&mut self, content: &Bytes) -> Vec<Mac> {
        let starts = (0..content.len()).step_by(CHUNK);
        let chunks = starts.map(|start| content.slice(start..content.len().min(start + CHUNK)));
        chunks.map(|chunk| self.add_chunk(&chunk)).collect()
    }

    fn add_chunk(&mut self, chunk: &Bytes) -> Mac {
        let mac = digest(chunk);
        let open = self.in_open.iter().any(|(other, ..)| *other == mac);
        if !open && !self.added.contains_key(&mac) && !self.known.contains_key(&mac) {
            let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            self.in_open.push((mac, self.open.len() as u64, length));
            self.open.extend_from_slice(chunk);
            if self.open.len() > self.limit {
                self.cut();
            }
        }
        mac
    }

    fn cut(&mut self) {
        let content = std::mem::replace(&mut self.open, BytesMut::from(&HEADER[..])).freeze();
        let packfile = digest(&content);
        let places = self.in_open.drain(..).map(|(mac, offset, length)| {
            let place = Place { packfile, offset, length };
            (mac, place)
        });
        self.added.extend(places);
        self.full.push(Packfile { mac: packfile, content });
    }

    /// Returns all packfiles and the places of the chunks in them.
    pub(super) fn finish(mut self) -> (Vec<Packfile>, HashMap<Mac, Place>) {
        if !self.in_open.is_empty() {
            self.cut();
        }
        (self.full, self.added)
    }
}
