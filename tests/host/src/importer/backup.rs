//! The import of a source, as `plakar backup` runs it.

use std::time::{Duration, Instant};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use plakar_protocol::connectors::Record;

use super::Importer;
use super::exchange::{Done, Outcome, Work};
use crate::error::{Error, Result};
use crate::snapshot::{MODE_DIR, Snapshot, is_regular, violation};

/// The options of an import.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backup<'a> {
    /// The newest snapshot of the store: files that have not changed since are not read. A snapshot
    /// of another source is ignored.
    pub parent: Option<&'a Snapshot>,
    /// Which parts of the contents the snapshot stores.
    pub keep: Keep,
    /// Lines in the form of a gitignore file, which kloset applies itself.
    pub excludes: &'a [String],
}

/// What a snapshot stores of each content, besides its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Its SHA-256 and the bytes.
    #[default]
    Bytes,
    /// Its SHA-256.
    Digest,
    /// Nothing.
    Size,
}

impl<'a> Backup<'a> {
    /// Returns a backup that reads everything.
    pub fn first() -> Self {
        Self::default()
    }

    /// Returns a backup after an earlier one.
    pub fn after(parent: &'a Snapshot) -> Self {
        Self { parent: Some(parent), ..Self::default() }
    }
}

/// The statistics of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Regular files.
    pub files: usize,
    /// Folders.
    pub folders: usize,
    /// All other items except errors.
    pub others: usize,
    /// Records of errors.
    pub errors: usize,
    /// The sum of the sizes of the files.
    pub bytes: i64,
    /// The time until the first record.
    pub first: Option<Duration>,
    /// The time until the first regular file.
    pub first_file: Option<Duration>,
}

impl Importer {
    /// Imports the source: receives the records, reads the content of each file as soon as a worker
    /// is free, and acknowledges each record when it is no longer needed.
    ///
    /// # Errors
    /// Returns the errors that make `plakar backup` fail. A file that cannot be read is not one of
    /// them.
    pub async fn import(&self, backup: Backup<'_>) -> Result<Snapshot> {
        let parent = backup.parent.filter(|parent| parent.is_parent_of(self.identity()));
        let work = Work::new(parent, backup.keep, rules(backup.excludes)?);
        let mut snapshot = Snapshot::new(self.identity());
        self.exchange(Some(&work), |done| add(&mut snapshot, parent, done)).await?;
        (snapshot.opened, snapshot.most_open) = work.opened();
        snapshot.settle_root();
        Ok(snapshot)
    }

    /// Imports the source as the second importer of a backup does: counts the records and reads
    /// nothing.
    ///
    /// # Errors
    /// Fails as [`Importer::import`] does.
    pub async fn count(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        let began = Instant::now();
        self.exchange(None, |done| {
            counts.first.get_or_insert_with(|| began.elapsed());
            match &done.record.file_info {
                _ if !done.record.error.is_empty() => counts.errors += 1,
                Some(info) if info.mode & MODE_DIR != 0 => counts.folders += 1,
                Some(info) if is_regular(info) => {
                    counts.files += 1;
                    counts.bytes += info.size;
                    counts.first_file.get_or_insert_with(|| began.elapsed());
                }
                _ => counts.others += 1,
            }
        })
        .await?;
        Ok(counts)
    }
}

fn add(snapshot: &mut Snapshot, parent: Option<&Snapshot>, done: Done) {
    let record = &done.record;
    snapshot.received.push(record.pathname.clone());
    snapshot.violations.extend(violation(record, &snapshot.root));
    snapshot.violations.extend(parent.and_then(|parent| dangling(record, parent)));
    match done.outcome {
        Outcome::Kept(content) => snapshot.add(record, content),
        Outcome::Failed(reason) => {
            snapshot.errors.insert(record.pathname.clone(), reason);
        }
        Outcome::Left => {}
    }
}

/// Reports an entry that would be taken from the parent snapshot although it has changed. The entry
/// could not be found again, and every later maintenance of the store would fail.
fn dangling(record: &Record, parent: &Snapshot) -> Option<String> {
    let entry = parent.unchanged(record)?;
    let changed = entry.target != record.target || entry.xattrs != record.extended_attributes;
    changed.then(|| format!("{:?} changed under an equal FileInfo", record.pathname))
}

fn rules(lines: &[String]) -> Result<Gitignore> {
    let invalid = |error| Error::Io(std::io::Error::other(error));
    let mut builder = GitignoreBuilder::new("/");
    for line in lines {
        builder.add_line(None, line).map_err(invalid)?;
    }
    builder.build().map_err(invalid)
}
