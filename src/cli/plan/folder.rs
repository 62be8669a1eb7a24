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

/// Returns the items of a folder in the order of plakar.
///
/// # Errors
/// Fails if a folder cannot be read.
pub fn read(folder: &Path) -> io::Result<Vec<Planned>> {
    let mut items = vec![listing::top()];
    add(folder, "", &mut items)?;
    Ok(items)
}

fn add(folder: &Path, above: &str, items: &mut Vec<Planned>) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    let mut entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(named)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = format!("{above}/{}", entry.file_name().to_string_lossy());
        let data = entry.metadata().map_err(named)?;
        let wanted = match data.file_type() {
            kind if kind.is_dir() => Wanted::Folder,
            kind if kind.is_file() => Wanted::File,
            kind if kind.is_symlink() => {
                Wanted::Symlink(fs::read_link(entry.path()).map_err(named)?.to_string_lossy().into_owned())
            }
            _ => Wanted::Special,
        };
        let is_folder = wanted == Wanted::Folder;
        let item = listing::item(wanted, data.modified().map_or(Time::UNKNOWN, time));
        items.push(Planned { path: path.clone(), item, sizes: data.len()..=data.len() });
        if is_folder {
            add(&entry.path(), &path, items)?;
        }
    }
    Ok(())
}

fn time(at: SystemTime) -> Time {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => Time { seconds: since.as_secs().cast_signed(), nanos: since.subsec_nanos().cast_signed() },
        Err(before) => Time { seconds: -before.duration().as_secs().cast_signed(), nanos: 0 },
    }
}
