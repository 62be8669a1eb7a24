//! The items in the archive of a package.
//!
//! The items are those in the directory at the end of the archive, because only the directory is
//! certain to have the sizes. So an archive is read from a spool that contains all of it.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::{DrivePath, content::Content, package::Reader, path::are_equivalent, spool::Spooled};
use crate::rclone::{Error, Kind, Region};

/// The maximum number of items in an archive that is unpacked.
const MAX_ITEMS: usize = 100_000;
/// The maximum size of its items in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// Items that together are larger than this may be at most [`MAX_RATIO`] times as large as the archive,
/// unless the service lists the package with about their size.
const MIN_CHECKED_BYTES: u64 = 64 * 1024 * 1024;
const MAX_RATIO: u64 = 200;
/// The longest path in an archive in bytes, as in most systems.
const MAX_PATH: usize = 4096;
/// The largest piece of content, as in plakar's own connectors.
const MAX_PIECE: usize = 1024 * 1024;

/// The bits of a Unix mode that contain the type of a file.
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// An item of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The path in the package, without a leading slash.
    pub path: String,
    /// What the item is.
    pub kind: MemberKind,
}

/// What an item of a package is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberKind {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// The size in bytes.
        size: u64,
        /// The CRC-32 of the content.
        crc: u32,
        /// Whether the file is a program.
        executable: bool,
    },
    /// A symbolic link to this path, which is in the package.
    Link(String),
}

impl Member {
    /// Returns the folder and the name, by which items are sorted.
    pub fn place(&self) -> (&str, &str) {
        place(&self.path)
    }
}

/// The archive of a package, whose items can be read.
#[derive(Debug)]
pub struct Archive {
    zip: ZipArchive<Reader<Arc<Region>>>,
    members: Vec<Member>,
    /// The number of each member in the directory of the archive. A folder may have none.
    numbers: Vec<Option<usize>>,
    /// Owns the content and its share of the limits.
    _content: Arc<Spooled>,
}

/// Why an archive is not unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl From<ZipError> for Refused {
    fn from(error: ZipError) -> Self {
        Self(format!("its archive cannot be read: {error}"))
    }
}

impl Archive {
    /// Opens the archive of the package `name`, which the service lists with the size `listed`.
    /// Blocks the thread.
    ///
    /// # Errors
    /// Fails if the content is not an archive, or if the archive cannot be that of a package:
    /// because items lead out of it, two items have the same name, or its unpacked size is out of
    /// proportion.
    pub fn open(content: Arc<Spooled>, name: &str, listed: Option<u64>) -> Result<Self, Refused> {
        let mut zip = ZipArchive::new(Reader::new(Arc::clone(content.content())))?;
        check_proportions(&zip, content.size(), listed)?;
        if zip.metadata().has_duplicate_names() {
            return Err(Refused("two of its items have the same name".to_owned()));
        }
        if zip.has_overlapping_entries()? {
            return Err(Refused("the contents of its items overlap".to_owned()));
        }
        let paths: Vec<String> = (0..zip.len()).map(|number| path_of(&zip, number)).collect::<Result<_, _>>()?;
        let root = root_of(&paths, name).unwrap_or_default().to_owned();
        let mut items = Items::default();
        for (number, path) in paths.iter().enumerate() {
            let path = path.strip_prefix(&root).unwrap_or(path);
            if !path.is_empty() {
                let kind = kind_of(&mut zip, number, path)?;
                items.add(path.trim_end_matches('/'), kind, number)?;
            }
        }
        let (members, numbers) = items.0.into_values().unzip();
        Ok(Self { zip, members, numbers, _content: content })
    }

    /// Returns the items. Those of a folder follow each other, sorted by name.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Reads a file. The content is checked against its size and its checksum in the archive.
    ///
    /// # Errors
    /// Fails with [`Kind::Changed`] if the archive has no such item.
    pub fn read(self: &Arc<Self>, member: &Member) -> Result<Content, Error> {
        let found = self.members.binary_search_by(|other| other.place().cmp(&member.place())).ok();
        let found = found.filter(|&at| self.members[at] == *member).and_then(|at| self.numbers[at]);
        let (Some(number), &MemberKind::File { size, .. }) = (found, &member.kind) else {
            return Err(Error::new(Kind::Changed, "the package has changed since it was listed"));
        };
        let (sender, content) = Content::channel();
        let archive = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = archive.send(number, size, &sender) {
                let text = format!("the archive of the package is damaged: {error}");
                let _ = sender.blocking_send(Err(Error::new(Kind::Damaged, text))); // fails if the receiver was dropped
            }
        });
        Ok(content)
    }

    fn send(&self, number: usize, size: u64, sender: &mpsc::Sender<Result<Bytes, Error>>) -> Result<(), Refused> {
        let mut zip = self.zip.clone();
        let mut file = zip.by_index(number)?;
        let mut left = size;
        loop {
            let mut piece =
                BytesMut::zeroed(usize::try_from(left).map_or(MAX_PIECE, |left| left.min(MAX_PIECE)).max(1));
            let mut filled = 0;
            while filled < piece.len() {
                match file.read(&mut piece[filled..]).map_err(ZipError::from)? {
                    // At the end, the reader has compared the checksum.
                    0 => break,
                    count => filled += count,
                }
            }
            if filled as u64 > left || filled == 0 && left > 0 {
                return Err(Refused("the size of an item differs from the directory".to_owned()));
            }
            if filled == 0 {
                return Ok(());
            }
            left -= filled as u64;
            piece.truncate(filled);
            if sender.blocking_send(Ok(piece.freeze())).is_err() {
                return Ok(());
            }
        }
    }
}

/// Items by their folder and name.
#[derive(Default)]
struct Items(BTreeMap<(String, String), (Member, Option<usize>)>);

impl Items {
    /// Adds an item and the folders above it.
    fn add(&mut self, path: &str, kind: MemberKind, number: usize) -> Result<(), Refused> {
        for (end, _) in path.match_indices('/') {
            self.insert(&path[..end], MemberKind::Folder, None)?;
        }
        self.insert(path, kind, Some(number))
    }

    /// Inserts an item. A folder may have been inserted before, for an item in it.
    fn insert(&mut self, path: &str, kind: MemberKind, number: Option<usize>) -> Result<(), Refused> {
        let (folder, name) = place(path);
        let item = (Member { path: path.to_owned(), kind: kind.clone() }, number);
        match self.0.insert((folder.to_owned(), name.to_owned()), item) {
            None => Ok(()),
            Some((Member { kind: MemberKind::Folder, .. }, _)) if kind == MemberKind::Folder => Ok(()),
            Some(_) => Err(Refused(format!("two of its items are called {path:?}"))),
        }
    }
}

/// Returns the folder and the name of a path.
fn place(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn check_proportions<R>(zip: &ZipArchive<R>, size: u64, listed: Option<u64>) -> Result<(), Refused>
where
    R: io::Read + io::Seek,
{
    if zip.len() > MAX_ITEMS {
        return Err(Refused(format!("it has {} items, and at most {MAX_ITEMS} are unpacked", zip.len())));
    }
    let mut unpacked: u64 = 0;
    for number in 0..zip.len() {
        unpacked = unpacked.saturating_add(zip.by_index_data(number)?.size());
    }
    let is_listed = listed.is_some_and(|listed| unpacked / 2 <= listed);
    if unpacked > MAX_BYTES || unpacked > MIN_CHECKED_BYTES && unpacked / MAX_RATIO > size && !is_listed {
        return Err(Refused(format!("its archive of {size} bytes would have {unpacked} bytes when unpacked")));
    }
    Ok(())
}

/// Returns the path of an entry: relative, and with a slash at the end for a folder.
fn path_of<R>(zip: &ZipArchive<R>, number: usize) -> Result<String, Refused>
where
    R: io::Read + io::Seek,
{
    let entry = zip.by_index_data(number)?;
    // Archives made by macOS have names in UTF-8 that are not marked as such.
    let path = match std::str::from_utf8(entry.name_raw()) {
        Ok(path) => path.to_owned(),
        Err(_) => entry.name()?.into_owned(),
    };
    let mut parts = path.strip_suffix('/').unwrap_or(&path).split('/');
    if path.len() > MAX_PATH || parts.any(|part| DrivePath::top().child(part).is_err()) {
        let shown: String = path.chars().take(100).collect();
        return Err(Refused(format!("{shown:?} cannot be the path of one of its items")));
    }
    if entry.encrypted() || !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
        return Err(Refused(format!("{path:?} is encrypted or compressed in an unknown way")));
    }
    Ok(path)
}

/// Returns the folder of the package, which contains all entries, with a slash. After a package was
/// renamed, the folder may have another name with the same extension.
fn root_of<'a>(paths: &'a [String], name: &str) -> Option<&'a str> {
    let first = paths.first()?;
    let root = &first[..=first.find('/')?];
    let folder = root.trim_end_matches('/');
    let extension = |name: &str| name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
    let has_name = are_equivalent(folder, name) || extension(name).is_some() && extension(folder) == extension(name);
    (has_name && paths.iter().all(|path| path.starts_with(root))).then_some(root)
}

fn kind_of(zip: &mut ZipArchive<Reader<Arc<Region>>>, number: usize, path: &str) -> Result<MemberKind, Refused> {
    let entry = zip.by_index_data(number)?;
    let mode = entry.unix_mode().unwrap_or_default();
    let (size, crc) = (entry.size(), entry.crc32());
    if path.ends_with('/') {
        return Ok(MemberKind::Folder);
    }
    match mode & TYPE {
        0 | REGULAR => Ok(MemberKind::File { size, crc, executable: mode & 0o111 != 0 }),
        LINK if size <= MAX_PATH as u64 => {
            let target = zip.by_index(number)?.take(MAX_PATH as u64);
            let target = io::read_to_string(target).map_err(ZipError::from)?;
            if leads_out(path, &target) {
                return Err(Refused(format!("its link {path:?} leads out of it")));
            }
            Ok(MemberKind::Link(target))
        }
        FOLDER => Ok(MemberKind::Folder),
        _ => Err(Refused(format!("{path:?} is neither a file nor a folder nor a link"))),
    }
}

/// Reports whether a link may lead out of the package. A `..` after a name counts as leading out,
/// because the name may be that of another link.
fn leads_out(path: &str, target: &str) -> bool {
    let parts: Vec<&str> = target.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let up = parts.iter().take_while(|part| **part == "..").count();
    target.is_empty() || target.starts_with('/') || up > path.matches('/').count() || parts[up..].contains(&"..")
}

#[cfg(test)]
mod tests;
