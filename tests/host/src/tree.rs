//! What a restore sends.

use std::collections::BTreeMap;

use bytes::Bytes;
use plakar_protocol::connectors::{FileInfo, Record};
use prost_types::Timestamp;

use crate::snapshot::{Entry, MODE_DIR, MODE_SYMLINK, Snapshot, strip};

/// Folders, files and links in the order in which plakar sends them: depth
/// first, a folder before what is in it, names by their bytes.
#[derive(Clone, Debug, Default)]
pub struct Tree(BTreeMap<Vec<String>, Item>);

/// One path of a restore.
#[derive(Clone, Debug)]
pub struct Item {
    /// What is sent ahead of the content.
    pub record: Record,
    /// The content.
    pub payload: Payload,
}

/// The content that follows a record.
#[derive(Clone, Debug)]
pub enum Payload {
    /// None: not a regular file.
    Nothing,
    /// All of it.
    Whole(Bytes),
    /// The start of it; then plakar's own read fails.
    Broken(Bytes),
}

/// 2024-05-17 12:00:00 UTC, when every synthetic item was changed.
const CHANGED: i64 = 1_715_947_200;

impl Tree {
    /// A tree with nothing in it, not even a root.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a folder more.
    #[must_use]
    pub fn folder(self, path: &str) -> Self {
        self.item(path, MODE_DIR | 0o755, Payload::Nothing)
    }

    /// The same with a file more.
    #[must_use]
    pub fn file(self, path: &str, content: impl Into<Bytes>) -> Self {
        self.item(path, 0o644, Payload::Whole(content.into()))
    }

    /// The same with a file more that plakar fails to read to its end.
    #[must_use]
    pub fn broken(self, path: &str, start: impl Into<Bytes>) -> Self {
        self.item(path, 0o644, Payload::Broken(start.into()))
    }

    /// The same with a symbolic link more.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self = self.item(path, MODE_SYMLINK | 0o777, Payload::Nothing);
        if let Some(item) = self.0.get_mut(&key(path)) {
            item.record.target = target.to_owned();
        }
        self
    }

    /// The same with something of a special kind (bits of Go's `fs.FileMode`).
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

    /// How many paths it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths in the order of the restore.
    pub fn iter(&self) -> impl Iterator<Item = &Item> {
        self.0.values()
    }

    /// The contents of the files by path.
    pub fn contents(&self) -> BTreeMap<&str, &Bytes> {
        let whole = self.iter().filter_map(|item| match &item.payload {
            Payload::Whole(content) => Some((item.record.pathname.as_str(), content)),
            Payload::Nothing | Payload::Broken(_) => None,
        });
        whole.collect()
    }
}

impl Snapshot {
    /// The records for a restore of `SNAP:path`, with paths relative to it: the
    /// whole snapshot is its root, a file comes below a folder made up for it.
    /// It needs the bytes of the contents.
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
    /// Adds the parents that an import did not send, as kloset does.
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
    fn folders_come_before_what_is_in_them_and_names_in_the_order_of_their_bytes() {
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
