//! The files and folders of a restore.

use std::collections::BTreeMap;

use bytes::Bytes;
use plakar_protocol::connectors::{FileInfo, Record};
use prost_types::Timestamp;

use crate::snapshot::{Entry, MODE_DIR, MODE_SYMLINK, Snapshot, strip};

/// Folders, files and links in the order in which plakar sends them: depth first, a folder before
/// its content, names in bytewise order.
#[derive(Clone, Debug, Default)]
pub struct Tree(BTreeMap<Vec<String>, Item>);

/// A path of a restore.
#[derive(Clone, Debug)]
pub struct Item {
    /// The record, which is sent before the content.
    pub record: Record,
    /// The content.
    pub payload: Payload,
}

/// The content that follows a record.
#[derive(Clone, Debug)]
pub enum Payload {
    /// No content, because the item is not a regular file.
    Nothing,
    /// The whole content.
    Whole(Bytes),
    /// The start of the content, after which plakar's own read fails.
    Broken(Bytes),
}

/// The modification time of every synthetic item, 2024-05-17 12:00:00 UTC.
const CHANGED: i64 = 1_715_947_200;

impl Tree {
    /// Returns an empty tree, without a root.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the tree with a folder added.
    #[must_use]
    pub fn folder(self, path: &str) -> Self {
        self.item(path, MODE_DIR | 0o755, Payload::Nothing)
    }

    /// Returns the tree with a file added.
    #[must_use]
    pub fn file(self, path: &str, content: impl Into<Bytes>) -> Self {
        self.item(path, 0o644, Payload::Whole(content.into()))
    }

    /// Returns the tree with a file added that plakar cannot read to its end.
    #[must_use]
    pub fn broken(self, path: &str, start: impl Into<Bytes>) -> Self {
        self.item(path, 0o644, Payload::Broken(start.into()))
    }

    /// Returns the tree with a symbolic link added.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self = self.item(path, MODE_SYMLINK | 0o777, Payload::Nothing);
        if let Some(item) = self.0.get_mut(&key(path)) {
            item.record.target = target.to_owned();
        }
        self
    }

    /// Returns the tree with an item of a special kind added (bits of Go's `fs.FileMode`).
    #[must_use]
    pub fn special(self, path: &str, mode: u32) -> Self {
        self.item(path, mode, Payload::Nothing)
    }

    fn item(mut self, path: &str, mode: u32, payload: Payload) -> Self {
        let size = match &payload {
            Payload::Nothing => 0,
            Payload::Whole(content) => content.len(),
            // plakar announces the size that it expects to read.
            Payload::Broken(start) => start.len() * 2 + 1,
        };
        let name = if path == "/" { path } else { path.rsplit('/').next().unwrap_or("") };
        let info = FileInfo {
            name: name.to_owned(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            mode,
            mod_time: Some(Timestamp { seconds: CHANGED, nanos: 0 }),
            ..FileInfo::default()
        };
        self.insert(path, info, payload, "");
        self
    }

    fn insert(&mut self, path: &str, info: FileInfo, payload: Payload, target: &str) {
        let record = Record {
            has_reader: !matches!(payload, Payload::Nothing),
            pathname: path.to_owned(),
            target: target.to_owned(),
            file_info: Some(info),
            ..Record::default()
        };
        self.0.insert(key(path), Item { record, payload });
    }

    fn add(&mut self, path: &str, entry: &Entry) {
        let bytes = entry.content.as_ref().and_then(|content| content.bytes.clone());
        let payload = bytes.map_or(Payload::Nothing, Payload::Whole);
        self.insert(path, entry.info.clone(), payload, &entry.target);
    }

    /// Returns the number of paths.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Reports whether the tree is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the items in the order of the restore.
    pub fn iter(&self) -> impl Iterator<Item = &Item> {
        self.0.values()
    }

    /// Returns the contents of the files by path.
    pub fn contents(&self) -> BTreeMap<&str, &Bytes> {
        let whole = self.iter().filter_map(|item| match &item.payload {
            Payload::Whole(content) => Some((item.record.pathname.as_str(), content)),
            Payload::Nothing | Payload::Broken(_) => None,
        });
        whole.collect()
    }
}

impl Snapshot {
    /// Returns the items for a restore of `SNAP:path`, with paths relative to it. For a whole
    /// snapshot, they are relative to its root. A single file is placed below a generated folder.
    /// The snapshot must have the bytes of the contents.
    pub fn restore(&self, path: &str) -> Tree {
        let mut tree = Tree::new();
        if let Some(entry) = self.entries.get(path).filter(|entry| !entry.is_dir()) {
            tree = tree.special("/", MODE_DIR | 0o700);
            tree.add(&format!("/{}", entry.info.name), entry);
            return tree;
        }
        for (entry_path, entry) in &self.entries {
            match strip(entry_path, path) {
                Some("") => tree.add("/", entry),
                Some(below) => tree.add(below, entry),
                None => {}
            }
        }
        tree.complete_parents()
    }
}

impl Tree {
    /// Adds the parent folders that an import did not send, as kloset does.
    fn complete_parents(mut self) -> Self {
        let paths: Vec<String> = self.iter().map(|item| item.record.pathname.clone()).collect();
        for path in paths {
            let folders = path.match_indices('/').map(|(at, _)| &path[..at.max(1)]);
            for folder in folders {
                if !self.0.contains_key(&key(folder)) {
                    self = self.special(folder, MODE_DIR | 0o750);
                }
            }
        }
        self
    }
}

fn key(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::Identity;

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.iter().map(|item| item.record.pathname.as_str()).collect()
    }

    #[test]
    fn folders_precede_their_content_and_names_are_in_bytewise_order() {
        let tree = Tree::new().file("/a.txt", "").file("/a/b", "").folder("/a").folder("/").file("/B", "");
        assert_eq!(paths(&tree), ["/", "/B", "/a", "/a/b", "/a.txt"]);
    }

    #[test]
    fn a_restore_is_relative_and_has_all_parents() {
        let mut snapshot = Snapshot::new(&Identity { root: "/x".to_owned(), ..Identity::default() });
        for item in Tree::new().file("/x/y/z/f", "f").iter() {
            snapshot.add(&item.record, None);
        }
        assert_eq!(paths(&snapshot.restore("/x")), ["/", "/y", "/y/z", "/y/z/f"]);
        assert_eq!(paths(&snapshot.restore("/x/y/z/f")), ["/", "/f"]);
    }
}
