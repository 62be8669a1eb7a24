//! A restore: takes records, creates files and folders, and returns an outcome for each record.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Failure, Names, Restored, uploads::Uploads};
use crate::{
    drive::{self, Drive, DrivePath, Slot, Spool, Spooled},
    rclone::{Replacement, Time, Trail},
    report::Summary,
};

/// How long a restore waits for replacements in the background. A move to iCloud's Trash takes 20
/// s, and there may be thousands of them.
const FINISHING: Duration = Duration::from_hours(24);

/// What a record asks to create.
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

/// The outcome of a record.
#[derive(Debug)]
pub struct Outcome<R> {
    /// The value that the caller passed with the record.
    pub ticket: R,
    /// Why the record was not restored, if it was not.
    pub failure: Option<Failure>,
}

/// Why a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination cannot be created.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// The content of a file ended early. plakar could not read it and reports that itself.
    #[error("the content of {0} ended early, so it was not restored")]
    CutOff(String),
    /// A record arrived where content was expected, or the reverse.
    #[error("the restore ended: plakar sent records and content in an order that cannot be")]
    Protocol,
    /// Nothing more could be restored.
    #[error("the restore ended after {done} files and folders: {why}")]
    Over {
        /// The number of files and folders that were restored.
        done: u64,
        /// The cause.
        why: String,
    },
    /// Files or folders failed.
    #[error("{} of {} files and folders failed: {}", .0.failed, .0.files + .0.folders + .0.others, .0.grouped_causes())]
    Failed(Box<Summary>),
}

/// A restore to a folder.
#[derive(Debug)]
pub struct Restore<R> {
    drive: Drive,
    top: DrivePath,
    outcomes: mpsc::Sender<Outcome<R>>,
    /// The maximum number of uploads that run or wait.
    limit: usize,
    uploads: Uploads<R>,
    names: Names,
    /// The folders whose times are set when all their content is restored.
    times: Vec<(DrivePath, Time)>,
    summary: Summary,
    /// Why nothing more can be restored.
    over: Option<String>,
}

/// A file whose content is being received.
#[derive(Debug)]
pub struct Incoming<R> {
    ticket: R,
    name: String,
    target: Result<Target, Failure>,
}

/// The destination of a file and the content received so far.
#[derive(Debug)]
struct Target {
    path: DrivePath,
    time: Time,
    spool: Spool,
    /// Whether the service may treat the name as equal to that of another file of this restore.
    has_twin: bool,
}

impl<R> Incoming<R> {
    /// Appends a piece of the content. If the spool fails, the file fails once and its spool is
    /// dropped.
    pub async fn add(&mut self, chunk: Bytes) {
        if let Ok(target) = &mut self.target
            && let Err(error) = target.spool.add(chunk).await
        {
            self.target = Err(drive::Error::spool(&target.path, &error).into());
        }
    }
}

impl<R> Restore<R> {
    /// Begins a restore to `top`, which is created. The outcomes are sent in the order in which
    /// they become known. At most `limit` uploads run or wait.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub async fn begin(
        drive: Drive,
        top: &DrivePath,
        limit: usize,
        outcomes: mpsc::Sender<Outcome<R>>,
    ) -> Result<Self, Error> {
        drive.make_folder(top, Trail::Dropped).await?;
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

    /// Returns the counts of the restore so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Creates an item without content, or returns the file whose content follows.
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
            // The content must be received before the outcome is sent.
            let target = Err(result.err().unwrap_or_else(|| refused(&"it is not a file")));
            return Some(Incoming { ticket, name: name.to_owned(), target });
        }
        self.settle(ticket, result.map(|()| Restored::default())).await;
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

    /// Waits for the end of an upload. Never completes if no upload is under way. Cancel safe:
    /// [`Self::settle`] takes the returned result.
    pub async fn next_ended(&mut self) -> (R, Result<Restored, Failure>) {
        match self.uploads.next().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// Counts and sends the outcome of a record.
    pub async fn settle(&mut self, ticket: R, result: Result<Restored, Failure>) {
        let failure = match result {
            Ok(Restored { bytes, is_renamed }) => {
                self.summary.bytes += bytes;
                self.summary.renamed += u64::from(is_renamed);
                None
            }
            Err(failure) => {
                self.summary.fail(&failure.cause);
                if failure.ends_everything {
                    // The first cause is the one that is reported.
                    self.over.get_or_insert_with(|| failure.text.clone());
                }
                Some(failure)
            }
        };
        // Fails if plakar has closed the connection; the stream of records then ends too.
        let _ = self.outcomes.send(Outcome { ticket, failure }).await;
    }

    /// Ends the restore: waits for the uploads and replacements under way and sets the times of
    /// folders. `cut_off` is a file whose content was not received in full.
    ///
    /// # Errors
    /// Fails if not everything was restored.
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

    /// Waits for an upload and settles it. Returns false if no upload is under way.
    async fn settle_next(&mut self) -> bool {
        let Some((ticket, result)) = self.uploads.next().await else {
            return false;
        };
        self.settle(ticket, result).await;
        true
    }

    async fn make_folder(&mut self, path: DrivePath, time: Time, has_twin: bool) -> Result<(), drive::Error> {
        if path != self.top {
            self.drive.make_folder(&path, Trail::Dropped).await?;
        }
        if has_twin && !self.names_like(&path).await?.iter().any(|name| drive::are_one(name, path.name())) {
            self.names.merge_case();
        }
        if self.drive.sets_folder_times() {
            self.times.push((path, time));
        }
        Ok(())
    }

    /// Stores a file whose name differs only in case from that of another file. No service tells
    /// beforehand whether it keeps both, so no other upload runs meanwhile, and the folder is
    /// listed afterwards.
    async fn store_beside_twin(&mut self, path: &DrivePath, time: Time, content: Spooled) -> Result<Restored, Failure> {
        while self.settle_next().await {}
        let before = self.names_like(path).await?;
        let restored = store(&self.drive, path, time, content).await?;
        self.drive.finish(FINISHING).await;
        let after = self.names_like(path).await?;
        match before.iter().find(|name| !after.contains(name) && !drive::are_one(name, path.name())) {
            None => Ok(restored),
            Some(replaced) => {
                self.names.merge_case();
                let replaced = replaced.escape_debug();
                Err(Failure::of(format!(
                    "{path} is restored, but \"{replaced}\" had to give way: names that differ in case only are one there; restore \"{replaced}\" again, into another folder"
                )))
            }
        }
    }

    /// Returns the names in the folder of a path that differ from its name at most in case and
    /// Unicode form.
    async fn names_like(&self, path: &DrivePath) -> Result<Vec<String>, drive::Error> {
        let entries = self.drive.list_usable(&path.parent()).await?;
        let names = entries.iter().map(|entry| entry.name().to_owned());
        Ok(names.filter(|name| drive::are_alike(name, path.name())).collect())
    }

    /// Sets the times of folders, the deepest first, because creating an entry changes the time of
    /// its folder.
    async fn set_times(&mut self) {
        for (path, time) in self.times.drain(..).rev() {
            if let Err(error) = self.drive.set_folder_time(&path, time).await {
                log::warn!("{error}");
            }
        }
    }
}

async fn store(drive: &Drive, path: &DrivePath, time: Time, content: Spooled) -> Result<Restored, Failure> {
    let stored = drive.upload(path, time, &content, Replacement::Deferred, Slot::Awaited).await?;
    Ok(Restored { bytes: content.size(), is_renamed: stored.is_renamed })
}
