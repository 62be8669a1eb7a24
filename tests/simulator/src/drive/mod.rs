//! iCloud Drive: the stored tree and the hosts that serve it.

pub(crate) mod content;
pub(crate) mod content_host;
pub(crate) mod docws;
pub(crate) mod drivews;
pub(crate) mod encoding;
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
    /// Whether the type is `PACKAGE`, so that the bytes are an archive.
    pub(crate) package: bool,
    pub(crate) body: Option<Body>,
    pub(crate) receipt: Option<String>,
}

/// A content URL that was issued.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) content: Content,
    /// Whether the content is the archive of a package, of which no range can be requested.
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
    /// Uploads by the token in their URL.
    pub(crate) uploads: HashMap<String, Upload>,
    /// Content URLs by their token.
    pub(crate) grants: HashMap<String, Grant>,
}

impl Drive {
    pub(crate) fn new(seed: u64, now_ms: i64) -> Self {
        Self { tree: Tree::new(seed, now_ms), written: Vec::new(), uploads: HashMap::new(), grants: HashMap::new() }
    }

    /// Records a change of `id`: it gets a new etag and, depending on the rules, so does its
    /// folder.
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
