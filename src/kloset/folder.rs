//! A folder whose files are found without asking the service each time.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::{
    drive::{Drive, DrivePath, Error, Spooled},
    rclone::{Deletion, Entry, File, Item, Kind, Replacement, Time},
};

/// How long a listing may take to show what was stored. iCloud's are mostly up to
/// date at once, which nobody promises.
const LAG: Duration = Duration::from_secs(60);

/// The files of one folder, as last listed and as changed by us since.
#[derive(Debug)]
pub struct Folder {
    drive: Drive,
    path: DrivePath,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    files: HashMap<Arc<str>, File>,
    /// What we have stored lately, and when.
    own: HashMap<Arc<str>, (File, Instant)>,
    /// How often the folder was listed: tells whoever waited for a listing that
    /// it need not list again.
    listings: u64,
}

impl Known {
    /// Takes over a listing.
    fn take(&mut self, entries: Vec<Entry>) {
        self.files = entries.iter().filter_map(file_of).collect();
        self.listings += 1;
        self.own.retain(|_, (_, stored)| stored.elapsed() < LAG);
        for (name, (file, _)) in &self.own {
            self.files.entry(Arc::clone(name)).or_insert_with(|| file.clone());
        }
    }
}

impl Folder {
    /// The folder at `path`, which need not exist.
    pub fn new(drive: Drive, path: DrivePath) -> Self {
        Self { drive, path, known: Mutex::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &DrivePath {
        &self.path
    }

    /// Lists the folder, unless that was done already, and returns up to `count` of its
    /// newest files. After a failure a later call lists again and reports its own.
    pub async fn prefetch(&self, count: usize) -> Vec<(Arc<str>, File)> {
        let mut known = self.known.lock().await;
        if known.listings > 0 {
            return Vec::new();
        }
        match self.entries().await {
            Ok(mut entries) => {
                entries.sort_unstable_by_key(|entry| Reverse(entry.modified));
                let newest = entries.iter().filter_map(file_of).take(count).collect();
                known.take(entries);
                newest
            }
            Err(error) => {
                log::info!("{error}");
                Vec::new()
            }
        }
    }

    /// Lists the folder; one that does not exist is empty.
    ///
    /// # Errors
    /// If the listing fails.
    pub async fn list(&self) -> Result<Vec<(Arc<str>, File)>, Error> {
        let mut known = self.known.lock().await;
        self.refresh(&mut known).await?;
        Ok(known.files.iter().map(|(name, file)| (Arc::clone(name), file.clone())).collect())
    }

    /// The file of a name. An unknown one is looked for in one listing.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, or if the listing fails.
    pub async fn file(&self, name: &str) -> Result<Option<File>, Error> {
        let seen = {
            let known = self.known.lock().await;
            if let Some(file) = known.files.get(name) {
                return Ok(Some(file.clone()));
            }
            known.listings
        };
        let mut known = self.known.lock().await;
        if known.listings == seen {
            self.refresh(&mut known).await?;
        }
        Ok(known.files.get(name).cloned())
    }

    /// The file of a name after the one that `stale` stands for could not be had:
    /// somebody else may have stored it again or deleted it.
    ///
    /// # Errors
    /// If the listing fails.
    pub async fn file_instead_of(&self, name: &str, stale: &File) -> Result<Option<File>, Error> {
        let mut known = self.known.lock().await;
        if known.files.get(name).is_none_or(|file| file.version == stale.version) {
            known.own.remove(name);
            self.refresh(&mut known).await?;
        }
        Ok(known.files.get(name).cloned())
    }

    async fn refresh(&self, known: &mut Known) -> Result<(), Error> {
        known.take(self.entries().await?);
        Ok(())
    }

    async fn entries(&self) -> Result<Vec<Entry>, Error> {
        match self.drive.list_all(&self.path).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
            entries => entries,
        }
    }

    /// Stores a file, in place of the one of that name.
    ///
    /// # Errors
    /// If it cannot be stored in full.
    pub async fn put(&self, name: &str, content: &Spooled) -> Result<(), Error> {
        let file = self.drive.upload(&self.child(name)?, Time::now(), content, Replacement::Awaited).await?;
        self.keep(name, file).await;
        Ok(())
    }

    /// The same without waiting for a free upload. Answers the file.
    ///
    /// # Errors
    /// If it cannot be stored in full.
    pub async fn put_at_once(&self, name: &str, content: &Spooled) -> Result<File, Error> {
        let file = self.drive.upload_at_once(&self.child(name)?, Time::now(), content).await?;
        self.keep(name, file.clone()).await;
        Ok(file)
    }

    async fn keep(&self, name: &str, file: File) {
        let (name, mut known) = (Arc::<str>::from(name), self.known.lock().await);
        known.own.insert(Arc::clone(&name), (file.clone(), Instant::now()));
        known.files.insert(name, file);
    }

    /// Deletes a file; one that is not there is deleted.
    ///
    /// # Errors
    /// If it is still there.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let path = self.child(name)?;
        let known = self.known.lock().await.files.get(name).cloned();
        match self.drive.delete(&path, known.as_ref(), Deletion::Recoverable).await {
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => {
                // Only now: a listing meanwhile would have brought it back.
                let mut known = self.known.lock().await;
                known.own.remove(name);
                known.files.remove(name);
                Ok(())
            }
        }
    }

    fn child(&self, name: &str) -> Result<DrivePath, Error> {
        self.path.child(name).map_err(|bad| Error::bad_name(&self.path, bad))
    }
}

fn file_of(entry: &Entry) -> Option<(Arc<str>, File)> {
    match &entry.item {
        Item::File(file) => Some((entry.name().into(), file.clone())),
        Item::Folder => None,
    }
}
