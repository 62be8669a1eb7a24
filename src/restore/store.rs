//! Stores one file of a restore: under its own name, in place of an existing file, or under a
//! derived name.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{
    Failure, Restored,
    decision::{self, Decision, Own},
    derived::{Candidates, Reason},
    destination::{Contents, Folder, Found},
    digest::Digest,
    names::{Case, Names},
    policy::{OnBadName, Packages, Policy},
    room::Room,
};
use crate::{
    drive::{self, Drive, DrivePath, Slot, Spooled},
    rclone::{Accepted, Entry, File, Form, Item, Kind, Replacement, Time},
};

/// The state that all files of a restore share.
#[derive(Debug)]
pub struct Shared {
    pub drive: Drive,
    pub policy: Policy,
    /// The date of the restore, for the names of files that are stored beside others.
    pub date: String,
    /// The room of the destination.
    pub room: Room,
    /// Whether the restore is only planned: nothing is changed in the destination.
    pub is_plan: bool,
    names: Mutex<Names>,
}

impl Shared {
    /// Returns the shared state of a restore at this time.
    pub fn new(drive: &Drive, policy: Policy, now: Time, is_plan: bool) -> Self {
        let now = prost_types::Timestamp { seconds: now.seconds, nanos: 0 }.to_string();
        Self {
            room: Room::new(drive),
            is_plan,
            names: Mutex::new(Names::new(drive.merges_names(), drive.folds_case())),
            drive: drive.clone(),
            policy,
            date: now.split('T').next().unwrap_or_default().to_owned(),
        }
    }

    /// Returns the names in use.
    pub fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves the next candidate that is not taken. A candidate whose name an entry of the
    /// destination has is taken unless `may_use` accepts the entry.
    pub fn reserve(
        &self,
        candidates: &mut Candidates<'_>,
        contents: &Contents,
        is_folder: bool,
        may_use: impl Fn(&Entry) -> bool,
    ) -> Option<DrivePath> {
        candidates.find(|candidate| {
            let is_usable = match contents.find(candidate.name()) {
                Found::Nothing => true,
                Found::Same(entry) => may_use(entry),
                Found::Alike(_) => false,
            };
            is_usable && self.names().take_if_free(candidate, is_folder)
        })
    }
}

/// A file to be stored.
#[derive(Debug)]
pub struct Job {
    pub shared: Arc<Shared>,
    pub policy: Policy,
    pub folder: Arc<Folder>,
    pub path: DrivePath,
    pub time: Time,
    pub content: Content,
    /// The digest of the content, if it is to be verified.
    pub digest: Option<u128>,
    /// How the name relates to the other names of the restore.
    pub name: Name,
}

/// The content of a file to be stored.
#[derive(Debug)]
pub enum Content {
    /// It is complete.
    Received(Spooled),
    /// The file is only planned. The number of its bytes is in this range.
    Planned(RangeInclusive<u64>),
}

impl Content {
    /// Returns the number of bytes, or the largest possible one.
    pub fn size(&self) -> u64 {
        match self {
            Self::Received(content) => content.size(),
            Self::Planned(sizes) => *sizes.end(),
        }
    }

    /// Returns the content if it is in memory and not in a file.
    pub fn in_memory(&self) -> Option<Bytes> {
        match self {
            Self::Received(content) => content.in_memory(),
            Self::Planned(_) => None,
        }
    }
}

/// Where a file is stored.
#[derive(Debug)]
pub struct Target {
    pub path: DrivePath,
    pub time: Time,
    /// How the name relates to the other names of the restore.
    pub name: Name,
}

/// How the name of a file relates to the other names of the restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// No other name is equal.
    Own,
    /// Another name differs only in case, and only an attempt can show whether the two are equal.
    Alike,
    /// Another name is equal.
    Twin,
}

impl Job {
    /// Stores the file.
    ///
    /// # Errors
    /// Fails if the file is neither stored nor left out intentionally.
    pub async fn run(self) -> Result<Restored, Failure> {
        let contents = self.folder.contents().await?;
        let own = self.own(&contents).await;
        if self.name == Name::Twin {
            return self.store_renamed(Reason::Twin, &contents, &own).await;
        }
        let stored = match contents.find(self.path.name()) {
            Found::Same(entry) => self.store_over(entry, &contents, &own).await,
            Found::Alike(_) | Found::Nothing if self.name == Name::Alike => {
                self.store_beside_twin(&contents, &own).await
            }
            Found::Alike(entry) if self.shared.names().case() == Case::Folded => {
                self.store_over(entry, &contents, &own).await
            }
            Found::Alike(entry) => match self.upload(&self.path, Replacement::Refused).await {
                Err(failure) if failure.kind == Some(Kind::Exists) => {
                    self.shared.names().learn_case(Case::Folded);
                    self.store_over(entry, &contents, &own).await
                }
                result => result,
            },
            Found::Nothing => self.replace(&own).await,
        };
        match stored {
            Err(failure) if failure.kind == Some(Kind::RefusedName) && self.may_rename() => {
                self.store_renamed(Reason::Refused, &contents, &own).await
            }
            Err(failure) if failure.kind == Some(Kind::RefusedPackage) => {
                let restored = self.store_renamed(Reason::Archive, &contents, &own).await?;
                Ok(Restored { archives: 1, ..restored })
            }
            result => result.map_err(Failure::with_advice),
        }
    }

    /// Stores the file, unless the destination has a file with the same name and content.
    ///
    /// # Errors
    /// Fails as [`Self::run`] does.
    pub async fn run_unless_stored(self) -> Result<Restored, Failure> {
        let contents = self.folder.contents().await?;
        if let (Found::Same(entry), Some(own)) = (contents.find(self.path.name()), self.content.in_memory())
            && let Item::File(file) = &entry.item
            && file.size == Some(self.content.size())
            && drive::read(file.clone(), None).collect().await.is_ok_and(|there| there == own)
        {
            return Ok(Restored { identical: 1, ..Restored::default() });
        }
        self.run().await
    }

    fn may_rename(&self) -> bool {
        self.policy.names == OnBadName::Rename
    }

    /// Stores the file if the destination has an entry of its name, as the policy demands.
    async fn store_over(&self, entry: &Entry, contents: &Contents, own: &Own) -> Result<Restored, Failure> {
        let (date, policy) = (&self.shared.date, &self.policy);
        let mut decision = decision::decide(policy, entry, own);
        if decision == Decision::Identical && !self.is_confirmed(entry, own).await? {
            let policy = Policy { skip_identical: false, ..*policy };
            decision = decision::decide(&policy, entry, own);
        }
        match decision {
            Decision::Identical => {
                if let (Item::File(file), false) = (&entry.item, self.shared.is_plan) {
                    self.shared.drive.complete(&self.path, file).await?;
                }
                Ok(Restored { identical: 1, ..Restored::default() })
            }
            Decision::Skip => Ok(Restored { skipped: 1, ..Restored::default() }),
            Decision::Refuse(why) => Err(Failure::new(format!("cannot restore {}: {why}", self.path), why)),
            Decision::Replace => {
                let restored = self.replace(own).await?;
                if restored.identical > 0 {
                    return Ok(restored);
                }
                let trashed = u64::from(self.shared.drive.trashes_replaced());
                Ok(Restored { replaced: 1, trashed, ..restored })
            }
            Decision::Beside => {
                if self.is_beside_already(contents, own).await? {
                    return Ok(Restored { identical: 1, ..Restored::default() });
                }
                let restored = self.store_renamed(Reason::Beside(date), contents, own).await?;
                Ok(Restored { kept_both: 1, ..restored })
            }
        }
    }

    /// Stores a file whose name differs only in case from that of another file of the restore. Only
    /// the attempt shows whether the service stores both.
    async fn store_beside_twin(&self, contents: &Contents, own: &Own) -> Result<Restored, Failure> {
        match self.upload(&self.path, Replacement::Refused).await {
            Err(failure) if failure.kind == Some(Kind::Exists) => {
                self.shared.names().learn_case(Case::Folded);
                self.store_renamed(Reason::Twin, contents, own).await
            }
            result => {
                if result.is_ok() {
                    self.shared.names().learn_case(Case::Distinct);
                }
                let doubtful = u64::from(self.shared.is_plan);
                result.map(|restored| Restored { doubtful, ..restored })
            }
        }
    }

    /// Stores the file under a derived name. An identical file that has the name counts as stored.
    async fn store_renamed(&self, reason: Reason<'_>, contents: &Contents, own: &Own) -> Result<Restored, Failure> {
        if !self.may_rename() && matches!(reason, Reason::Twin | Reason::Refused) {
            return Err(twin(&self.path));
        }
        let mut candidates = Candidates::new(&self.path, reason);
        let is_same = |entry: &Entry| self.policy.skip_identical && own.is_identical(entry).is_some();
        while let Some(candidate) = self.shared.reserve(&mut candidates, contents, false, is_same) {
            if let Found::Same(entry) = contents.find(candidate.name()) {
                if self.is_confirmed(entry, own).await? {
                    return Ok(Restored { identical: 1, renamed: Some(candidate), ..Restored::default() });
                }
                continue;
            }
            match self.upload(&candidate, Replacement::Refused).await {
                Ok(restored) => return Ok(Restored { renamed: Some(candidate), ..restored }),
                Err(failure) => match self.unless_stored(&candidate, failure, own).await {
                    Ok(restored) => return Ok(Restored { renamed: Some(candidate), ..restored }),
                    Err(failure) => candidates.reject(failure)?,
                },
            }
        }
        Err(candidates.into_failure())
    }

    /// Stores the file under its own name. An existing file is replaced.
    async fn replace(&self, own: &Own) -> Result<Restored, Failure> {
        let accepted = match self.digest {
            _ if !self.policy.skip_identical => Accepted::Nothing,
            Some(digest) => Accepted::SameContent(digest),
            None => Accepted::SameTime,
        };
        match self.upload(&self.path, Replacement::Deferred { accepted }).await {
            Err(failure) => self.unless_stored(&self.path, failure, own).await,
            stored => stored,
        }
    }

    /// Returns the failure of an upload, unless its name was taken in the meantime by an identical
    /// file, as by another process that restores the same snapshot.
    async fn unless_stored(&self, path: &DrivePath, failure: Failure, own: &Own) -> Result<Restored, Failure> {
        if failure.kind == Some(Kind::Exists)
            && self.policy.skip_identical
            && let Ok(Some(entry)) = self.shared.drive.stat(path).await
            && self.is_confirmed(&entry, own).await?
        {
            return Ok(Restored { identical: 1, ..Restored::default() });
        }
        Err(failure)
    }

    /// Reports whether an earlier restore has already stored the file under a derived name.
    async fn is_beside_already(&self, contents: &Contents, own: &Own) -> Result<bool, Failure> {
        if !self.policy.skip_identical {
            return Ok(false);
        }
        let form = Reason::Beside("").forms(self.path.name()).swap_remove(0);
        let start = form.split(')').next().unwrap_or_default();
        for entry in contents.starting_with(start) {
            if own.is_identical(entry).is_some() && self.is_confirmed(entry, own).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the properties that are compared with the destination. The sizes of the files in an
    /// archive are read only if the destination may have a package.
    async fn own(&self, contents: &Contents) -> Own {
        let (time, precision) = (self.time, self.shared.drive.precision());
        let content = match &self.content {
            Content::Received(content) => content,
            Content::Planned(size) => return Own { size: size.clone(), unpacked: None, time, precision },
        };
        let unpacked = if contents.may_have_packages() {
            let content = Arc::clone(content.content());
            tokio::task::spawn_blocking(move || drive::unpacked_size(&content)).await.ok().flatten()
        } else {
            None
        };
        Own { size: content.size()..=content.size(), unpacked, time, precision }
    }

    /// Reports whether an entry has the same file. Contents are compared only if the restore
    /// verifies them.
    async fn is_confirmed(&self, entry: &Entry, own: &Own) -> Result<bool, Failure> {
        match (self.digest, own.is_identical(entry)) {
            // The archive of a package has different bytes in each download.
            (Some(digest), Some(file)) if file.size.is_some() => Ok(self.digest_of(file, &self.path).await? == digest),
            (_, Some(_)) => Ok(true),
            (_, None) => Ok(false),
        }
    }

    async fn upload(&self, path: &DrivePath, replacement: Replacement) -> Result<Restored, Failure> {
        let Shared { drive, room, .. } = &*self.shared;
        let content = match &self.content {
            Content::Received(content) if !self.shared.is_plan => content,
            _ => return Ok(Restored::default()),
        };
        let form = if self.policy.packages == Packages::Archive { Form::File } else { Form::Package };
        room.reserve(path, content.size()).await?;
        let stored = drive.upload_as(path, self.time, content, replacement, Slot::Awaited, form).await;
        let stored = stored.map_err(Failure::from);
        room.release(content.size(), stored.as_ref().err());
        let file = stored?.file;
        // The backend verifies packages itself: their archives have different bytes in each
        // download.
        if let Some(digest) = self.digest
            && !file.is_package
            && self.digest_of(&file, path).await? != digest
        {
            let why = "the service returns other content than was sent; restore the file again";
            return Err(Failure::new(format!("cannot verify {path}: {why}"), why));
        }
        let packages = u64::from(file.is_package);
        Ok(Restored { bytes: content.size(), packages, ..Restored::default() })
    }

    /// Reads a file back and returns the digest of its content.
    async fn digest_of(&self, file: &File, path: &DrivePath) -> Result<u128, Failure> {
        let mut content = drive::read(file.clone(), None);
        let mut digest = Digest::default();
        while let Some(piece) = content.next().await {
            match piece {
                Ok(piece) => digest.add(&piece),
                Err(cause) => return Err(self.shared.drive.unreadable(path, cause).await.into()),
            }
        }
        Ok(digest.value())
    }
}

/// Returns the failure of an item whose name is equal to that of another one.
pub fn twin(path: &DrivePath) -> Failure {
    let why = "the restore has used a name that the destination treats as equal, because the two differ only in case \
               or Unicode form; restore this item into another folder, or set names=rename";
    Failure::new(format!("cannot restore {path}: {why}"), why)
}
