//! The folders of a restore.

use super::{
    Failure, OnBadName, OnConflict, Restored,
    derived::{Candidates, Reason},
    destination::Found,
    names::{Case, Moved, Taken},
    run::Restore,
    store,
};
use crate::{
    drive::{self, DrivePath},
    rclone::{self, Entry, Item, Kind, Time, Trail},
};

impl<R> Restore<R> {
    /// Creates a folder.
    ///
    /// # Errors
    /// Fails if the folder is neither created nor left out intentionally.
    pub(super) async fn add_folder(&mut self, name: &str, path: &DrivePath, time: Time) -> Result<Restored, Failure> {
        if *path != self.top {
            // If it is known before the folder is created, a new folder need not be listed. A failure
            // shows at the first file.
            let _ = self.folders.at(&path.parent()).contents().await;
        }
        let taken = self.shared.names().take(path, true);
        let made = match taken {
            Taken::Twin => return self.add_renamed(name, path, Reason::Twin, time).await,
            Taken::Free if *path == self.top => Ok(()),
            Taken::Free => self.make_folder(path).await,
            Taken::Alike => match self.make_beside_twin(path).await {
                Ok(true) => Ok(()),
                Ok(false) => return self.add_renamed(name, path, Reason::Twin, time).await,
                Err(error) => Err(error),
            },
        };
        match (made, self.shared.policy.on_conflict) {
            (Ok(()), _) => {
                self.keep_time(path, time);
                let there = u64::from(self.shared.is_plan && self.has_folder(path).await?);
                Ok(Restored { there, ..Restored::default() })
            }
            (Err(error), _) if error.kind() == Kind::RefusedName && self.shared.policy.names == OnBadName::Rename => {
                self.add_renamed(name, path, Reason::Refused, time).await
            }
            (Err(error), OnConflict::Skip) if error.kind() == Kind::Exists => {
                self.move_to(name, Moved::LeftOut);
                Ok(Restored { skipped: 1, ..Restored::default() })
            }
            (Err(error), OnConflict::KeepBoth) if error.kind() == Kind::Exists => {
                let date = self.shared.date.clone();
                let restored = self.add_renamed(name, path, Reason::Beside(&date), time).await?;
                Ok(Restored { kept_both: 1, ..restored })
            }
            (Err(error), _) => {
                if self.shared.is_plan {
                    self.move_to(name, Moved::Refused);
                }
                Err(Failure::from(error).with_advice())
            }
        }
    }

    /// Creates a folder under a derived name, or uses an existing folder of that name.
    async fn add_renamed(
        &mut self,
        name: &str,
        path: &DrivePath,
        reason: Reason<'_>,
        time: Time,
    ) -> Result<Restored, Failure> {
        if self.shared.policy.names == OnBadName::Fail && !matches!(reason, Reason::Beside(_)) {
            return Err(store::twin(path));
        }
        let contents = self.folders.at(&path.parent()).contents().await?;
        let mut candidates = Candidates::new(path, reason);
        let is_folder = |entry: &Entry| matches!(entry.item, Item::Folder);
        while let Some(candidate) = self.shared.reserve(&mut candidates, &contents, true, is_folder) {
            if let Err(error) = self.make_folder(&candidate).await {
                candidates.reject(error.into())?;
                continue;
            }
            self.move_to(name, Moved::To(candidate.clone()));
            self.keep_time(&candidate, time);
            return Ok(Restored { renamed: Some(candidate), ..Restored::default() });
        }
        Err(candidates.into_failure())
    }

    /// Creates a folder, or checks in a plan that no file is in its place.
    async fn make_folder(&mut self, path: &DrivePath) -> Result<(), drive::Error> {
        if !self.shared.is_plan {
            return self.shared.drive.make_folder(path, Trail::Dropped).await;
        }
        let contents = self.folders.at(&path.parent()).contents().await?;
        match contents.find(path.name()) {
            Found::Same(entry) if !matches!(entry.item, Item::Folder) => {
                let cause = rclone::Error::new(Kind::Exists, "a file has this name");
                Err(drive::Error::new("cannot make the folder", path, cause))
            }
            _ => Ok(()),
        }
    }

    /// Reports whether the destination had a folder before the restore.
    async fn has_folder(&mut self, path: &DrivePath) -> Result<bool, drive::Error> {
        if *path == self.top {
            return match self.shared.drive.list_known(path).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == Kind::NotFound => Ok(false),
                Err(error) => Err(error),
            };
        }
        let contents = self.folders.at(&path.parent()).contents().await?;
        Ok(matches!(contents.find(path.name()), Found::Same(entry) if matches!(entry.item, Item::Folder)))
    }

    /// Creates a folder whose name differs only in case from that of another item. Reports whether
    /// the service then has a folder with exactly this name.
    async fn make_beside_twin(&mut self, path: &DrivePath) -> Result<bool, drive::Error> {
        match self.make_folder(path).await {
            Ok(()) => {}
            // A file has the other name.
            Err(error) if error.kind() == Kind::Exists => return Ok(false),
            Err(error) => return Err(error),
        }
        if self.shared.is_plan {
            return Ok(true);
        }
        // The backend has the folder in memory: it has created it, or has listed the folder above.
        let above = self.shared.drive.list_known(&path.parent()).await?;
        let is_there = above.iter().any(|entry| drive::are_equivalent(entry.name(), path.name()));
        self.shared.names().learn_case(if is_there { Case::Distinct } else { Case::Folded });
        Ok(is_there)
    }

    /// Records where the content of a folder goes.
    fn move_to(&mut self, name: &str, moved: Moved) {
        if let Ok(folder) = self.top.join(name) {
            self.moved.push((folder, moved));
        }
    }

    fn keep_time(&mut self, path: &DrivePath, time: Time) {
        if self.shared.drive.sets_folder_times() {
            self.times.push((path.clone(), time));
        }
    }
}
