//! The content of a snapshot's state.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use plakar_protocol::connectors::FileInfo;
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::handshake::Identity;
use crate::snapshot::{Content, Entry, Snapshot};
use crate::store::Mac;

/// The place of a chunk.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub packfile: Mac,
    pub offset: u64,
    pub length: u32,
}

impl Place {
    pub(super) fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }
}

/// A snapshot, and the places of the chunks that were stored with it.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    origin: String,
    kind: String,
    root: String,
    pub entries: Vec<Saved>,
    pub places: Vec<(Mac, Place)>,
}

/// An entry of a snapshot.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    pub path: String,
    name: String,
    size: i64,
    mode: u32,
    changed: (i64, i32),
    target: String,
    pub chunks: Option<Vec<Mac>>,
}

impl State {
    /// Returns the state of a snapshot. `chunks` splits a content into chunks.
    pub(super) fn of(snapshot: &Snapshot, mut chunks: impl FnMut(&Bytes) -> Vec<Mac>) -> Self {
        let saved = |(path, entry): (&String, &Entry)| {
            let content = entry.content.as_ref().and_then(|content| content.bytes.as_ref());
            let changed = entry.info.mod_time.unwrap_or_default();
            Saved {
                path: path.clone(),
                name: entry.info.name.clone(),
                size: entry.info.size,
                mode: entry.info.mode,
                changed: (changed.seconds, changed.nanos),
                target: entry.target.clone(),
                chunks: content.map(&mut chunks),
            }
        };
        Self {
            origin: snapshot.origin.clone(),
            kind: snapshot.kind.clone(),
            root: snapshot.root.clone(),
            entries: snapshot.entries.iter().map(saved).collect(),
            places: Vec::new(),
        }
    }

    pub(super) fn with_places(mut self, places: HashMap<Mac, Place>) -> Self {
        self.places = places.into_iter().collect();
        self
    }

    pub(super) fn encode(&self) -> Result<Bytes> {
        Ok(serde_json::to_vec(self).map_err(io::Error::from)?.into())
    }

    pub(super) fn decode(encoded: &[u8]) -> Result<Self> {
        Ok(serde_json::from_slice(encoded).map_err(io::Error::from)?)
    }

    /// Returns the snapshot without its entries.
    pub(super) fn header(&self) -> Snapshot {
        Snapshot::new(&Identity {
            origin: self.origin.clone(),
            kind: self.kind.clone(),
            root: self.root.clone(),
            flags: 0,
        })
    }

    /// Returns the chunks of all files, file by file.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &Mac> {
        self.entries.iter().filter_map(|saved| saved.chunks.as_ref()).flatten()
    }
}

impl Saved {
    pub(super) fn entry(&self, content: Option<Content>) -> Entry {
        let (seconds, nanos) = self.changed;
        Entry {
            info: FileInfo {
                name: self.name.clone(),
                size: self.size,
                mode: self.mode,
                mod_time: Some(Timestamp { seconds, nanos }),
                ..FileInfo::default()
            },
            target: self.target.clone(),
            xattrs: Vec::new(),
            content,
        }
    }
}
