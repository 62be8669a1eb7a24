//! Creating and opening a kloset.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;

use super::{Error, Kloset, claim::Claim, inside, journal::Change, layout::CONFIG, layout::Resource};
use crate::{
    drive::{self, DrivePath},
    rclone::{Entry, File, Item, Kind, Replacement, Time},
};

/// The largest number of packfiles whose listing is prefetched. Not every process needs the
/// listing, and iCloud sends about 600 bytes for each file.
const FEW: u64 = 1000;
/// The number of newest packfiles that are prefetched. plakar first reads the header of the latest
/// snapshot, at the end of the last packfile, and the index of its files, at the end of the
/// packfile before.
const NEWEST: usize = 2;
/// How often a process tries to claim a folder while other processes claim it.
const CLAIM_TRIES: usize = 5;

impl Kloset {
    /// Creates a kloset.
    ///
    /// # Errors
    /// Fails if the folder holds a kloset or another process is creating one.
    pub async fn create(&self, configuration: Bytes) -> Result<(), Error> {
        if self.find_configuration().await?.is_some() {
            return Err(Error::Exists(self.top.clone()));
        }
        self.check_case().await?;
        self.drive.make_folder(&self.top).await?;
        let mut tries = 0;
        loop {
            let claim = Claim::make(self).await?;
            let result = self.create_under(&claim, &configuration).await;
            let pause = claim.pause();
            let withdrawal = claim.withdraw(self);
            if result.is_ok() {
                // iCloud takes 20 s, and a claim beside a kloset means nothing.
                self.withdrawals.spawn(withdrawal);
                return result;
            }
            withdrawal.await;
            match result {
                Err(Error::BeingMade { .. }) if tries < CLAIM_TRIES => tokio::time::sleep(pause).await,
                result => return result,
            }
            tries += 1;
        }
    }

    async fn create_under(&self, claim: &Claim, configuration: &Bytes) -> Result<(), Error> {
        claim.must_be_alone(self).await?;
        for resource in Resource::ALL {
            self.drive.make_folder(&inside(&self.top, resource.folder())).await?;
        }
        let content = configuration.clone().into();
        self.drive.upload(&inside(&self.top, CONFIG), Time::now(), &content, Replacement::Awaited).await?;
        self.journal.note(vec![Change::Created(configuration.clone())]).await;
        Ok(())
    }

    /// Returns the bytes that [`Self::create`] was given. Starts to prefetch the ends of the newest
    /// packfiles: between this call and its first read of a packfile, plakar waits for its cache
    /// daemon, which opens the kloset too.
    ///
    /// # Errors
    /// Fails if there is no kloset.
    pub async fn configuration(&self) -> Result<Bytes, Error> {
        let entries = self.list_top_and_states().await?;
        let mut configuration = None;
        for entry in entries {
            match (entry.name(), entry.children) {
                (name, Some(..FEW)) if name == Resource::Packfile.folder() => self.prefetch(),
                (CONFIG, _) => configuration = Some(entry),
                _ => {}
            }
        }
        match configuration {
            Some(Entry { item: Item::File(file), modified, .. }) => {
                let path = inside(&self.top, CONFIG);
                let content = self.copies.read(&path, file, modified).await;
                Ok(content.map_err(|cause| drive::Error::new("cannot read", &path, cause))?)
            }
            _ => match self.journal.recent().await.created {
                // The listing was made before the kloset was created.
                Some(configuration) => Ok(configuration),
                None => {
                    self.check_case().await?;
                    Err(Error::Missing(self.top.clone()))
                }
            },
        }
    }

    /// Lists the folder of the kloset together with the states. Every command needs the states, but
    /// plakar lists them only in its cache daemon and exits with 0 if that fails (P/main.go). A
    /// failure at this point makes the command exit with 66.
    async fn list_top_and_states(&self) -> Result<Vec<Entry>, Error> {
        // The states come first because the listing of the top then needs no request of its own: it
        // is on the way to them.
        let folders = [self.states.path().clone(), self.top.clone()];
        let [states, top] = &folders;
        let mut listed = self.drive.list(&folders).await.into_iter();
        let mut next = || match listed.next() {
            Some(Err(error)) if error.kind() != Kind::NotFound => Err(error),
            Some(Ok(listing)) => Ok(Some(listing)),
            _ => Ok(None),
        };
        let (listed_states, listed_top) = (next(), next()?);
        let entries = listed_top.map_or(Ok(Vec::new()), |listing| drive::usable_of(top, listing))?;
        let states = listed_states?.map_or(Ok(Vec::new()), |listing| drive::all_of(states, listing))?;
        self.states.prefetched(&states);
        Ok(entries)
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
            let found = match folders().any(|folder| drive::are_one(folder, name)) {
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

    /// Lists the packfiles and reads the ends of the newest ones, unless plakar has already made a
    /// request. The cache daemon reads no packfile, and its first request is for the states.
    fn prefetch(&self) {
        let (folder, blocks, asked) = (Arc::clone(&self.packfiles), self.blocks.clone(), Arc::clone(&self.asked));
        tokio::spawn(async move {
            for (name, file) in folder.prefetch(NEWEST).await {
                if !asked.load(Ordering::Relaxed) {
                    blocks.prefetch_end(&inside(folder.path(), &name), file);
                }
            }
        });
    }

    async fn find_configuration(&self) -> Result<Option<File>, drive::Error> {
        let entry = self.drive.stat(&inside(&self.top, CONFIG)).await?;
        Ok(entry.and_then(|entry| match entry.item {
            Item::File(file) => Some(file),
            Item::Folder => None,
        }))
    }
}
