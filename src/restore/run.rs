//! A restore: takes records, creates files and folders, and returns an outcome for each record.

mod bundled;
mod end;

use std::{ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    Failure, Links, OnBadName, Policy, Restored, Verify,
    bundle::Bundle,
    derived,
    destination::Folders,
    error::Error,
    incoming::{Destination, Incoming, Received},
    item::{Item, Wanted},
    names::{Case, Moved, Taken},
    renames::{self, Renames},
    store::{self, Content, Job, Name, Shared, Target},
    uploads::Uploads,
};
use crate::{
    drive::{Drive, DrivePath},
    rclone::{Time, Trail},
    report::Summary,
};

/// The outcome of a record.
#[derive(Debug)]
pub struct Outcome<R> {
    /// The value that the caller passed with the record.
    pub ticket: R,
    /// What became of the record.
    pub result: Result<Restored, Failure>,
}

/// A restore to a folder.
#[derive(Debug)]
pub struct Restore<R> {
    pub(super) shared: Arc<Shared>,
    pub(super) top: DrivePath,
    outcomes: mpsc::Sender<Outcome<R>>,
    /// The maximum weight of the uploads that run or wait.
    limit: u32,
    uploads: Uploads<Vec<(R, String)>>,
    pub(super) folders: Folders,
    /// The folders of the snapshot that are not restored under their own path.
    pub(super) moved: Vec<(DrivePath, Moved)>,
    /// The folders whose times are set when all their content is restored.
    pub(super) times: Vec<(DrivePath, Time)>,
    renames: Renames,
    /// The list of renames in the snapshot, which is stored at the end together with those of this
    /// restore.
    list: Option<(Vec<(R, String)>, Job)>,
    /// The package that is being received.
    pub(super) bundle: Option<Bundle<R>>,
    summary: Summary,
    /// The first link or special file that was left out.
    pub(super) first_left_out: Option<String>,
    /// The last folder, if no record below it has followed.
    empty: Option<String>,
    /// The number of folders without content.
    empty_folders: u64,
    /// The folder of the last file with a name that may be refused.
    last_odd: Option<DrivePath>,
    /// Why nothing more can be restored.
    over: Option<String>,
    /// Whether files of a killed process had to be kept under temporary names at the start.
    has_leftovers: bool,
}

impl<R> Restore<R> {
    /// Begins a restore to `top`, which is created. The outcomes are sent in the order in which
    /// they become known. The total weight of the uploads that run or wait is at most `limit`.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub async fn begin(
        drive: &Drive,
        top: &DrivePath,
        policy: Policy,
        limit: u32,
        outcomes: mpsc::Sender<Outcome<R>>,
    ) -> Result<Self, Error> {
        let mut restore = Self::plan(drive, top, policy, limit, outcomes);
        let shared = Arc::new(Shared::new(drive, policy, Time::now(), false));
        let (made, (), waiting) = tokio::join!(drive.make_folder(top, Trail::Dropped), shared.room.ask(), drive.tidy());
        made?;
        restore.shared = shared;
        restore.has_leftovers = waiting > 0;
        Ok(restore)
    }

    /// Returns a restore that changes nothing in the destination.
    pub(super) fn plan(
        drive: &Drive,
        top: &DrivePath,
        policy: Policy,
        limit: u32,
        outcomes: mpsc::Sender<Outcome<R>>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared::new(drive, policy, Time::now(), true)),
            top: top.clone(),
            outcomes,
            limit,
            uploads: Uploads::default(),
            folders: Folders::new(drive, top),
            moved: Vec::new(),
            times: Vec::new(),
            renames: Renames::default(),
            list: None,
            bundle: None,
            summary: Summary::default(),
            first_left_out: None,
            empty: None,
            empty_folders: 0,
            last_odd: None,
            over: None,
            has_leftovers: false,
        }
    }

    /// Reports whether nothing more can be restored.
    pub fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Returns the counts of the restore so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Creates an item without content, or returns the record whose content follows.
    pub async fn add(&mut self, ticket: R, name: &str, item: Item) -> Option<Incoming<R>> {
        match item.wanted {
            Wanted::File => self.summary.files += 1,
            Wanted::Folder => self.summary.folders += 1,
            Wanted::Symlink(_) | Wanted::Special | Wanted::Attribute | Wanted::Nothing => self.summary.others += 1,
        }
        let (ticket, item) = match self.bundled(ticket, name, item).await {
            Ok(incoming) => return incoming,
            Err(other) => other,
        };
        self.count_empty(Some(name));
        self.empty = (item.wanted == Wanted::Folder && name != "/").then(|| name.to_owned());
        self.summary.permissions += u64::from(item.has_permissions);
        self.summary.attributes += u64::from(item.has_attributes);
        let has_content = item.has_content;
        let destination = match self.place(name) {
            Err(failure) => Destination::Ignored(Err(failure)),
            Ok(None) => Destination::Ignored(Ok(Restored { skipped: 1, ..Restored::default() })),
            Ok(Some(path)) if self.is_package(&path, &item).await => {
                self.empty = None;
                self.begin_bundle(ticket, name, path, item).await;
                return None;
            }
            Ok(Some(path)) => self.destination(name, path, item).await,
        };
        let incoming = Incoming { ticket, name: name.to_owned(), destination };
        match incoming.destination {
            // The content must be received before the outcome is sent.
            _ if has_content => Some(incoming),
            Destination::Stored(_) | Destination::Packed(_) => {
                self.complete(incoming).await;
                None
            }
            Destination::Ignored(result) => {
                self.send_outcome(vec![(incoming.ticket, incoming.name)], result).await;
                None
            }
        }
    }

    /// Counts the last folder as empty unless the next record is below it.
    fn count_empty(&mut self, next: Option<&str>) {
        let Some(folder) = self.empty.take() else { return };
        let is_below =
            |name: &str| name.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
        self.empty_folders += u64::from(!next.is_some_and(is_below));
    }

    async fn destination(&mut self, name: &str, path: DrivePath, item: Item) -> Destination<R> {
        let result = match (item.wanted, self.shared.policy.links) {
            (Wanted::File, _) if item.has_content => {
                self.wait_for_refusals(&path).await;
                return self.file(path, item.modified).into();
            }
            (Wanted::File, _) => Err(refused(name, &"its content is missing")),
            (Wanted::Folder, _) if item.has_content => Err(refused(name, &"a folder cannot have content")),
            (Wanted::Folder, _) => self.add_folder(name, &path, item.modified).await,
            (Wanted::Symlink(target), Links::Text) => return self.link_text(&path, item.modified, target).await.into(),
            (Wanted::Symlink(_) | Wanted::Special, Links::Skip | Links::Text) => {
                self.first_left_out.get_or_insert_with(|| name.to_owned());
                Ok(Restored { left_out: 1, ..Restored::default() })
            }
            (Wanted::Symlink(_), Links::Error) => Err(refused(name, &"the destination cannot store symbolic links")),
            (Wanted::Special, Links::Error) => {
                Err(refused(name, &"the destination cannot store devices, pipes and sockets"))
            }
            (Wanted::Attribute, _) => Err(refused(name, &"the destination cannot store extended attributes")),
            (Wanted::Nothing, _) => Ok(Restored::default()),
        };
        Destination::Ignored(result)
    }

    /// Waits for the uploads under way if the name of a file among them may be refused, so that the
    /// file gets the name of `path`. Otherwise, which of the two files has this name would depend
    /// on the order in which uploads end.
    pub(super) async fn wait_for_refusals(&mut self, path: &DrivePath) {
        if derived::is_odd(path.name()) {
            self.last_odd = Some(path.parent());
        } else if derived::may_be_derived(path.name()) && self.last_odd == Some(path.parent()) {
            while self.finish_upload().await {}
        }
    }

    /// Registers the name of a file.
    ///
    /// # Errors
    /// Fails if the name is equal to that of another item and must not be changed.
    pub(super) fn target(&self, path: DrivePath, time: Time) -> Result<Target, Failure> {
        let name = match self.shared.names().take(&path, false) {
            Taken::Free => Name::Own,
            Taken::Alike => Name::Alike,
            Taken::Twin if self.shared.policy.names == OnBadName::Fail => return Err(store::twin(&path)),
            Taken::Twin => Name::Twin,
        };
        Ok(Target { path, time, name })
    }

    /// Returns the destination of a file, which has received no content.
    fn file(&self, path: DrivePath, time: Time) -> Result<Received, Failure> {
        let is_verified = self.shared.policy.verify == Verify::Content;
        Ok(Received::new(self.target(path, time)?, self.shared.drive.spool(), is_verified))
    }

    /// Returns the text file that is restored in place of a symbolic link.
    async fn link_text(&self, path: &DrivePath, time: Time, target: String) -> Result<Received, Failure> {
        let path = path.parent().child(&format!("{}.symlink.txt", path.name()));
        let mut file = self.file(path.map_err(|bad| refused(&target, &bad))?, time)?;
        file.add(Bytes::from(target + "\n")).await?;
        Ok(file)
    }

    /// Uploads a file whose content is complete, in the background.
    pub async fn complete(&mut self, file: Incoming<R>) {
        self.complete_as(file, None).await;
    }

    /// Completes a file. In a plan, `sizes` is the range of its size.
    pub(super) async fn complete_as(&mut self, file: Incoming<R>, sizes: Option<RangeInclusive<u64>>) {
        let Incoming { ticket, name, destination } = file;
        match destination {
            Destination::Stored(received) => {
                let (target, content, digest) = match sizes {
                    Some(sizes) => (received.into_target(), Content::Planned(sizes), None),
                    None => received.finish(),
                };
                self.store(vec![(ticket, name)], target, content, digest).await;
            }
            Destination::Packed(mut bundle) => {
                bundle.complete(ticket, name, sizes);
                self.bundle = Some(*bundle);
            }
            Destination::Ignored(result) => self.send_outcome(vec![(ticket, name)], result).await,
        }
    }

    /// Uploads a content in the background, for one or more records.
    pub(super) async fn store(
        &mut self,
        tickets: Vec<(R, String)>,
        target: Target,
        content: Content,
        digest: Option<u128>,
    ) {
        let is_in_doubt = target.name == Name::Alike && self.shared.names().case() == Case::Unknown;
        if is_in_doubt {
            // The service compares this name only with those of files that are stored.
            while self.finish_upload().await {}
        }
        // Derived names depend on the names that are taken, so they are chosen in order.
        let in_order = is_in_doubt || target.name == Name::Twin;
        let is_list = tickets.first().and_then(|(_, name)| name.strip_prefix('/')) == Some(renames::FILE_NAME)
            && content.in_memory().is_some_and(|list| self.renames.add_earlier(&list));
        let weight = self.shared.drive.weight(content.size());
        while self.uploads.weight() > 0 && self.uploads.weight() + weight > self.limit {
            self.finish_upload().await;
        }
        let job = self.job(target, content, digest);
        if is_list {
            self.list = Some((tickets, job));
            return;
        }
        if in_order {
            let result = job.run().await;
            return self.send_outcome(tickets, result).await;
        }
        self.uploads.start(tickets, weight, job.run());
    }

    fn job(&mut self, target: Target, content: Content, digest: Option<u128>) -> Job {
        let Target { path, time, name } = target;
        let folder = self.folders.at(&path.parent());
        let digest = digest.filter(|_| !self.shared.is_plan);
        Job { shared: Arc::clone(&self.shared), policy: self.shared.policy, folder, path, time, content, digest, name }
    }

    /// Waits for the end of an upload. Never completes if no upload is under way. Cancel safe:
    /// [`Self::send_outcome`] takes the returned result.
    pub async fn next_ended(&mut self) -> (Vec<(R, String)>, Result<Restored, Failure>) {
        match self.uploads.next().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// Counts and sends the outcome of records, of which there are several if they are a package.
    pub async fn send_outcome(&mut self, tickets: Vec<(R, String)>, result: Result<Restored, Failure>) {
        match &result {
            Ok(restored) => self.count(tickets.first().map_or("", |(_, name)| name), restored),
            Err(failure) => {
                tickets.iter().for_each(|_| self.summary.fail(&failure.cause));
                if failure.is_fatal {
                    // Only the first file is reported: the others were not restored for the same reason.
                    if self.over.is_some() {
                        return;
                    }
                    self.over = Some(failure.text.clone());
                }
            }
        }
        let mut result = result;
        for (ticket, _) in tickets {
            let next = result.clone().map(|restored| Restored { part: 1, renamed: None, ..restored });
            // Fails if plakar has closed the connection; the stream of records then ends too.
            let _ = self.outcomes.send(Outcome { ticket, result: std::mem::replace(&mut result, next) }).await;
        }
    }

    fn count(&mut self, name: &str, restored: &Restored) {
        self.summary.bytes += restored.bytes;
        self.summary.identical += restored.identical;
        self.summary.replaced += restored.replaced;
        self.summary.trashed += restored.trashed;
        self.summary.kept_both += restored.kept_both;
        self.summary.skipped += restored.skipped;
        self.summary.links += restored.left_out;
        self.summary.packages += restored.packages;
        self.summary.archives += restored.archives;
        if let Some(path) = &restored.renamed {
            self.summary.renamed += 1;
            self.renames.add(name, &relative(path, &self.top));
        }
    }

    /// Waits for the end of an upload and sends its outcome. Returns false if no upload is under way.
    pub(super) async fn finish_upload(&mut self) -> bool {
        let Some((ticket, result)) = self.uploads.next().await else {
            return false;
        };
        self.send_outcome(ticket, result).await;
        true
    }

    /// Returns the path of a record in the destination, or none if a folder above it is left out.
    ///
    /// # Errors
    /// Fails if the path would lead out of the destination.
    fn place(&self, name: &str) -> Result<Option<DrivePath>, Failure> {
        let path = self.top.join(name).map_err(|bad| refused(name, &bad))?;
        // The last folder that was moved is the deepest, because a folder comes before its content.
        let above = self.moved.iter().rev().find(|(folder, _)| path.is_below(folder));
        match above {
            None => Ok(Some(path)),
            Some((_, Moved::LeftOut)) => Ok(None),
            Some((_, Moved::Refused)) => Err(refused(name, &"the folder above it cannot be created")),
            Some((folder, Moved::To(moved))) => {
                let path = moved.join(&path.as_str()[folder.as_str().len()..]);
                path.map(Some).map_err(|bad| refused(name, &bad))
            }
        }
    }
}

/// Returns a path of the destination relative to its top, with a leading slash.
pub(super) fn relative(path: &DrivePath, top: &DrivePath) -> String {
    let below = path.as_str().strip_prefix(top.as_str()).unwrap_or(path.as_str());
    format!("/{}", below.trim_start_matches('/'))
}

pub(super) fn refused(name: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("cannot restore {name}: {why}"), why)
}
