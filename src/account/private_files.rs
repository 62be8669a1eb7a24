//! Reads and writes small files in a folder that other programs, users and synchronisers may have
//! changed.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, process::geteuid};

/// The maximum size of a file that is read. Files that this program has written are smaller.
const MAX_SIZE: u64 = 64 * 1024;

/// Opens a file for reading. Refuses anything but a regular file: a FIFO or a terminal would block,
/// and a link to `/dev/zero` would never end.
pub fn open_regular(path: &Path) -> io::Result<fs::File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// Reads a regular file of at most [`MAX_SIZE`] bytes.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let metadata = file.metadata()?;
    if let Some(why) = path.parent().and_then(|folder| untrusted_owner(&metadata, fs::metadata(folder).ok().as_ref())) {
        return Err(io::Error::other(why));
    }
    let mut content = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_SIZE {
        return Err(io::Error::other(format!("it has more than {MAX_SIZE} bytes")));
    }
    Ok(content)
}

/// Replaces a file so that readers see either the old or the new one. Only the owner can read it. A
/// file written by root gets the owner of the folder, so that a run with sudo does not lock out the
/// user.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    // The temporary file has mode 0600 and a unique name.
    let mut next = tempfile::NamedTempFile::new_in(folder)?;
    next.write_all(content)?;
    next.as_file().sync_all()?;
    inherit_owner(folder, next.path())?;
    next.persist(path).map(drop).map_err(|error| error.error)
}

/// Returns the file to replace for a path that a user has chosen. If the path is a link to a file, that
/// is the file behind it.
///
/// # Errors
/// Fails if the path is anything but a regular file, such as `/dev/null`, which root would replace, or a
/// FIFO, which would block a reader. Also fails for a link of another user, who could make root replace
/// any file.
pub fn replaceable(path: &Path) -> io::Result<PathBuf> {
    let own = geteuid().as_raw();
    if fs::symlink_metadata(path).is_ok_and(|link| link.is_symlink() && link.uid() != own && link.uid() != 0) {
        return Err(io::Error::other("it is a link of another user"));
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => fs::canonicalize(path),
        Ok(_) => Err(io::Error::other("it is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(error),
    }
}

/// Creates a folder that only its owner can use, and its parents. A folder created by root gets the
/// owner of its parent folder.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folder(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => inherit_owner(folder.parent().unwrap_or(folder), folder),
        // Another process has created it first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Changes the owner of a new file or folder to that of its folder. Only root can do this, and only
/// root needs to.
pub fn inherit_owner(folder: &Path, made: &Path) -> io::Result<()> {
    if geteuid().is_root() {
        let owner = fs::metadata(folder)?;
        std::os::unix::fs::lchown(made, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Returns the reason why a folder cannot hold secrets, if there is one.
pub fn unsafe_folder(folder: &Path) -> Option<String> {
    // A folder that does not exist will be created.
    let metadata = fs::metadata(folder).ok()?;
    if metadata.mode() & 0o002 != 0 {
        return Some("every user can write to it: run chmod o-w on it".to_owned());
    }
    untrusted_owner(&metadata, None)
}

/// Returns the reason why the owner of a file or folder is not trusted, if so. This user and root
/// are trusted. If this user is root, the owner of the folder is trusted, too.
fn untrusted_owner(metadata: &fs::Metadata, folder: Option<&fs::Metadata>) -> Option<String> {
    let (own, owner) = (geteuid().as_raw(), metadata.uid());
    let is_trusted = match folder {
        _ if owner == own || owner == 0 => true,
        Some(folder) => own == 0 && folder.uid() == owner,
        // Root may use a folder of another user.
        None => own == 0,
    };
    (!is_trusted).then(|| format!("it belongs to another user (uid {owner})"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_small_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), rustix::fs::Mode::RUSR).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        for name in ["fifo", "zero", "folder"] {
            assert!(read(&path(name)).unwrap_err().to_string().contains("not a regular file"), "{name}");
        }
        fs::write(path("large"), vec![b' '; 70_000]).unwrap();
        assert!(read(&path("large")).unwrap_err().to_string().contains("65536"));
        fs::write(path("small"), "x").unwrap();
        assert_eq!(read(&path("small")).unwrap(), b"x");
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "old").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        std::os::unix::fs::symlink("/dev/null", path("null")).unwrap();
        assert_eq!(replaceable(&path("link")).unwrap(), fs::canonicalize(path("file")).unwrap());
        assert_eq!(replaceable(&path("new")).unwrap(), path("new"));
        for bad in [path("null"), folder.path().to_owned(), "/dev/null".into(), path("file/x")] {
            assert!(replaceable(&bad).is_err(), "{bad:?}");
        }
        if geteuid().is_root() {
            std::os::unix::fs::lchown(path("link"), Some(1), Some(1)).unwrap();
            assert!(replaceable(&path("link")).unwrap_err().to_string().contains("another user"));
        }
    }

    #[test]
    fn a_folder_that_everybody_can_write_to_is_unsafe() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(unsafe_folder(folder.path()), None);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(unsafe_folder(folder.path()).unwrap().contains("chmod"));
    }
}
