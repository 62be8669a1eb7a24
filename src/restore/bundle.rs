//! Folders of a snapshot that become packages again.
//!
//! A Mac shows a package as a folder, and so does a backup of its disk. plakar sends a folder before
//! its content, and all its content before the next item, so the archive of the package is made while
//! its items are received.

use std::{io, ops::RangeInclusive};

use bytes::Bytes;

use super::{Failure, Item, Wanted, store::Target};
use crate::drive::{self, Packer};

/// A folder that is being received and is stored as one package.
#[derive(Debug)]
pub struct Bundle<R> {
    /// The path of the folder in the snapshot.
    pub(super) name: String,
    pub(super) target: Target,
    /// The archive. A plan has none.
    pub(super) packer: Option<Packer>,
    /// The range of the total size of the files, in a plan.
    pub(super) sizes: RangeInclusive<u64>,
    /// The folder and all items below it.
    pub(super) tickets: Vec<(R, String)>,
    /// Why the package cannot be stored.
    pub(super) failure: Option<Failure>,
}

impl<R> Bundle<R> {
    /// Returns the path of an item below the folder, or none.
    pub fn below<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.name)?.strip_prefix('/')
    }

    /// Returns the path of an item in the archive.
    fn place(&self, below: &str) -> String {
        let root = self.name.rsplit('/').next().unwrap_or_default();
        if below.is_empty() { root.to_owned() } else { format!("{root}/{below}") }
    }

    /// Adds a piece to the content of the last file.
    pub async fn write(&mut self, piece: Bytes) {
        if let (Some(packer), None) = (&mut self.packer, &self.failure) {
            let written = packer.write(piece).await;
            self.check(written);
        }
    }

    /// Adds an item without its content.
    pub async fn add(&mut self, below: &str, item: Item) {
        let place = self.place(below);
        let (Some(packer), None) = (&mut self.packer, &self.failure) else { return };
        let added = match item.wanted {
            Wanted::Folder => packer.folder(&place, item.modified).await,
            Wanted::Symlink(target) => packer.link(&place, target, item.modified).await,
            _ => packer.file(&place, item.is_program, item.modified).await,
        };
        self.check(added);
    }

    /// Ends the file whose content was received.
    pub fn complete(&mut self, ticket: R, name: String, sizes: Option<RangeInclusive<u64>>) {
        self.tickets.push((ticket, name));
        if let Some(sizes) = sizes {
            let (least, most) = (self.sizes.start(), self.sizes.end());
            self.sizes = least.saturating_add(*sizes.start())..=most.saturating_add(*sizes.end());
        }
    }

    fn check(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failure = Some(drive::Error::spool(&self.target.path, &error).into());
        }
    }
}
