//! The plan of a restore: runs the restore itself, which then changes nothing.

use std::ops::RangeInclusive;

use tokio::sync::mpsc;

use super::{
    Failure, Item, Outcome, Policy, Restore, Restored, Wanted,
    derived::{self, MAX_NAME_LENGTH, Reason},
    error::Error,
    run::relative,
};
use crate::drive::{Drive, DrivePath};

/// An item of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The path, relative to what is restored, with a leading slash.
    pub path: String,
    /// The properties.
    pub item: Item,
    /// The range of the number of bytes. It ends with [`u64::MAX`] if the size is unknown.
    pub sizes: RangeInclusive<u64>,
}

/// What the restore would do with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stores the item, and nothing has its name.
    New,
    /// It replaces a file.
    Replaced,
    /// It finds the same file, or the folder.
    Identical,
    /// It leaves the item out, because another one has its name.
    Skipped,
    /// It stores the item beside another one that has its name.
    Beside,
    /// It leaves out a link or special file.
    LeftOut,
    /// It fails for this item.
    Refused,
}

/// An item with what the restore would do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The path in the snapshot.
    pub path: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Whether it is a part of a package, for which its folder stands.
    pub is_part: bool,
    /// The range of the number of bytes.
    pub sizes: RangeInclusive<u64>,
    /// What the restore would do.
    pub fate: Fate,
    /// The path in the destination, if the restore chooses another name.
    pub renamed: Option<String>,
    /// The other name that the item gets if the service refuses its own. Only an attempt can
    /// show whether it does.
    pub doubtful: Option<String>,
    /// Why the restore would fail for this item.
    pub reason: Option<String>,
}

/// What a restore would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The items in the order in which they were decided.
    pub items: Vec<Decided>,
    /// The free room of the destination in bytes, if it is known.
    pub free: Option<u64>,
}

impl Plan {
    /// Plans the restore of items, which are in the order of plakar: a folder before its content,
    /// and names in the order of their bytes. Folders of the destination are listed, as the restore
    /// would do. `progress` is called with the number of items that are decided.
    ///
    /// # Errors
    /// Fails if the destination cannot be read at all.
    pub async fn make(
        drive: &Drive,
        top: &DrivePath,
        policy: Policy,
        limit: u32,
        items: Vec<Planned>,
        mut progress: impl FnMut(u64),
    ) -> Result<Self, Error> {
        let (outcomes, mut receiver) = mpsc::channel(1);
        let mut restore = Restore::plan(drive, top, policy, limit, outcomes);
        let top = top.clone();
        let deciding = async move {
            for planned in items {
                if restore.is_over() {
                    break;
                }
                let (path, item, sizes) = (planned.path.clone(), planned.item.clone(), planned.sizes.clone());
                if let Some(file) = restore.add(planned, &path, item).await {
                    restore.complete_as(file, Some(sizes)).await;
                }
            }
            restore.end_plan().await
        };
        let collecting = async {
            let mut items = Vec::new();
            while let Some(outcome) = receiver.recv().await {
                items.push(Decided::new(outcome, &top));
                progress(items.len() as u64);
            }
            items
        };
        let (ended, items, free) = tokio::join!(deciding, collecting, drive.free_room());
        ended?;
        Ok(Self { items, free })
    }

    /// Returns the least and the largest number of bytes that the restore would send, and the number
    /// of files of unknown size, which are not included.
    pub fn bytes(&self) -> (u64, u64, u64) {
        let mut sum = (0_u64, 0_u64, 0);
        for Decided { sizes, .. } in self.items.iter().filter(|item| item.is_sent()) {
            if *sizes.end() == u64::MAX {
                sum.2 += 1;
            } else {
                sum = (sum.0.saturating_add(*sizes.start()), sum.1.saturating_add(*sizes.end()), sum.2);
            }
        }
        sum
    }
}

impl Decided {
    fn new(outcome: Outcome<Planned>, top: &DrivePath) -> Self {
        let Outcome { ticket: Planned { path, item, sizes }, result } = outcome;
        let is_part = matches!(&result, Ok(restored) if restored.part > 0);
        let (fate, renamed, doubtful, reason) = match result {
            Err(Failure { cause, .. }) => (Fate::Refused, None, None, Some(cause)),
            Ok(restored) => {
                let fate = Fate::of(&restored);
                let renamed = restored.renamed.map(|to| relative(&to, top));
                let own = path.rsplit('/').next().unwrap_or_default();
                let may_be_refused = derived::is_odd(own) || own.len() > MAX_NAME_LENGTH;
                let reason = match (&renamed, fate) {
                    (Some(_), _) | (_, Fate::Identical | Fate::Skipped | Fate::LeftOut | Fate::Refused) => None,
                    _ if is_part => None,
                    _ if restored.doubtful > 0 => Some(Reason::Twin),
                    _ if may_be_refused => Some(Reason::Refused),
                    _ => None,
                };
                let doubtful = reason.and_then(|reason| reason.first_name(own));
                (fate, renamed, doubtful, None)
            }
        };
        Self { path, is_folder: item.wanted == Wanted::Folder, is_part, sizes, fate, renamed, doubtful, reason }
    }

    /// Reports whether the restore would upload the content of the item.
    pub fn is_sent(&self) -> bool {
        !self.is_folder && matches!(self.fate, Fate::New | Fate::Replaced | Fate::Beside)
    }
}

impl Fate {
    fn of(restored: &Restored) -> Self {
        match restored {
            Restored { identical: 1, .. } | Restored { there: 1, .. } => Self::Identical,
            Restored { replaced: 1, .. } => Self::Replaced,
            Restored { kept_both: 1, .. } => Self::Beside,
            Restored { skipped: 1, .. } => Self::Skipped,
            Restored { left_out: 1, .. } => Self::LeftOut,
            _ => Self::New,
        }
    }
}
