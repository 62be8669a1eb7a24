//! A folder of this machine as the items of a snapshot of it.

use std::{
    fs, io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use super::listing;
use crate::{
    rclone::Time,
    restore::{Planned, Wanted},
};

/// What a folder contains.
pub struct Folder {
    /// The items in the order of plakar.
    pub items: Vec<Planned>,
    /// The number of items that were removed while the folder was read. They are not in `items`.
    pub vanished: u64,
}

impl Folder {
    /// Reads a folder.
    ///
    /// # Errors
    /// Fails if it does not exist, or if it or a folder in it cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut found = Self { items: vec![listing::top()], vanished: 0 };
        found.add(folder, "")?;
        Ok(found)
    }

    /// Adds the content of a folder.
    fn add(&mut self, folder: &Path, above: &str) -> io::Result<()> {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        self.add_entries(entries.map_err(named(folder))?, above)
    }

    fn add_entries(&mut self, mut entries: Vec<fs::DirEntry>, above: &str) -> io::Result<()> {
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let count = self.items.len();
            match self.add_entry(&entry, above) {
                Err(error) if has_vanished(&error) => {
                    self.items.truncate(count);
                    self.vanished += 1;
                }
                added => added?,
            }
        }
        Ok(())
    }

    /// Adds an item and, if it is a folder, its content.
    fn add_entry(&mut self, entry: &fs::DirEntry, above: &str) -> io::Result<()> {
        let (place, path) = (entry.path(), format!("{above}/{}", entry.file_name().to_string_lossy()));
        let data = entry.metadata().map_err(named(&place))?;
        let wanted = match data.file_type() {
            kind if kind.is_dir() => Wanted::Folder,
            kind if kind.is_file() => Wanted::File,
            kind if kind.is_symlink() => {
                let target = fs::read_link(&place).map_err(named(&place))?;
                Wanted::Symlink(target.to_string_lossy().into_owned())
            }
            _ => Wanted::Special,
        };
        let is_folder = wanted == Wanted::Folder;
        let item = listing::item(wanted, data.modified().map_or(Time::UNKNOWN, time));
        self.items.push(Planned { path: path.clone(), item, sizes: data.len()..=data.len() });
        if is_folder { self.add(&place, &path) } else { Ok(()) }
    }
}

/// Reports whether an error means that an item no longer exists, or is another item now: one that was
/// a folder ([`io::ErrorKind::NotADirectory`]) or a link ([`io::ErrorKind::InvalidInput`]).
fn has_vanished(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidInput)
}

/// Returns a function that adds a path to an error.
fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn time(at: SystemTime) -> Time {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => Time { seconds: since.as_secs().cast_signed(), nanos: since.subsec_nanos().cast_signed() },
        Err(before) => Time { seconds: -before.duration().as_secs().cast_signed(), nanos: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_vanish_meanwhile_are_left_out_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a", "b/c/d", "e/f"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "content").unwrap();
        }
        let entries = fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        fs::remove_file(folder.path().join("a")).unwrap();
        fs::remove_dir_all(folder.path().join("e")).unwrap();
        let mut found = Folder { items: Vec::new(), vanished: 0 };
        found.add_entries(entries, "").unwrap();
        let paths: Vec<&str> = found.items.iter().map(|item| item.path.as_str()).collect();
        assert_eq!((paths, found.vanished), (vec!["/b", "/b/c", "/b/c/d"], 2));
        assert_eq!(Folder::read(&folder.path().join("a")).err().unwrap().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_item_that_became_another_kind_has_vanished() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(has_vanished(&fs::read_dir(file.path()).err().unwrap()));
        assert!(has_vanished(&fs::read_link(file.path()).unwrap_err()));
    }
}
