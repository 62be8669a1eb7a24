//! Creating and opening a kloset.

use std::{
    cmp::Reverse,
    env, slice,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;

use super::{
    Error, Kloset, claim::Claim, inside, journal::Change, journal::Created, layout::CONFIG, layout::Mac,
    layout::Resource, saved_listing::Described,
};
use crate::{
    drive::{self, DrivePath, Slot, Stored},
    rclone::{Entry, File, Item, Kind, Listing, Replacement, Time, Trail},
};

/// The number of packfiles from which their listing is not prefetched. Not every process needs the
/// listing, and iCloud sends about 600 bytes for each file.
const TOO_MANY_PACKFILES: u64 = 1000;
/// The number of newest packfiles that are prefetched. plakar first reads the header of the latest
/// snapshot, at the end of the last packfile, and the index of its files, at the end of the
/// packfile before.
const PREFETCHED_PACKFILES: usize = 2;
/// The environment variable that plakar sets for its cache daemon, whose connectors inherit it
/// (P/cached/cached.go).
const DAEMON_VARIABLE: &str = "REEXEC";
/// How often a process tries to claim a folder while other processes claim it.
const MAX_CLAIMS: usize = 5;

impl Kloset {
    /// Creates a kloset.
    ///
    /// # Errors
    /// Fails if the folder holds a kloset, or objects of one, or if another process is creating one.
    pub async fn create(&self, configuration: Bytes) -> Result<(), Error> {
        let entries = self.listed_top(self.drive.list(slice::from_ref(&self.top)).await.pop())?;
        let is_listed = entries.iter().any(|entry| entry.name() == CONFIG && matches!(entry.item, Item::File(_)));
        // A service that ignores case would replace a file called config.
        if is_listed || !self.drive.creates_exclusively() && self.find_configuration().await?.is_some() {
            return Err(Error::Exists(self.top.clone()));
        }
        if self.has_objects(&entries).await? {
            return Err(Error::NoConfiguration(self.top.clone()));
        }
        self.check_case().await?;
        self.drive.make_folder(&self.top, Trail::Kept).await?;
        if self.drive.creates_exclusively() {
            self.make_folders().await?;
            return self.create_exclusively(configuration).await;
        }
        let mut tries = 0;
        loop {
            let claim = Claim::store(self).await?;
            let result = self.create_under(&claim, &configuration).await;
            let pause = claim.pause();
            let withdrawal = claim.withdraw(self);
            if result.is_ok() {
                // A deletion takes iCloud 20 s, and a claim beside a kloset has no effect.
                self.cleanups.spawn(withdrawal);
                return result;
            }
            withdrawal.await;
            match result {
                Err(Error::BeingCreated { .. }) if tries < MAX_CLAIMS => tokio::time::sleep(pause).await,
                result => return result,
            }
            tries += 1;
        }
    }

    /// Reports whether there are packfiles or states, from the entries of the folder of the kloset.
    async fn has_objects(&self, entries: &[Entry]) -> Result<bool, drive::Error> {
        for folder in [&self.states, &self.packfiles] {
            let is_there = entries.iter().any(|entry| entry.name() == folder.path().name());
            if is_there && folder.list().await?.iter().any(|(name, _)| Mac::from_name(name).is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn create_under(&self, claim: &Claim, configuration: &Bytes) -> Result<(), Error> {
        claim.check_alone(self).await?;
        self.make_folders().await?;
        let stored = self.upload_configuration(configuration, Replacement::Awaited).await?;
        self.record_creation(configuration, Some(&stored)).await;
        Ok(())
    }

    /// Creates the kloset in a drive that refuses to create a file whose name is taken. Of several
    /// processes, one succeeds. A claim would need a listing of a folder that was just changed, which
    /// takes iCloud 30 s.
    async fn create_exclusively(&self, configuration: Bytes) -> Result<(), Error> {
        let stored = match self.upload_configuration(&configuration, Replacement::Refused).await {
            // An attempt whose response was lost may have stored it. Each configuration is unique.
            Err(error) if error.kind() == Kind::Exists => {
                if self.stored_configuration().await? != configuration {
                    return Err(Error::Exists(self.top.clone()));
                }
                None
            }
            stored => Some(stored?),
        };
        self.record_creation(&configuration, stored.as_ref()).await;
        Ok(())
    }

    async fn make_folders(&self) -> Result<(), drive::Error> {
        for resource in Resource::ALL {
            self.drive.make_folder(&inside(&self.top, resource.folder()), Trail::Kept).await?;
        }
        Ok(())
    }

    async fn upload_configuration(
        &self,
        configuration: &Bytes,
        replacement: Replacement,
    ) -> Result<Stored, drive::Error> {
        let content = configuration.clone().into();
        let path = inside(&self.top, CONFIG);
        self.drive.upload(&path, Time::now(), &content, replacement, Slot::Awaited).await
    }

    /// Returns the configuration in the drive, which is empty if there is none.
    async fn stored_configuration(&self) -> Result<Bytes, drive::Error> {
        let Some(file) = self.find_configuration().await? else {
            return Ok(Bytes::new());
        };
        let content = self.drive.read(file).collect().await;
        content.map_err(|cause| drive::Error::new("cannot read", &inside(&self.top, CONFIG), cause))
    }

    async fn record_creation(&self, configuration: &Bytes, stored: Option<&Stored>) {
        self.is_created.store(true, Ordering::Relaxed);
        let saved = match stored {
            Some(stored) => File::save(&[&stored.file]).await.unwrap_or_default().pop().flatten(),
            None => None,
        };
        if let Some(Stored { file, modified, .. }) = stored {
            self.copies.store(&inside(&self.top, CONFIG), file, *modified, configuration.clone()).await;
        }
        let created = Created { configuration: configuration.clone(), file: saved.unwrap_or_default() };
        self.journal.append(vec![Change::Created(created)]).await;
    }

    /// Returns the configuration that [`Self::create`] has stored. Starts to prefetch the ends of
    /// the newest packfiles: between this call and its first read of a packfile, plakar waits for
    /// its cache daemon, which opens the kloset, too.
    ///
    /// # Errors
    /// Fails if there is no kloset.
    pub async fn configuration(&self) -> Result<Bytes, Error> {
        let saved_states = self.states.saved_listing().await;
        if saved_states.is_none()
            && let Some(configuration) = self.created_configuration().await?
        {
            return Ok(configuration);
        }
        let entries = self.list_top_and_states(saved_states).await?;
        let mut configuration = None;
        for entry in &entries {
            match (entry.name(), entry.children) {
                (name, Some(items @ ..TOO_MANY_PACKFILES)) if name == Resource::Packfile.folder() => {
                    let saved = match self.packfiles.saved_listing().await {
                        Some(saved) => self.packfiles.adopt(saved, Some(items)).await,
                        None => None,
                    };
                    self.prefetch(saved);
                }
                (CONFIG, _) => configuration = Some(entry),
                _ => {}
            }
        }
        match configuration {
            Some(Entry { item: Item::File(file), modified, .. }) => {
                let path = inside(&self.top, CONFIG);
                let content = self.copies.read(&path, file.clone(), *modified).await;
                Ok(content.map_err(|cause| drive::Error::new("cannot read", &path, cause))?)
            }
            _ => match self.journal.recent().await.created {
                // The listing was made before the kloset was created.
                Some(created) => Ok(created.configuration),
                None => {
                    self.check_case().await?;
                    if self.has_objects(&entries).await? {
                        return Err(Error::NoConfiguration(self.top.clone()));
                    }
                    Err(Error::Missing(self.top.clone()))
                }
            },
        }
    }

    /// Returns the configuration of a kloset that this machine has created within the last minute, if
    /// its file is unchanged. The listing of its folder would take iCloud 30 s.
    async fn created_configuration(&self) -> Result<Option<Bytes>, Error> {
        let Some(created) = self.journal.recent().await.created.filter(|created| !created.file.is_empty()) else {
            return Ok(None);
        };
        let file = vec![(CONFIG.to_owned(), created.file)];
        let states = [self.states.path().clone()];
        let (found, mut listed) = tokio::join!(self.drive.saved(&self.top, file, true), self.drive.list(&states));
        match listed.pop() {
            _ if found.is_err() => return Ok(None),
            Some(Ok(listing)) => self.states.adopt_prefetched(&drive::all_of(&states[0], listing)?),
            Some(Err(error)) if error.kind() != Kind::NotFound => return Err(error.into()),
            _ => return Ok(None),
        }
        self.prefetch(None);
        Ok(Some(created.configuration))
    }

    /// Lists the folder of the kloset together with the states. Every command needs the states, but
    /// plakar lists them only in its cache daemon and exits with 0 if that fails (P/main.go). A
    /// failure at this point makes the command exit with 66.
    ///
    /// A saved listing of the states is used if the folder of the kloset shows as many states.
    async fn list_top_and_states(&self, saved: Option<Vec<Described>>) -> Result<Vec<Entry>, Error> {
        if let Some(saved) = saved {
            let entries = self.listed_top(self.drive.list(slice::from_ref(&self.top)).await.pop())?;
            let states = entries.iter().find(|entry| entry.name() == Resource::State.folder());
            if self.states.adopt(saved, states.and_then(|entry| entry.children)).await.is_some() {
                return Ok(entries);
            }
        }
        // The states come first because the listing of the top then needs no request of its own: it
        // is on the way to them.
        let mut listed = self.drive.list(&[self.states.path().clone(), self.top.clone()]).await;
        let entries = self.listed_top(listed.pop())?;
        let states = match listed.pop() {
            Some(Err(error)) if error.kind() != Kind::NotFound => return Err(error.into()),
            Some(Ok(listing)) => drive::all_of(self.states.path(), listing)?,
            _ => Vec::new(),
        };
        self.states.adopt_prefetched(&states);
        Ok(entries)
    }

    /// Returns the entries of the folder of the kloset, which are none if it does not exist.
    fn listed_top(&self, listed: Option<Result<Listing, drive::Error>>) -> Result<Vec<Entry>, drive::Error> {
        match listed {
            Some(Err(error)) if error.kind() != Kind::NotFound => Err(error),
            Some(Ok(listing)) => drive::usable_of(&self.top, listing),
            _ => Ok(Vec::new()),
        }
    }

    /// Checks that no folder in the path of the kloset exists in the drive with another case. Most
    /// services that ignore case find such a folder and store in it, but the listings that are used
    /// to read a kloset compare names exactly.
    async fn check_case(&self) -> Result<(), Error> {
        if !self.drive.merges_names() || self.top.is_top() {
            return Ok(());
        }
        let mut actual = DrivePath::top();
        for name in self.top.as_str().split('/') {
            let entries = match self.drive.list_usable(&actual).await {
                Err(error) if error.kind() == Kind::NotFound => Vec::new(),
                entries => entries?,
            };
            let folders = || entries.iter().filter(|entry| matches!(entry.item, Item::Folder)).map(Entry::name);
            let found = match folders().any(|folder| drive::are_equivalent(folder, name)) {
                true => None,
                false => folders().find(|folder| drive::are_alike(folder, name)),
            };
            actual = inside(&actual, found.unwrap_or(name));
        }
        if actual == self.top {
            return Ok(());
        }
        Err(Error::OtherCase { location: self.top.clone(), actual })
    }

    /// Lists the packfiles, unless their entries are given, and reads the ends of the newest ones,
    /// unless plakar has already made a request. Does nothing in the cache daemon, which reads no
    /// packfile.
    fn prefetch(&self, saved: Option<Vec<Entry>>) {
        if env::var_os(DAEMON_VARIABLE).is_some() {
            return;
        }
        let (folder, blocks) = (Arc::clone(&self.packfiles), self.blocks.clone());
        let requested = Arc::clone(&self.requested);
        tokio::spawn(async move {
            let mut entries = match saved {
                Some(entries) => entries,
                None => folder.prefetch().await,
            };
            entries.sort_unstable_by_key(|entry| Reverse(entry.modified));
            for entry in entries.into_iter().take(PREFETCHED_PACKFILES) {
                if let Item::File(file) = &entry.item
                    && !requested.load(Ordering::Relaxed)
                {
                    blocks.prefetch_end(&inside(folder.path(), entry.name()), file.clone());
                }
            }
        });
    }

    async fn find_configuration(&self) -> Result<Option<File>, drive::Error> {
        let entry = self.drive.stat(&inside(&self.top, CONFIG)).await?;
        Ok(entry.and_then(|entry| match entry.item {
            Item::File(file) => Some(file),
            Item::Folder | Item::Link(_) => None,
        }))
    }
}
