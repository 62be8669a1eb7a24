//! What the destination contained before the restore.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tokio::sync::OnceCell;
use unicode_normalization::UnicodeNormalization;

use crate::{
    drive::{Drive, DrivePath, Error, folded},
    rclone::{Entry, Item, Kind},
};

/// The contents of a folder before the restore.
#[derive(Debug, Default)]
pub struct Contents {
    /// The entries by name. If `merges` is set, the names are in composed Unicode form.
    entries: BTreeMap<String, Entry>,
    /// The keys of `entries` by their names without case, if `merges` is set.
    folded: HashMap<String, String>,
    /// Whether the service treats names that differ in their Unicode form as equal, and perhaps
    /// those that differ in case.
    merges: bool,
}

/// The result of a look-up by name.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// No entry has the name.
    Nothing,
    /// This entry has the name.
    Same(&'a Entry),
    /// This entry has a name that differs only in case.
    Alike(&'a Entry),
}

impl Contents {
    fn new(listed: Vec<Entry>, merges: bool) -> Self {
        let mut contents = Self { merges, ..Self::default() };
        for entry in listed {
            let key = contents.key(entry.name());
            if merges {
                contents.folded.insert(folded(&key), key.clone());
            }
            contents.entries.insert(key, entry);
        }
        contents
    }

    /// Finds the entry with a name.
    pub fn find(&self, name: &str) -> Found<'_> {
        let key = self.key(name);
        if let Some(entry) = self.entries.get(&key) {
            return Found::Same(entry);
        }
        match self.folded.get(&folded(&key)).and_then(|key| self.entries.get(key)) {
            Some(entry) if self.merges => Found::Alike(entry),
            _ => Found::Nothing,
        }
    }

    /// Reports whether the folder may contain a package: a file whose size in listings is not the
    /// size of its content.
    pub fn may_have_packages(&self) -> bool {
        self.entries.values().any(|entry| matches!(&entry.item, Item::File(file) if file.listed_size.is_some()))
    }

    /// Returns the entries whose names start with `start`.
    pub fn starting_with(&self, start: &str) -> impl Iterator<Item = &Entry> {
        let start = self.key(start);
        let from = self.entries.range(start.clone()..);
        from.take_while(move |(name, _)| name.starts_with(&start)).map(|(_, entry)| entry)
    }

    fn key(&self, name: &str) -> String {
        if self.merges { name.nfc().collect() } else { name.to_owned() }
    }
}

/// A folder of the destination, which is listed when its contents are first needed.
#[derive(Debug)]
pub struct Folder {
    drive: Drive,
    path: DrivePath,
    above: Option<Arc<Self>>,
    contents: OnceCell<Arc<Contents>>,
}

impl Folder {
    /// Returns the contents of the folder before the restore. The folder is not listed if the
    /// folder above does not contain it.
    ///
    /// # Errors
    /// Fails if a folder cannot be listed.
    pub async fn contents(&self) -> Result<Arc<Contents>, Error> {
        self.contents.get_or_try_init(|| self.list()).await.cloned()
    }

    async fn list(&self) -> Result<Arc<Contents>, Error> {
        if let Some(above) = &self.above {
            let below = self.path.as_str().strip_prefix(above.path.as_str()).unwrap_or_default();
            let next = below.split('/').find(|part| !part.is_empty()).unwrap_or_default();
            if matches!(Box::pin(above.contents()).await?.find(next), Found::Nothing) {
                return Ok(Arc::default());
            }
        }
        match self.drive.list_known(&self.path).await {
            Ok(entries) => Ok(Arc::new(Contents::new(entries, self.drive.merges_names()))),
            Err(error) if error.kind() == Kind::NotFound => Ok(Arc::default()),
            Err(error) => Err(error),
        }
    }
}

/// The folders of the destination on the path of the current record. plakar sends a folder before
/// its content, and all its content before the next folder.
#[derive(Debug)]
pub struct Folders {
    open: Vec<Arc<Folder>>,
    top: Arc<Folder>,
}

impl Folders {
    /// Returns the folders below `top`.
    pub fn new(drive: &Drive, top: &DrivePath) -> Self {
        let top = Folder { drive: drive.clone(), path: top.clone(), above: None, contents: OnceCell::new() };
        Self { open: Vec::new(), top: Arc::new(top) }
    }

    /// Returns the folder of a path, which is the top or lies below it.
    pub fn at(&mut self, path: &DrivePath) -> Arc<Folder> {
        if *path == self.top.path {
            self.open.clear();
            return Arc::clone(&self.top);
        }
        while let Some(last) = self.open.last() {
            if last.path == *path {
                return Arc::clone(last);
            }
            if path.is_below(&last.path) {
                break;
            }
            self.open.pop();
        }
        let above = Arc::clone(self.open.last().unwrap_or(&self.top));
        let drive = above.drive.clone();
        let folder = Folder { drive, path: path.clone(), above: Some(above), contents: OnceCell::new() };
        let folder = Arc::new(folder);
        self.open.push(Arc::clone(&folder));
        folder
    }
}
