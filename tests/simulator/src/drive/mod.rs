//! iCloud Drive: the stored tree and the hosts that serve it.

pub(crate) mod answers;
pub(crate) mod content;
pub(crate) mod content_host;
pub(crate) mod docws;
pub(crate) mod drivews;
pub(crate) mod item;
pub(crate) mod names;
pub(crate) mod odd;
pub(crate) mod package;
pub(crate) mod package_upload;
pub(crate) mod tree;
pub(crate) mod upload;

use std::collections::HashMap;

use crate::drive::content::Content;
use crate::drive::item::{Body, ItemId};
use crate::drive::tree::Tree;
use crate::rules::DriveRules;

/// An upload between `upload/web` and `update/documents`.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) zone: String,
    pub(crate) declared_size: u64,
    pub(crate) document_id: String,
    /// The type was `PACKAGE`: the bytes are an archive.
    pub(crate) package: bool,
    pub(crate) body: Option<Body>,
    pub(crate) receipt: Option<String>,
}

/// A content URL that was handed out.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) content: Content,
    /// The content is a package's archive, of which no part can be asked for.
    pub(crate) package: bool,
    pub(crate) subject: String,
    pub(crate) expires_at: i64,
    pub(crate) uses: u32,
}

#[derive(Debug)]
pub(crate) struct Drive {
    pub(crate) tree: Tree,
    /// Folders whose children have changed since the last request began.
    pub(crate) written: Vec<ItemId>,
    /// By the token in the upload URL.
    pub(crate) uploads: HashMap<String, Upload>,
    /// By the token in the content URL.
    pub(crate) grants: HashMap<String, Grant>,
}

impl Drive {
    pub(crate) fn new(seed: u64, now_ms: i64) -> Self {
        Self { tree: Tree::new(seed, now_ms), written: Vec::new(), uploads: HashMap::new(), grants: HashMap::new() }
    }

    /// Marks a change of `id` that its folder sees: a new etag for it and, by the rules, for the folder.
    pub(crate) fn changed(&mut self, id: ItemId, rules: &DriveRules) {
        self.tree.touch(id);
        if let Some(folder) = self.tree.item(id).parent {
            self.folder_changed(folder, rules);
        }
    }

    pub(crate) fn folder_changed(&mut self, folder: ItemId, rules: &DriveRules) {
        self.written.push(folder);
        if rules.folder_etag_follows_children {
            self.tree.touch(folder);
        }
    }
}
