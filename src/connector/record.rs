//! Conversions between the entries of a drive and plakar's records.

use plakar_protocol::connectors::{FileInfo, Record};
use prost_types::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    backup::Package,
    drive::{DrivePath, Member, MemberKind},
    rclone::{self, Entry, File, Time},
    restore::{Item, Wanted},
};

/// Bits of Go's `fs.FileMode` (contract of PlakarKorp/integration-grpc).
const MODE_DIR: u32 = 1 << 31;
const MODE_SYMLINK: u32 = 1 << 27;
/// All bits that mark a file as something other than a regular one.
const MODE_TYPE: u32 = MODE_DIR | MODE_SYMLINK | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;

/// The permissions of files, which a restore to a disk sets. rclone's remotes provide none.
const FILE_PERMISSIONS: u32 = 0o644;
const PROGRAM_PERMISSIONS: u32 = 0o755;
const FOLDER_PERMISSIONS: u32 = 0o755;
const LINK_PERMISSIONS: u32 = 0o777;

/// Returns the record of a listed entry.
///
/// plakar compares every field with the last snapshot to detect a changed file. So all fields are
/// constant except those that change with the file: the size, the time and, as `ino`, a digest of
/// the version that the service reports.
pub fn of_entry(path: &DrivePath, entry: &Entry) -> Record {
    match &entry.item {
        rclone::Item::Folder => of_folder(path, entry.modified),
        rclone::Item::File(file) => record(path, file_info(path, entry.modified, file)),
        rclone::Item::Link(target) => of_link(path, entry.modified, target),
    }
}

/// Returns the record of a folder.
pub fn of_folder(path: &DrivePath, modified: Time) -> Record {
    let mode = MODE_DIR | FOLDER_PERMISSIONS;
    record(path, FileInfo { mode, mod_time: Some(timestamp(modified)), ..constant(path) })
}

fn of_link(path: &DrivePath, modified: Time, target: &str) -> Record {
    let info = FileInfo {
        size: i64::try_from(target.len()).unwrap_or_default(),
        mode: MODE_SYMLINK | LINK_PERMISSIONS,
        mod_time: Some(timestamp(modified)),
        ino: xxh3_64(target.as_bytes()),
        ..constant(path)
    };
    Record { target: target.to_owned(), ..record(path, info) }
}

/// Returns the record of an item of a package. Its time is that of the package, because an archive may
/// contain times of its download. Its digest covers the version of the package, because a checksum of
/// the archive has only 32 bits.
pub fn of_member(path: &DrivePath, package: &Package, member: &Member) -> Record {
    let (size, crc, mode) = match &member.kind {
        MemberKind::Folder => return of_folder(path, package.modified),
        MemberKind::Link(target) => return of_link(path, package.modified, target),
        MemberKind::File { size, crc, executable: false } => (size, crc, FILE_PERMISSIONS),
        MemberKind::File { size, crc, executable: true } => (size, crc, PROGRAM_PERMISSIONS),
    };
    let info = FileInfo {
        size: i64::try_from(*size).unwrap_or(i64::MAX),
        mode,
        mod_time: Some(timestamp(package.modified)),
        ino: xxh3_64(format!("{crc:08x} {}", package.file.version).as_bytes()),
        ..constant(path)
    };
    record(path, info)
}

/// Returns a record that reports an error for a path.
pub fn of_error(path: &DrivePath, error: String) -> Record {
    Record { pathname: path.to_string(), error, ..Record::default() }
}

fn record(path: &DrivePath, info: FileInfo) -> Record {
    Record { pathname: path.to_string(), file_info: Some(info), ..Record::default() }
}

fn file_info(path: &DrivePath, modified: Time, file: &File) -> FileInfo {
    FileInfo {
        // With -1, plakar does not read a file of unknown size again at each backup.
        size: file.size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)),
        mode: FILE_PERMISSIONS,
        mod_time: Some(timestamp(modified)),
        ino: xxh3_64(file.version.as_bytes()),
        ..constant(path)
    }
}

fn constant(path: &DrivePath) -> FileInfo {
    let name = if path.is_top() { "/" } else { path.name() };
    FileInfo { name: name.to_owned(), nlink: 1, ..FileInfo::default() }
}

fn timestamp(time: Time) -> Timestamp {
    Timestamp { seconds: time.seconds, nanos: time.nanos }
}

/// Returns what a record asks an exporter to create.
pub fn item(record: &Record) -> Item {
    let info = record.file_info.clone().unwrap_or_default();
    let time = info.mod_time.unwrap_or_default();
    let (wanted, usual) = match info.mode & MODE_TYPE {
        _ if record.is_xattr => (Wanted::Attribute, None),
        _ if record.file_info.is_none() => (Wanted::Nothing, None),
        0 => (Wanted::File, Some(FILE_PERMISSIONS)),
        // plakar invents the top folder if it restores a single file.
        MODE_DIR if record.pathname == "/" => (Wanted::Folder, None),
        MODE_DIR => (Wanted::Folder, Some(FOLDER_PERMISSIONS)),
        MODE_SYMLINK => (Wanted::Symlink(record.target.clone()), None),
        _ => (Wanted::Special, None),
    };
    Item {
        wanted,
        modified: Time { seconds: time.seconds, nanos: time.nanos },
        has_permissions: usual.is_some_and(|usual| info.mode & !MODE_TYPE != usual),
        is_program: info.mode & MODE_TYPE == 0 && info.mode & 0o111 != 0,
        has_attributes: !record.extended_attributes.is_empty(),
        has_content: record.has_reader,
    }
}
