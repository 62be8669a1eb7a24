//! Fills the drive, changes it like another device, and reads it back.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::drive::content::Content;
use crate::drive::item::{Body, ItemId, NewItem, Sharing};
use crate::drive::package::Package;
use crate::state::State;

/// There is no item at this path.
#[derive(Debug, thiserror::Error)]
#[error("no item at {0}")]
pub struct NoSuchItem(pub String);

/// A generated tree: `files` files spread over `folders` folders, `size` bytes each.
///
/// File `n` is `{prefix}/folder-{n % folders}/file-{n}.bin` with three and six digits, filled from
/// `seed + n`; without folders it is in `prefix` itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SeedTree {
    /// The folder that contains the tree; the empty path is the root.
    pub prefix: String,
    /// The number of files.
    pub files: u64,
    /// The number of folders; without files the folders are empty.
    pub folders: u64,
    /// The size of every file.
    pub size: u64,
    /// The seed of the first file's content.
    pub seed: u64,
    /// The modification time of all files, in milliseconds since 1970.
    pub modified_ms: i64,
}

/// A change made by another device.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// New bytes and a new time; it remains the same document.
    Write {
        /// The new bytes.
        content: Content,
        /// The modification time, in milliseconds since 1970.
        modified_ms: i64,
    },
    /// A new modification time, and with it a new etag.
    Touch {
        /// The modification time, in milliseconds since 1970.
        modified_ms: i64,
    },
    /// Only a new etag.
    BumpEtag,
    /// Moves the item to the Trash.
    Trash,
    /// Deletes the item permanently.
    Erase,
    /// Moves the item to another path, whose folder must exist.
    Rename {
        /// The complete new path.
        to: String,
    },
}

/// An item of the drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemInfo {
    /// The path from the root, without a leading slash, with the names as they were sent.
    pub path: String,
    /// Whether the item is a folder.
    pub folder: bool,
    /// The size in listings; for a folder the bytes of all files below it.
    pub size: u64,
    /// The SHA-256 of the bytes; `None` for folders and packages.
    pub sha256: Option<String>,
    /// The modification time, in milliseconds since 1970.
    pub modified_ms: i64,
    /// The current etag.
    pub etag: String,
    /// The id in the form `TYPE::zone::document`.
    pub drive_id: String,
}

/// An item without its digest, and the content to compute it from.
pub(crate) type Stored = (ItemInfo, Option<Content>);

/// Adds the digests. This is separate from the snapshot because hashing large files must not block
/// the service.
pub(crate) fn hashed(stored: Vec<Stored>) -> Vec<ItemInfo> {
    stored
        .into_iter()
        .map(|(info, content)| ItemInfo { sha256: content.map(|content| content.sha256()), ..info })
        .collect()
}

impl State {
    pub(crate) fn make_folders(&mut self, path: &str) -> ItemId {
        let now = self.clock.now_ms();
        let mut folder = self.drive.tree.root();
        for name in path.split('/').filter(|part| !part.is_empty()) {
            folder = match self.drive.tree.child(folder, name) {
                Some(existing) => existing,
                None => {
                    let id = self.drive.tree.add(folder, NewItem::folder(name, now), None);
                    self.drive.folder_changed(folder, &self.rules.drive);
                    id
                }
            };
        }
        folder
    }

    pub(crate) fn put_body(&mut self, path: &str, body: Body, modified_ms: i64) -> ItemId {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.make_folders(folder);
        let id = match self.drive.tree.child(folder, name) {
            Some(existing) => {
                self.drive.tree.set_body(existing, body);
                self.drive.tree.set_modified(existing, modified_ms);
                existing
            }
            None => {
                let new = NewItem { name: name.to_owned(), body, created_ms: modified_ms, modified_ms };
                self.drive.tree.add(folder, new, None)
            }
        };
        self.drive.changed(id, &self.rules.drive);
        id
    }

    pub(crate) fn put_package(
        &mut self,
        path: &str,
        entries: &[(String, Bytes)],
        listed_size: Option<u64>,
        modified_ms: i64,
    ) {
        self.put_body(path, Body::Package(Package::new(entries, listed_size)), modified_ms);
    }

    pub(crate) fn add_app_library(&mut self, name: &str, zone: &str) {
        let now = self.clock.now_ms();
        self.drive.tree.add_app_library(name, zone, now);
        let root = self.drive.tree.root();
        self.drive.folder_changed(root, &self.rules.drive);
    }

    /// Turns an existing folder into a folder that another account shares.
    pub(crate) fn share(&mut self, path: &str) -> Result<(), NoSuchItem> {
        let id = self.find(path)?;
        self.drive.tree.set_sharing(id, Sharing::Root);
        let children: Vec<ItemId> = self.drive.tree.item(id).children().collect();
        for child in children {
            self.drive.tree.detach(child);
            self.drive.tree.attach(child, id);
        }
        Ok(())
    }

    pub(crate) fn seed_tree(&mut self, seed: &SeedTree) {
        for number in 0..seed.files {
            let folder = match seed.folders {
                0 => seed.prefix.clone(),
                folders => format!("{}/folder-{:03}", seed.prefix, number % folders),
            };
            let content = Content::Generated { seed: seed.seed + number, size: seed.size };
            self.put_body(&format!("{folder}/file-{number:06}.bin"), Body::File(content), seed.modified_ms);
        }
        if seed.files == 0 {
            for number in 0..seed.folders {
                self.make_folders(&format!("{}/folder-{number:03}", seed.prefix));
            }
        }
    }

    pub(crate) fn mutate(&mut self, path: &str, mutation: Mutation) -> Result<(), NoSuchItem> {
        let id = self.find(path)?;
        let folder = self.drive.tree.item(id).parent;
        match mutation {
            Mutation::Write { content, modified_ms } => {
                self.drive.tree.set_body(id, Body::File(content));
                self.drive.tree.set_modified(id, modified_ms);
            }
            Mutation::Touch { modified_ms } => self.drive.tree.set_modified(id, modified_ms),
            Mutation::BumpEtag => {}
            Mutation::Trash => self.drive.tree.trash_item(id),
            Mutation::Erase => self.drive.tree.erase(id),
            Mutation::Rename { to } => {
                let (to_folder, name) = to.rsplit_once('/').unwrap_or(("", &to));
                let to_folder = self.find(to_folder)?;
                self.drive.tree.detach(id);
                self.drive.tree.rename(id, name);
                self.drive.tree.attach(id, to_folder);
            }
        }
        self.drive.changed(id, &self.rules.drive);
        if let Some(folder) = folder {
            self.drive.folder_changed(folder, &self.rules.drive);
        }
        Ok(())
    }

    pub(crate) fn content_at(&self, path: &str) -> Result<Content, NoSuchItem> {
        let item = self.drive.tree.item(self.find(path)?);
        match &item.body {
            Body::File(content) => Ok(content.clone()),
            Body::Package(package) => Ok(package.archive(&item.name, 0, false)),
            Body::Folder { .. } => Err(NoSuchItem(path.to_owned())),
        }
    }

    /// Returns every item below the root, folders before their contents.
    pub(crate) fn snapshot(&self) -> Vec<Stored> {
        let mut items = Vec::new();
        self.collect(self.drive.tree.root(), &mut items);
        items
    }

    pub(crate) fn trash_snapshot(&self) -> Vec<Stored> {
        let mut items = Vec::new();
        for id in self.drive.tree.trash() {
            items.push(self.info(*id));
            self.collect(*id, &mut items);
        }
        items
    }

    fn collect(&self, folder: ItemId, items: &mut Vec<Stored>) {
        for child in self.drive.tree.item(folder).children() {
            items.push(self.info(child));
            self.collect(child, items);
        }
    }

    fn info(&self, id: ItemId) -> Stored {
        let item = self.drive.tree.item(id);
        let content = match &item.body {
            Body::File(content) => Some(content.clone()),
            Body::Folder { .. } | Body::Package(_) => None,
        };
        let info = ItemInfo {
            path: self.drive.tree.path(id),
            folder: item.is_folder(),
            size: item.size(),
            sha256: None,
            modified_ms: item.modified_ms,
            etag: item.etag(),
            drive_id: item.drive_id(),
        };
        (info, content)
    }

    fn find(&self, path: &str) -> Result<ItemId, NoSuchItem> {
        self.drive.tree.at(path).ok_or_else(|| NoSuchItem(path.to_owned()))
    }
}
