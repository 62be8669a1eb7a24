//! One restore: records come in, files and folders are made, each record has an
//! outcome.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Failure, Names, uploads::Uploads};
use crate::{
    drive::{self, Drive, DrivePath, Spool, Spooled},
    rclone::{Replacement, Time},
    report::Summary,
};

/// How long a restore waits for replacements that go on in the background. A move
/// to iCloud's Trash takes 20 s, and there may be thousands.
const FINISHING: Duration = Duration::from_hours(24);

/// What a record asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A folder, with its modification time.
    Folder(Time),
    /// A file whose content follows, with its modification time.
    File(Time),
    /// A symbolic link.
    Symlink,
    /// A device, a pipe, a socket.
    Special,
    /// An extended attribute of a file.
    Attribute,
    /// Nothing.
    Nothing,
}

/// What became of a record.
#[derive(Debug)]
pub struct Outcome<R> {
    /// What the caller gave with the record.
    pub ticket: R,
    /// Why it was not restored.
    pub failure: Option<Failure>,
}

/// Why a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination cannot be made.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// The content of a file ended early. plakar could not read it and says so itself.
    #[error("the content of {0} ended early, so it was not restored")]
    CutOff(String),
    /// A record or content came where the other was due.
    #[error("the restore ended: plakar sent records and content in an order that cannot be")]
    Protocol,
    /// Nothing more could be restored.
    #[error("the restore ended after {done} files and folders: {why}")]
    Over {
        /// Files and folders that were restored.
        done: u64,
        /// The cause.
        why: String,
    },
    /// Files or folders failed.
    #[error("{} of {} files and folders failed: {}", .0.failed, .0.files + .0.folders + .0.others, .0.grouped_causes())]
    Failed(Box<Summary>),
}

/// One restore to a folder.
#[derive(Debug)]
pub struct Restore<R> {
    drive: Drive,
    top: DrivePath,
    outcomes: mpsc::Sender<Outcome<R>>,
    /// Uploads that may be under way or wait for their turn.
    limit: usize,
    uploads: Uploads<R>,
    names: Names,
    /// Folders whose time is set when everything is in them.
    times: Vec<(DrivePath, Time)>,
    summary: Summary,
    /// Why nothing more can be restored.
    over: Option<String>,
}

/// A file whose content is coming in.
#[derive(Debug)]
pub struct Incoming<R> {
    ticket: R,
    name: String,
    target: Result<Target, Failure>,
}

/// Where a file goes, and what there is of it.
#[derive(Debug)]
struct Target {
    path: DrivePath,
    time: Time,
    spool: Spool,
    /// Whether another file of this restore may have this name, to the service.
    has_twin: bool,
}

impl<R> Incoming<R> {
    /// Adds a piece of the content. A spool that fails makes the file fail, once, and
    /// is given up.
    pub async fn add(&mut self, chunk: Bytes) {
        if let Ok(target) = &mut self.target
            && let Err(error) = target.spool.add(chunk).await
        {
            self.target = Err(drive::Error::spool(&target.path, &error).into());
        }
    }
}

impl<R> Restore<R> {
    /// Begins a restore to `top`, which is made. Outcomes are sent in the order in
    /// which they are known. At most `limit` uploads run or wait.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub async fn begin(
        drive: Drive,
        top: &DrivePath,
        limit: usize,
        outcomes: mpsc::Sender<Outcome<R>>,
    ) -> Result<Self, Error> {
        drive.make_folder(top).await?;
        let names = Names::new(drive.merges_names());
        Ok(Self {
            drive,
            top: top.clone(),
            outcomes,
            limit,
            uploads: Uploads::default(),
            names,
            times: Vec::new(),
            summary: Summary::default(),
            over: None,
        })
    }

    /// Reports whether nothing more can be restored.
    pub fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Returns what the restore has done so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Makes what needs no content. Returns the file whose content follows.
    pub async fn add(&mut self, ticket: R, name: &str, wanted: Wanted, has_content: bool) -> Option<Incoming<R>> {
        match wanted {
            Wanted::File(_) => self.summary.files += 1,
            Wanted::Folder(_) => self.summary.folders += 1,
            Wanted::Symlink | Wanted::Special | Wanted::Attribute | Wanted::Nothing => self.summary.others += 1,
        }
        let refused = |why: &dyn std::fmt::Display| Failure::new(format!("cannot restore {name}: {why}"), why);
        let path = self.top.join(name).map_err(|bad| refused(&bad));
        let result = match (wanted, path) {
            (Wanted::File(time), path) if has_content => {
                let target = path.and_then(|path| {
                    let has_twin = self.names.take(&path, false).map_err(|twin| refused(&twin))?;
                    Ok(Target { path, time, spool: self.drive.spool(), has_twin })
                });
                return Some(Incoming { ticket, name: name.to_owned(), target });
            }
            (_, Err(error)) => Err(error),
            (Wanted::Folder(time), Ok(path)) => match self.names.take(&path, true) {
                Ok(has_twin) => self.make_folder(path, time, has_twin).await.map_err(Failure::from),
                Err(twin) => Err(refused(&twin)),
            },
            (Wanted::File(_), Ok(_)) => Err(refused(&"its content is missing")),
            (Wanted::Symlink, Ok(_)) => Err(refused(&"a symbolic link cannot be stored there")),
            (Wanted::Special, Ok(_)) => Err(refused(&"a device, pipe or socket cannot be stored there")),
            (Wanted::Attribute, Ok(_)) => Err(refused(&"an extended attribute cannot be stored there")),
            (Wanted::Nothing, Ok(_)) => Ok(()),
        };
        if has_content {
            // The content must be taken before the outcome is known.
            let target = Err(result.err().unwrap_or_else(|| refused(&"it is not a file")));
            return Some(Incoming { ticket, name: name.to_owned(), target });
        }
        self.settle(ticket, result.map(|()| 0)).await;
        None
    }

    /// Uploads a file whose content is complete, in the background.
    pub async fn complete(&mut self, file: Incoming<R>) {
        let Incoming { ticket, target, .. } = file;
        let Target { path, time, spool, has_twin } = match target {
            Ok(target) => target,
            Err(error) => return self.settle(ticket, Err(error)).await,
        };
        let content = spool.finish();
        if has_twin {
            let result = self.store_beside_twin(&path, time, content).await;
            return self.settle(ticket, result).await;
        }
        while self.uploads.len() >= self.limit {
            self.settle_next().await;
        }
        let drive = self.drive.clone();
        self.uploads.start(ticket, async move { store(&drive, &path, time, content).await });
    }

    /// Waits for the end of an upload under way; for ever if there is none. Loses
    /// nothing when it is dropped before; [`Self::settle`] takes what it returns.
    pub async fn next_ended(&mut self) -> (R, Result<u64, Failure>) {
        match self.uploads.next().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// Counts and sends the outcome of a record.
    pub async fn settle(&mut self, ticket: R, result: Result<u64, Failure>) {
        let failure = match result {
            Ok(bytes) => {
                self.summary.bytes += bytes;
                None
            }
            Err(failure) => {
                self.summary.fail(&failure.cause);
                if failure.ends_everything {
                    // The first cause is the one to tell.
                    self.over.get_or_insert_with(|| failure.text.clone());
                }
                Some(failure)
            }
        };
        // Nobody listens: plakar has gone, and the stream of records ends too.
        let _ = self.outcomes.send(Outcome { ticket, failure }).await;
    }

    /// Ends the restore: waits for what is under way, and sets the times of folders.
    /// `cut_off` is a file whose content did not come in full.
    ///
    /// # Errors
    /// If not everything was restored.
    pub async fn end(&mut self, cut_off: Option<Incoming<R>>) -> Result<(), Error> {
        while self.settle_next().await {}
        for error in self.drive.finish(FINISHING).await {
            log::error!("{error}");
            self.summary.fail(&error.cause().text);
        }
        let all = self.summary.files + self.summary.folders + self.summary.others;
        let done = all.saturating_sub(self.summary.failed);
        if let Some(why) = self.over.take() {
            return Err(Error::Over { done, why });
        }
        if let Some(Incoming { name, .. }) = cut_off {
            return Err(Error::CutOff(name));
        }
        self.set_times().await;
        if self.summary.failed > 0 {
            return Err(Error::Failed(Box::new(self.summary.clone())));
        }
        Ok(())
    }

    /// Settles an upload. Returns whether there was one.
    async fn settle_next(&mut self) -> bool {
        let Some((ticket, result)) = self.uploads.next().await else {
            return false;
        };
        self.settle(ticket, result).await;
        true
    }

    async fn make_folder(&mut self, path: DrivePath, time: Time, has_twin: bool) -> Result<(), drive::Error> {
        if path != self.top {
            self.drive.make_folder(&path).await?;
        }
        if has_twin && !self.names_like(&path).await?.iter().any(|name| drive::are_one(name, path.name())) {
            self.names.merge_case();
        }
        if self.drive.sets_folder_times() {
            self.times.push((path, time));
        }
        Ok(())
    }

    /// Stores a file whose name differs from another's in case only. No service
    /// says beforehand whether it keeps both, so the file is stored alone and the
    /// folder is listed.
    async fn store_beside_twin(&mut self, path: &DrivePath, time: Time, content: Spooled) -> Result<u64, Failure> {
        while self.settle_next().await {}
        let before = self.names_like(path).await?;
        let bytes = store(&self.drive, path, time, content).await?;
        self.drive.finish(FINISHING).await;
        let after = self.names_like(path).await?;
        match before.iter().find(|name| !after.contains(name) && !drive::are_one(name, path.name())) {
            None => Ok(bytes),
            Some(replaced) => {
                self.names.merge_case();
                let replaced = replaced.escape_debug();
                Err(Failure::of(format!(
                    "{path} is restored, but \"{replaced}\" had to give way: names that differ in case only are one there; restore \"{replaced}\" again, into another folder"
                )))
            }
        }
    }

    /// The names beside a path that are the same but for case and Unicode form.
    async fn names_like(&self, path: &DrivePath) -> Result<Vec<String>, drive::Error> {
        let entries = self.drive.list_usable(&path.parent()).await?;
        let names = entries.iter().map(|entry| entry.name().to_owned());
        Ok(names.filter(|name| drive::are_alike(name, path.name())).collect())
    }

    /// The deepest first: making an entry changes the time of its folder.
    async fn set_times(&mut self) {
        for (path, time) in self.times.drain(..).rev() {
            if let Err(error) = self.drive.set_folder_time(&path, time).await {
                log::warn!("{error}");
            }
        }
    }
}

async fn store(drive: &Drive, path: &DrivePath, time: Time, content: Spooled) -> Result<u64, Failure> {
    drive.upload(path, time, &content, Replacement::Deferred).await?;
    Ok(content.size())
}
