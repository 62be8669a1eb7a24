//! The items of a tree: folders, files and packages.

use std::collections::BTreeMap;

use crate::drive::content::Content;
use crate::drive::package::Package;

/// The index of an item in the tree; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ItemId(pub(crate) usize);

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Folder { children: BTreeMap<String, ItemId>, files: u64, bytes: u64 },
    File(Content),
    Package(Package),
}

/// How an item relates to a folder that another account shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    Own,
    Root,
    Below,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) document_id: String,
    pub(crate) item_id: String,
    pub(crate) zone: String,
    pub(crate) parent: Option<ItemId>,
    pub(crate) app_library: bool,
    pub(crate) sharing: Sharing,
    pub(crate) name: String,
    pub(crate) change: u64,
    /// The change that set the current content.
    pub(crate) content_change: u64,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    pub(crate) body: Body,
    /// The path before the item was moved to the Trash; `None` for an item that is not there.
    pub(crate) trashed_from: Option<String>,
}

impl Item {
    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.body, Body::Folder { .. })
    }

    pub(crate) fn is_package(&self) -> bool {
        matches!(self.body, Body::Package(_))
    }

    /// The size in listings; for a folder the bytes of all files below it.
    pub(crate) fn size(&self) -> u64 {
        match &self.body {
            Body::Folder { bytes, .. } => *bytes,
            Body::File(content) => content.size(),
            Body::Package(package) => package.listed_size(),
        }
    }

    /// The number of files in it: 1 for a file.
    pub(super) fn files(&self) -> u64 {
        match &self.body {
            Body::Folder { files, .. } => *files,
            Body::File(_) | Body::Package(_) => 1,
        }
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = ItemId> + '_ {
        let children = match &self.body {
            Body::Folder { children, .. } => Some(children.values().copied()),
            Body::File(_) | Body::Package(_) => None,
        };
        children.into_iter().flatten()
    }

    /// One change tag for a folder; for a file, the change tag of the item and that of the content,
    /// joined.
    pub(crate) fn etag(&self) -> String {
        match self.body {
            Body::Folder { .. } => base36(self.change),
            Body::File(_) | Body::Package(_) => format!("{}::{}", base36(self.change), base36(self.content_change)),
        }
    }

    pub(crate) fn drive_id(&self) -> String {
        let prefix = match (self.is_folder(), self.sharing) {
            (true, Sharing::Own) => "FOLDER",
            (true, Sharing::Root) => "SHARED_FOLDER",
            (true, Sharing::Below) => "FOLDER_IN_SHARED_FOLDER",
            (false, Sharing::Below) => "FILE_IN_SHARED_FOLDER",
            (false, _) => "FILE",
        };
        format!("{prefix}::{}::{}", self.zone, self.document_id)
    }
}

/// The properties of a new item.
pub(crate) struct NewItem {
    pub(crate) name: String,
    pub(crate) body: Body,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
}

impl NewItem {
    pub(crate) fn folder(name: &str, now_ms: i64) -> Self {
        Self {
            name: name.to_owned(),
            body: Body::Folder { children: BTreeMap::new(), files: 0, bytes: 0 },
            created_ms: now_ms,
            modified_ms: now_ms,
        }
    }
}

fn base36(mut number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = Vec::new();
    loop {
        text.push(DIGITS[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    text.reverse();
    String::from_utf8(text).unwrap_or_default()
}
