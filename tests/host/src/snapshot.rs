//! The snapshot that kloset makes of an import.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use plakar_protocol::connectors::{FileInfo, Record};

use crate::handshake::Identity;
use crate::store::Mac;

/// Go's `fs.ModeDir`.
pub(crate) const MODE_DIR: u32 = 1 << 31;
/// Go's `fs.ModeSymlink`.
pub(crate) const MODE_SYMLINK: u32 = 1 << 27;
/// Go's `fs.ModeType`: the bits of which a regular file has none.
const MODE_TYPE: u32 = MODE_DIR | MODE_SYMLINK | (1 << 26) | (1 << 25) | (1 << 24) | (1 << 21) | (1 << 19);

/// The files of a source at one time.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The account or server.
    pub origin: String,
    /// The kind of remote.
    pub kind: String,
    /// The folder that a restore of the whole snapshot is relative to.
    pub root: String,
    /// Files, folders and links by absolute path.
    pub entries: BTreeMap<String, Entry>,
    /// The paths that could not be backed up, with the reasons (`KO` lines).
    pub errors: BTreeMap<String, String>,
    /// All paths in the order in which their records arrived, including errors.
    pub received: Vec<String>,
    /// The paths whose content was requested.
    pub opened: BTreeSet<String>,
    /// The maximum number of contents that were read concurrently.
    pub most_open: usize,
    /// Violations of the protocol that plakar does not report but that harm users.
    pub violations: Vec<String>,
}

/// A file, a folder or a link.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name, size, times and so on. The size is that of the received content.
    pub info: FileInfo,
    /// The target of a link.
    pub target: String,
    /// The names of its extended attributes.
    pub xattrs: Vec<String>,
    /// The content, for a regular file only.
    pub content: Option<Content>,
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The size in bytes.
    pub size: u64,
    /// The SHA-256 digest.
    pub digest: Mac,
    /// The bytes, if the snapshot stores them.
    pub bytes: Option<Bytes>,
}

impl Snapshot {
    pub(crate) fn new(identity: &Identity) -> Self {
        Self {
            origin: identity.origin.clone(),
            kind: identity.kind.clone(),
            root: identity.root.clone(),
            entries: BTreeMap::new(),
            errors: BTreeMap::new(),
            received: Vec::new(),
            opened: BTreeSet::new(),
            most_open: 0,
            violations: Vec::new(),
        }
    }

    /// Reports whether kloset treats this snapshot as an earlier state of a source.
    pub(crate) fn is_parent_of(&self, identity: &Identity) -> bool {
        self.origin == identity.origin && self.kind == identity.kind && self.root == identity.root
    }

    /// Returns the entry that makes it unnecessary to read a record's content.
    pub(crate) fn unchanged(&self, record: &Record) -> Option<&Entry> {
        let entry = self.entries.get(&record.pathname)?;
        let same = same_file(record.file_info.as_ref()?, &entry.info);
        same.then_some(entry)
    }

    pub(crate) fn add(&mut self, record: &Record, content: Option<Content>) {
        let info = record.file_info.clone().unwrap_or_default();
        // The stored path is the folder of the path joined with the name in FileInfo.
        let path = match record.pathname.rsplit_once('/') {
            _ if record.pathname == "/" => "/".to_owned(),
            Some((folder, _)) => format!("{folder}/{}", info.name),
            None => return,
        };
        let entry = Entry { info, target: record.target.clone(), xattrs: record.extended_attributes.clone(), content };
        if self.entries.insert(path, entry).is_some() {
            self.violations.push(format!("{:?} was received twice", record.pathname));
        }
    }

    /// Sets the root to the parent folder for a source that is a single file, as the header does.
    pub(crate) fn settle_root(&mut self) {
        let file = self.entries.get(&self.root).is_some_and(|entry| !entry.is_dir());
        if file {
            let folder = self.root.rsplit_once('/').map_or("", |(folder, _)| folder);
            self.root = if folder.is_empty() { "/" } else { folder }.to_owned();
        }
    }

    /// Returns the regular files by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Content)> {
        self.entries.iter().filter_map(|(path, entry)| Some((path.as_str(), entry.content.as_ref()?)))
    }

    /// Returns the total size in bytes.
    pub fn bytes(&self) -> u64 {
        self.files().map(|(_, content)| content.size).sum()
    }

    /// Returns the content by path below the root, which must be equal after a restore.
    pub fn contents(&self) -> BTreeMap<&str, Mac> {
        let below = |path| strip(path, &self.root);
        self.files().filter_map(|(path, content)| Some((below(path)?, content.digest))).collect()
    }
}

impl Entry {
    /// Reports whether the entry is a folder.
    pub fn is_dir(&self) -> bool {
        self.info.mode & MODE_DIR != 0
    }
}

/// Returns the part of a path that is below a folder, "" for the folder itself.
pub(crate) fn strip<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

pub(crate) fn is_regular(info: &FileInfo) -> bool {
    info.mode & MODE_TYPE == 0
}

/// Compares as kloset's `FileInfo.Equal`, or as `EqualIgnoreSize` if the new size is unknown.
fn same_file(new: &FileInfo, old: &FileInfo) -> bool {
    let instant = |info: &FileInfo| info.mod_time.map_or((0, 0), |time| (time.seconds, time.nanos));
    let sizeless = |info: &FileInfo| {
        let texts = [&info.name, &info.username, &info.groupname].map(String::clone);
        let numbers = [info.dev, info.ino, info.uid, info.gid, u64::from(info.mode)];
        (texts, numbers, info.nlink & 0xffff, instant(info))
    };
    sizeless(new) == sizeless(old) && (new.size == -1 || new.size == old.size)
}

/// Returns the reason if kloset would lose or distort the entry of a record.
pub(crate) fn violation(record: &Record, root: &str) -> Option<String> {
    let path = &record.pathname;
    let name = record.file_info.as_ref().map_or("", |info| &info.name);
    let clean = path == "/"
        || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
    let base = if path == "/" { path } else { path.rsplit('/').next().unwrap_or("") };
    if !clean {
        Some(format!("{path:?} is not an absolute clean path"))
    } else if strip(path, root).is_none() && strip(root, path).is_none() {
        Some(format!("{path:?} is neither below nor above the root {root:?}"))
    } else if record.is_xattr && record.xattr_type != 0 {
        Some(format!("the extended attribute of {path:?} comes as a data stream"))
    } else if record.error.is_empty() && !record.is_xattr && name != base {
        Some(format!("{path:?} is named {name:?}"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn info(name: &str) -> FileInfo {
        FileInfo { name: name.to_owned(), size: 5, nlink: 1, ..FileInfo::default() }
    }

    #[test]
    fn files_are_compared_as_kloset_does() {
        let old = info("a");
        let with = |change: fn(&mut FileInfo)| {
            let mut new = old.clone();
            change(&mut new);
            same_file(&new, &old)
        };
        assert!(with(|_| ()));
        assert!(with(|new| new.flags = 1));
        assert!(with(|new| new.size = -1));
        assert!(with(|new| new.nlink = 0x1_0001));
        assert!(!with(|new| new.size = 6));
        assert!(!with(|new| new.ino = 1));
        assert!(!with(|new| new.mode = 0o600));
        assert!(!with(|new| new.username.push('u')));
        assert!(!with(|new| new.mod_time = Some(Timestamp { seconds: 0, nanos: 1 })));
    }

    #[test]
    fn records_that_would_damage_a_snapshot_are_violations() {
        let is_violation = |pathname: &str, name: &str| {
            let record = Record { pathname: pathname.to_owned(), file_info: Some(info(name)), ..Record::default() };
            violation(&record, "/docs").is_some()
        };
        assert!(!is_violation("/", "/"));
        assert!(!is_violation("/docs", "docs"));
        assert!(!is_violation("/docs/a", "a"));
        assert!(is_violation("docs/a", "a"));
        assert!(is_violation("/docs/", "docs"));
        assert!(is_violation("/docs/../a", "a"));
        assert!(is_violation("/docs/a", "b"));
        assert!(is_violation("/other/a", "a"));
        assert!(is_violation("/docsx", "docsx"));
    }
}
