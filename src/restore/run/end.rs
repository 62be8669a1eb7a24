//! The end of a restore: replacements in the background, the list of renames, the times of folders,
//! and the messages to the user.

use std::time::Duration;

use super::{Error, Incoming, Restore};
use crate::{
    drive::{DrivePath, Spooled},
    rclone::Time,
    report::counted,
    restore::{
        Failure, OnConflict, Policy,
        names::Taken,
        renames,
        store::Target,
        store::{Content, Job, Name},
    },
};

/// How long a restore waits for replacements in the background. A move to iCloud's Trash takes 20
/// s, and there may be thousands of them.
const REPLACEMENT_TIMEOUT: Duration = Duration::from_hours(24);

impl<R> Restore<R> {
    /// Ends the restore: waits for the uploads and replacements under way, sets the times of folders
    /// and stores the list of renames. `cut_off` is a file whose content was not received in full.
    ///
    /// # Errors
    /// Fails if not everything was restored.
    pub async fn end(&mut self, cut_off: Option<Incoming<R>>) -> Result<(), Error> {
        if cut_off.is_some() {
            self.bundle = None; // its other items were not received
        }
        self.end_bundle().await;
        while self.finish_upload().await {}
        self.store_renames().await;
        for error in self.shared.drive.wait_for_changes(REPLACEMENT_TIMEOUT).await {
            log::error!("{error}");
            self.summary.fail(&error.cause().text);
            // It was counted when its upload ended.
            self.summary.replaced = self.summary.replaced.saturating_sub(1);
            self.summary.trashed = self.summary.trashed.saturating_sub(1);
        }
        if self.has_leftovers && self.over.is_none() {
            self.shared.drive.tidy_rest().await;
        }
        self.tell();
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

    /// Ends a plan.
    ///
    /// # Errors
    /// Fails if not everything could be decided.
    pub async fn end_plan(mut self) -> Result<(), Error> {
        self.end_bundle().await;
        while self.finish_upload().await {}
        match self.over {
            Some(why) => Err(Error::Over { done: self.summary.files + self.summary.folders, why }),
            None => Ok(()),
        }
    }

    /// Stores the list of renames beside the restored tree. A list that the snapshot contains is
    /// continued.
    async fn store_renames(&mut self) {
        let list = self.list.take();
        if let Some(failure) = self.over_failure() {
            if let Some((tickets, _)) = list {
                self.send_outcome(tickets, Err(failure)).await;
            }
            return;
        }
        match list {
            Some((ticket, job)) if self.renames.is_empty() => {
                let result = job.run().await;
                self.send_outcome(ticket, result).await;
            }
            Some((ticket, job)) => {
                let job = self.list_job(job.path, job.name);
                let result = job.run_unless_stored().await;
                self.send_outcome(ticket, result).await;
            }
            None if self.renames.is_empty() => {}
            None => {
                let Ok(path) = self.top.child(renames::FILE_NAME) else { return };
                let name = match self.shared.names().take(&path, false) {
                    Taken::Free | Taken::Alike => Name::Own,
                    Taken::Twin => Name::Twin, // the snapshot has another file of this name
                };
                if let Err(failure) = self.list_job(path, name).run_unless_stored().await {
                    log::warn!("{}", failure.text);
                }
            }
        }
    }

    /// Returns the failure of records that arrive after the end of the restore.
    pub fn over_failure(&self) -> Option<Failure> {
        let why = self.over.clone()?;
        Some(Failure { is_fatal: true, ..Failure::of(why) })
    }

    fn list_job(&mut self, path: DrivePath, name: Name) -> Job {
        let content = self.renames.content();
        let content = Content::Received(Spooled::from(content));
        let job = self.job(Target { path, time: Time::now(), name }, content, None);
        Job { policy: Policy { on_conflict: OnConflict::Replace, ..job.policy }, ..job }
    }

    /// Tells the user how the destination differs from the snapshot.
    fn tell(&mut self) {
        for line in self.renames.lines() {
            crate::log::notice(line);
        }
        if let Some(first) = &self.first_left_out {
            let count = self.summary.links;
            crate::log::notice(format_args!(
                "left out {}, because the destination cannot store symbolic links, devices, pipes and sockets (the first: {first})",
                counted(count, "item")
            ));
        }
        self.count_empty(None);
        let drive = &self.shared.drive;
        if self.empty_folders > 0 && !drive.keeps_empty_folders() {
            let folders = counted(self.empty_folders, "empty folder");
            crate::log::notice(format_args!("the destination does not store {folders}"));
        }
        if self.summary.files > 0 && drive.precision().is_none() {
            crate::log::notice("the destination does not store modification times");
        }
        for (count, what) in
            [(self.summary.permissions, "permissions"), (self.summary.attributes, "extended attributes")]
        {
            if count > 0 {
                let items = counted(count, "item");
                crate::log::notice(format_args!("the destination does not store the {what} of {items}"));
            }
        }
    }

    /// Sets the times of folders, the deepest first, because creating an entry changes the time of
    /// its folder.
    async fn set_times(&mut self) {
        for (path, time) in self.times.drain(..).rev() {
            if let Err(error) = self.shared.drive.set_folder_time(&path, time).await {
                log::warn!("{error}");
            }
        }
    }
}
