//! Packages: folders that the service lists as files, and that are uploaded and downloaded as zip
//! archives.

use std::collections::BTreeSet;
use std::io::{Cursor, Read, Write};

use bytes::Bytes;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::drive::content::Content;

/// The files of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// Files and, with a `/` at the end, empty folders, by their path inside the package.
    entries: Vec<(String, Bytes)>,
    listed_size: u64,
}

impl Package {
    /// Creates a package. `listed_size` is the size in listings, by default the sum of the files'
    /// sizes.
    pub(crate) fn new(entries: &[(String, Bytes)], listed_size: Option<u64>) -> Self {
        let sum = entries.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        Self { entries: entries.to_vec(), listed_size: listed_size.unwrap_or(sum) }
    }

    /// Returns the package in a zip archive, whose entries may all be below one folder. Returns
    /// `None` if the bytes are not a zip archive.
    pub(crate) fn from_archive(archive: &[u8]) -> Option<Self> {
        let mut archive = ZipArchive::new(Cursor::new(archive)).ok()?;
        let mut entries = Vec::with_capacity(archive.len());
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).ok()?;
            let name = entry.name().ok()?.into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).ok()?;
            entries.push((name, Bytes::from(bytes)));
        }
        let root = entries.first()?.0.split('/').next().map(|root| format!("{root}/"))?;
        if entries.iter().all(|(name, _)| name.starts_with(&root)) {
            for (name, _) in &mut entries {
                name.drain(..root.len());
            }
            entries.retain(|(name, _)| !name.is_empty());
        }
        Some(Self::new(&entries, None))
    }

    /// The size in listings.
    pub(crate) fn listed_size(&self) -> u64 {
        self.listed_size
    }

    /// Returns the archive that a download returns. Its folders have the time of the download, so
    /// two archives of one package differ; if the archive `varies`, so do its files, and every
    /// second archive has them in the opposite order. Writing to memory never fails for entries of
    /// a valid size.
    pub(crate) fn archive(&self, root: &str, download: u64, varies: bool) -> Content {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let written = self.write(&mut writer, root, download, varies);
        match written.and_then(|()| writer.finish()) {
            Ok(archive) => Content::from(Bytes::from(archive.into_inner())),
            Err(_) => Content::from(Bytes::new()),
        }
    }

    fn write(
        &self,
        writer: &mut ZipWriter<Cursor<Vec<u8>>>,
        root: &str,
        download: u64,
        varies: bool,
    ) -> zip::result::ZipResult<()> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let mut folders = BTreeSet::from([format!("{root}/")]);
        for (name, _) in &self.entries {
            folders.extend(name.match_indices('/').map(|(end, _)| format!("{root}/{}/", &name[..end])));
        }
        for folder in folders {
            writer.add_directory(folder, options.last_modified_time(downloaded_at(download)))?;
        }
        let time = if varies { downloaded_at(download) } else { DateTime::default() };
        let mut files: Vec<&(String, Bytes)> = self.entries.iter().filter(|(name, _)| !name.ends_with('/')).collect();
        if varies && download % 2 == 1 {
            files.reverse();
        }
        for (name, bytes) in files {
            writer.start_file(format!("{root}/{name}"), options.last_modified_time(time))?;
            writer.write_all(bytes)?;
        }
        Ok(())
    }

    /// The signature of the package's bytes in responses, like [`Content::signature`] for a file.
    pub(crate) fn signature(&self) -> [u8; 21] {
        let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        for (name, bytes) in &self.entries {
            for part in [name.as_bytes(), bytes] {
                digest.update(&(part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        }
        let mut signature = [2; 21];
        signature[1..].copy_from_slice(digest.finish().as_ref());
        signature
    }
}

/// The time of the n-th download: zip archives count in steps of two seconds.
fn downloaded_at(download: u64) -> DateTime {
    let (hour, minute, second) = (download / 1800 % 24, download / 30 % 60, download % 30 * 2);
    DateTime::from_date_and_time(2024, 1, 1, hour as u8, minute as u8, second as u8).unwrap_or_default()
}
