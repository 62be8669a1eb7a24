//! The versions of the files that the last backup listed, for the command `scan` and for the read-ahead.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{account, drive::DrivePath};

/// The size in bytes of an entry: the digest of a path and that of a version.
const ENTRY: usize = 16;

/// The files of a backup, as digests of their paths and versions. A million files take 16 MB.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Versions(Vec<(u64, u64)>);

/// The file that stores the versions of one location.
#[derive(Debug, Clone)]
pub struct VersionsFile(PathBuf);

impl VersionsFile {
    /// Returns the file of a location. The files are in `folder`; `origin` distinguishes drives.
    pub fn new(folder: &Path, origin: &str, top: &DrivePath) -> Self {
        Self(folder.join(format!("listed-{:016x}", xxh3_64(format!("{origin}\0{top}").as_bytes()))))
    }

    /// Stores the versions of the files that a backup has listed.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn store(&self, files: &Versions) -> io::Result<()> {
        let pairs = files.0.iter().flat_map(|&(path, version)| [path.to_le_bytes(), version.to_le_bytes()]);
        let content: Vec<u8> = pairs.flatten().collect();
        account::make_folder(self.0.parent().unwrap_or(&self.0))?;
        account::replace_file(&self.0, &content)
    }

    /// Returns the versions of the last backup, if they are known.
    pub fn load(&self) -> Option<Versions> {
        let content = fs::read(&self.0).ok()?;
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
        let pair = |entry: &[u8]| Some((number(&entry[..8])?, number(&entry[8..])?));
        let pairs: Option<Vec<(u64, u64)>> = content.chunks_exact(ENTRY).map(pair).collect();
        pairs.filter(|_| content.len() % ENTRY == 0).map(Versions)
    }
}

impl Versions {
    /// Adds a file.
    pub fn add(&mut self, path: &DrivePath, version: &str) {
        self.0.push((digest(path), xxh3_64(version.as_bytes())));
    }

    /// Removes the files of `paths` and sorts the others, as [`Self::is_unchanged`] requires.
    pub fn sort_without(&mut self, paths: &[DrivePath]) {
        let removed: HashSet<u64> = paths.iter().map(digest).collect();
        self.0.retain(|(path, _)| !removed.contains(path));
        self.0.sort_unstable();
    }

    /// Returns the number of files.
    pub fn files(&self) -> u64 {
        self.0.len() as u64
    }

    /// Reports whether a file has the same version as in the last backup. Returns `None` if that
    /// backup did not list it.
    pub fn is_unchanged(&self, path: &DrivePath, version: &str) -> Option<bool> {
        let path = digest(path);
        let at = self.0.binary_search_by_key(&path, |&(path, _)| path).ok()?;
        Some(self.0[at].1 == xxh3_64(version.as_bytes()))
    }
}

fn digest(path: &DrivePath) -> u64 {
    xxh3_64(path.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_were_stored() {
        let folder = tempfile::tempdir().unwrap();
        let file = VersionsFile::new(&folder.path().join("kept"), "origin", &DrivePath::top());
        assert_eq!(file.load(), None);
        let path = |name: &str| DrivePath::parse(name).unwrap();
        let mut files = Versions::default();
        for name in ["a", "b", "c"] {
            files.add(&path(name), name);
        }
        files.sort_without(&[path("b")]);
        file.store(&files).unwrap();
        let loaded = file.load().unwrap();
        assert_eq!(loaded.files(), 2);
        let unchanged = |name: &str, version: &str| loaded.is_unchanged(&path(name), version);
        assert_eq!((unchanged("a", "a"), unchanged("c", "a"), unchanged("b", "b")), (Some(true), Some(false), None));
        fs::write(&file.0, "torn").unwrap();
        assert_eq!(file.load(), None);
    }
}
