//! Sends the items of a backup to plakar.

use std::{ops::Range, sync::Arc};

use tokio::sync::mpsc;

use super::{Backup, Error, Listed, lock};
use crate::{
    backup::{Failed, Found, Package},
    drive::{DrivePath, MemberKind},
    rclone::{Entry, File, Item},
};

/// Counts and sends the listed items.
pub(super) struct Sink<'a, R, F> {
    pub backup: &'a Backup,
    pub records: &'a mpsc::Sender<R>,
    pub record_of: F,
    pub sent: u64,
}

impl<R, F: Fn(Listed<'_>) -> R> Sink<'_, R, F> {
    /// Sends everything that a walk finds. The walk ends when the receiver is dropped.
    pub async fn send_all(&mut self, mut found: mpsc::Receiver<Found>) -> Result<(), Error> {
        while let Some(found) = found.recv().await {
            self.send_found(found).await?;
        }
        Ok(())
    }

    async fn send_found(&mut self, found: Found) -> Result<(), Error> {
        match found {
            Found::Folder(items) => {
                for (path, entry) in items {
                    self.send_entry(&path, &entry).await?;
                }
                Ok(())
            }
            Found::Failed(Failed { path, error, missing }) => {
                self.backup.count_failed(&error, missing);
                self.send(Listed::Failed(&path, &error)).await
            }
            Found::Package(package) => {
                lock(&self.backup.listed).add(&package.path, &package.file.version);
                self.backup.count_package(package.is_shared);
                self.send(Listed::Package(&package)).await?;
                self.send_members(&package, package.top()).await
            }
            Found::Members(package, numbers) => self.send_members(&package, numbers).await,
            Found::Downloaded(path, entry, content, is_package) => {
                self.count_entry(&path, &entry, |path, file| {
                    self.backup.files.add_downloaded(path, file, content, is_package);
                });
                self.send(Listed::Entry(&path, &entry)).await
            }
            Found::Note(text) => {
                self.backup.note(text);
                Ok(())
            }
            Found::Excluded(items) => {
                self.backup.counts().excluded += items;
                Ok(())
            }
        }
    }

    async fn send_members(&mut self, package: &Arc<Package>, numbers: Range<usize>) -> Result<(), Error> {
        for number in numbers {
            let member = &package.members[number];
            let path = package.path_of(member);
            match &member.kind {
                MemberKind::Folder => self.backup.counts().folders += 1,
                MemberKind::File { .. } => {
                    self.backup.counts().files += 1;
                    if let Some(packages) = &self.backup.packages {
                        packages.add(&path, package, number);
                    }
                }
                MemberKind::Link(_) => {}
            }
            self.send(Listed::Member(&path, package, member)).await?;
        }
        Ok(())
    }

    pub async fn send_entry(&mut self, path: &DrivePath, entry: &Entry) -> Result<(), Error> {
        self.count_entry(path, entry, |path, file| self.backup.files.add(path, file));
        self.send(Listed::Entry(path, entry)).await
    }

    /// Counts an entry. Passes a file to `add`, before plakar can open it.
    fn count_entry(&self, path: &DrivePath, entry: &Entry, add: impl FnOnce(&DrivePath, File)) {
        self.backup.counts().shared += u64::from(entry.is_shared);
        match &entry.item {
            Item::Folder => self.backup.counts().folders += 1,
            Item::File(file) => {
                self.backup.counts().files += 1;
                add(path, file.clone());
                lock(&self.backup.listed).add(path, &file.version);
            }
            // A link has no content, so the summary does not count it.
            Item::Link(_) => {}
        }
    }

    pub async fn send(&mut self, listed: Listed<'_>) -> Result<(), Error> {
        let record = (self.record_of)(listed);
        self.sent += 1;
        self.records.send(record).await.map_err(|_| Error::Disconnected)
    }
}
