//! A disk cache of blocks, which later processes read again.
//!
//! Each block is a file that is put in place by a rename and ends with a checksum, so that the
//! remains of a crash or of a full disk are not taken for content. Processes need no lock because
//! an existing file never changes.

use std::{
    fs::{self, File, FileTimes},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::SystemTime,
};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::account;

/// The size in bytes of the checksum at the end of a file.
const CHECKSUM: usize = 16;
/// The suffix of the files of blocks. Other files in the folder are left alone.
const SUFFIX: &str = ".block";
/// A process writes at most this fraction (1 / `SLACK`) of the limit before it checks the size of
/// the folder again.
const SLACK: u64 = 16;

/// A folder of blocks that processes share.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    /// The limit in bytes.
    budget: u64,
    /// Bytes that this process has written since it last checked the size of the folder.
    written: AtomicU64,
    /// Whether a warning was logged that the folder cannot be used.
    warned: AtomicBool,
}

impl Disk {
    /// Returns a cache of at most `budget` bytes in a folder, which is created when the first block
    /// is stored.
    pub fn new(folder: &Path, budget: u64) -> Self {
        // With this initial count, the first block makes the process check the folder, which may
        // have files of other processes.
        Self { folder: folder.to_owned(), budget, written: AtomicU64::new(budget), warned: AtomicBool::new(false) }
    }

    /// Reports whether there is a file for a block. Its content is not checked.
    pub fn has(&self, key: u128) -> bool {
        self.path(key).exists()
    }

    /// Returns a block of `size` bytes, if it is present and its checksum is correct.
    pub fn get(&self, key: u128, size: usize) -> Option<Bytes> {
        let path = self.path(key);
        let mut content = Bytes::from(fs::read(&path).ok()?);
        if content.len() == size + CHECKSUM {
            let checksum = content.split_off(size);
            if checksum[..] == checksum_of(key, &content) {
                touch(&path);
                return Some(content);
            }
        }
        log::info!("a block in {} is damaged and dropped", self.folder.display());
        let _ = fs::remove_file(path); // another process may have deleted it first
        None
    }

    /// Stores a block.
    ///
    /// # Errors
    /// Fails if the block cannot be written. Nothing is stored then.
    pub fn put(&self, key: u128, content: &[u8]) -> io::Result<()> {
        if content.len() as u64 + CHECKSUM as u64 > self.budget / SLACK {
            return Ok(());
        }
        if self.written.fetch_add(content.len() as u64, Ordering::Relaxed) >= self.budget / SLACK {
            self.written.store(0, Ordering::Relaxed);
            account::make_folder(&self.folder)?;
            self.make_room()?;
        }
        let mut file = tempfile::Builder::new().prefix("new-").suffix(SUFFIX).tempfile_in(&self.folder)?;
        file.write_all(content)?;
        file.write_all(&checksum_of(key, content))?;
        file.persist(self.path(key))?;
        Ok(())
    }

    /// Warns once that blocks cannot be stored in `cache_dir`. Storing is still tried for each
    /// further block, because a full disk may have room again.
    pub fn warn(&self, error: &io::Error) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            let folder = self.folder.display();
            log::warn!(
                "blocks cannot be stored in cache_dir={folder}: {error}; give a folder that can be written, with room for cache_size="
            );
        }
    }

    /// Deletes the least recently read blocks until the limit has room again for what several
    /// processes may write before they check.
    fn make_room(&self) -> io::Result<()> {
        let mut blocks = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().ends_with(SUFFIX) {
                continue;
            }
            // A file that another process has deleted meanwhile takes no room.
            if let Ok(data) = entry.metadata() {
                blocks.push((data.modified()?, data.len(), entry.path()));
            }
        }
        blocks.sort_unstable();
        let mut size: u64 = blocks.iter().map(|(_, size, _)| size).sum();
        for (_, length, path) in blocks {
            if size <= self.budget - self.budget / SLACK * 4 {
                break;
            }
            let _ = fs::remove_file(path); // another process may have deleted it first
            size -= length;
        }
        Ok(())
    }

    fn path(&self, key: u128) -> PathBuf {
        self.folder.join(format!("{key:032x}{SUFFIX}"))
    }
}

/// Returns the checksum of a block. It covers the key too, so that a block under the name of
/// another one is detected.
fn checksum_of(key: u128, content: &[u8]) -> [u8; CHECKSUM] {
    (xxh3_128(content) ^ key).to_le_bytes()
}

/// Records that a block was read. If this fails, the block is only deleted earlier.
fn touch(path: &Path) {
    let times = FileTimes::new().set_modified(SystemTime::now());
    let _ = File::open(path).and_then(|file| file.set_times(times));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_damaged_block_is_not_returned() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path(), 1 << 20);
        disk.put(1, b"content").unwrap();
        assert_eq!(disk.get(1, 7).unwrap(), "content");
        assert_eq!(Disk::new(folder.path(), 1 << 20).get(1, 7).unwrap(), "content");
        assert_eq!(disk.get(2, 7), None);

        for damage in [b"conten".as_slice(), b"contant and more", b""] {
            disk.put(1, b"content").unwrap();
            fs::write(disk.path(1), damage).unwrap();
            assert_eq!(disk.get(1, 7), None);
            assert!(!disk.has(1), "a damaged block was kept");
        }
        disk.put(1, b"content").unwrap();
        fs::rename(disk.path(1), disk.path(2)).unwrap();
        assert_eq!(disk.get(2, 7), None, "another block was taken for it");
    }

    #[test]
    fn the_folder_stays_within_its_limit_and_other_files_are_not_deleted() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes"), "mine").unwrap();
        let disks = [Disk::new(folder.path(), 64_000), Disk::new(folder.path(), 64_000)];
        for key in 0..200 {
            disks[key % 2].put(key as u128, &[0; 1_000]).unwrap();
            let size: u64 = blocks(folder.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
            assert!(size <= 64_000, "{size} bytes after {key} blocks");
        }
        assert!(disks[0].has(199) && !disks[0].has(0));
        assert!(folder.path().join("notes").exists());
    }

    #[test]
    fn a_block_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Disk::new(&file, 1 << 20).put(1, b"content").is_err());
    }
}
