//! Removes from the archives of packages what differs between downloads.
//!
//! A service creates the zip archive of a package for each download and writes the time of the
//! download into the entries of folders (`tests/simulator/RULES.md`). Without these times, an
//! unchanged package has the same content in every snapshot. Nothing else is changed, so the files
//! in the archive stay the same.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::Deref,
};

use zip::{ZipArchive, result::ZipResult};

use super::spool::Spooled;
use crate::rclone::Region;

/// The earliest time of an entry, 1980-01-01 00:00: two bytes of the time and two of the date.
const EARLIEST: [u8; 4] = [0, 0, 0x21, 0];

/// The headers of an entry: where the time is, and the length fields before the extra fields
/// (<https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>, 4.3.7 and 4.3.12).
const LOCAL: Header = Header { length: 30, time: 10, name_length: 26, extra_length: 28 };
const CENTRAL: Header = Header { length: 46, time: 12, name_length: 28, extra_length: 30 };

/// Extra fields that contain times: those of Info-ZIP and of NTFS.
const TIMES: [u16; 3] = [0x5455, 0x5855, 0x000a];

/// Returns the total size of the files in an archive, or none if the content is not an archive.
pub fn unpacked_size(content: &Region) -> Option<u64> {
    let mut archive = ZipArchive::new(Reader::new(content)).ok()?;
    (0..archive.len()).map(|index| Some(archive.by_index_raw(index).ok()?.size())).sum()
}

struct Header {
    length: usize,
    time: u64,
    name_length: usize,
    extra_length: usize,
}

/// Replacements of bytes at positions of a file's content.
#[derive(Debug, Default)]
pub struct Patches(Vec<(u64, Vec<u8>)>);

impl Patches {
    /// Returns the patches that remove the times of folders from an archive. Content that is not an
    /// archive gets no patches.
    pub fn of_archive(content: &Spooled) -> Self {
        let mut patches = Self::default();
        match patches.add_all(&mut Reader::new(&**content.content())) {
            Ok(()) => patches,
            Err(error) => {
                log::debug!("the times in the archive of a package are not replaced: {error}");
                Self::default()
            }
        }
    }

    fn add_all(&mut self, reader: &mut Reader<&Region>) -> ZipResult<()> {
        let mut headers = Vec::new();
        let mut archive = ZipArchive::new(&mut *reader)?;
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index)?;
            if entry.is_dir() {
                headers.push((entry.header_start(), &LOCAL));
                headers.push((entry.central_header_start(), &CENTRAL));
            }
        }
        for (start, header) in headers {
            self.add(reader, start, header)?;
        }
        self.0.sort_unstable_by_key(|&(offset, _)| offset);
        Ok(())
    }

    /// Adds the patches for a header of an entry.
    fn add(&mut self, reader: &Reader<&Region>, start: u64, header: &Header) -> io::Result<()> {
        let mut fixed = vec![0; header.length];
        reader.read_at(start, &mut fixed)?;
        let length = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        self.0.push((start + header.time, EARLIEST.to_vec()));
        let extra_start = start + header.length as u64 + u64::from(length(header.name_length));
        let mut extra = vec![0; length(header.extra_length).into()];
        reader.read_at(extra_start, &mut extra)?;
        let mut at = 0;
        while let Some(&[id, more_id, size, more_size]) = extra.get(at..at + 4) {
            let (id, size) = (u16::from_le_bytes([id, more_id]), usize::from(u16::from_le_bytes([size, more_size])));
            // The first byte of Info-ZIP's field has a bit for each time that follows.
            let kept = usize::from(id == TIMES[0]);
            if TIMES.contains(&id) && size > kept && at + 4 + size <= extra.len() {
                self.0.push((extra_start + (at + 4 + kept) as u64, vec![0; size - kept]));
            }
            at += 4 + size;
        }
        Ok(())
    }

    /// Applies the patches to the piece of the content that begins at `start`.
    pub fn apply(&self, start: u64, piece: &mut [u8]) {
        let end = start + piece.len() as u64;
        let first = self.0.partition_point(|(offset, bytes)| offset + bytes.len() as u64 <= start);
        for (offset, bytes) in self.0[first..].iter().take_while(|(offset, _)| *offset < end) {
            for (at, byte) in (*offset..).zip(bytes).filter(|(at, _)| (start..end).contains(at)) {
                if let Some(place) = usize::try_from(at - start).ok().and_then(|at| piece.get_mut(at)) {
                    *place = *byte;
                }
            }
        }
    }
}

/// A cursor over spooled content.
#[derive(Debug, Clone)]
pub(super) struct Reader<R> {
    region: R,
    at: u64,
}

impl<R: Deref<Target = Region>> Reader<R> {
    /// Returns a reader at the start of the content.
    pub fn new(region: R) -> Self {
        Self { region, at: 0 }
    }

    fn read_at(&self, start: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.region.read_exact_at(start, buffer)
    }
}

impl<R: Deref<Target = Region>> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.region.read_at(self.at, buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl<R: Deref<Target = Region>> Seek for Reader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(offset) => (self.region.size(), offset),
            SeekFrom::Current(offset) => (self.at, offset),
        };
        self.at = base.checked_add_signed(offset).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_apply_to_every_division_into_pieces() {
        let patches = Patches(vec![(2, vec![1, 1]), (5, vec![2]), (8, vec![3, 3])]);
        for size in 1..=12 {
            let mut content = [0; 10];
            for (number, piece) in content.chunks_mut(size).enumerate() {
                patches.apply((number * size) as u64, piece);
            }
            assert_eq!(content, [0, 0, 1, 1, 0, 2, 0, 0, 3, 3], "pieces of {size}");
        }
    }
}
