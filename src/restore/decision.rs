//! The decision about a file whose name is taken in the destination.

use std::{ops::RangeInclusive, time::Duration};

use super::policy::{OnConflict, Policy};
use crate::rclone::{Entry, File, Item, Time};

/// A decision about a file of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It replaces the file of the destination.
    Replace,
    /// It is not restored, because the destination has the same file.
    Identical,
    /// It is not restored.
    Skip,
    /// It is restored beside the file of the destination.
    Beside,
    /// It fails, with this reason.
    Refuse(&'static str),
}

/// The properties of a file of the snapshot that are compared with the destination.
#[derive(Debug, Clone)]
pub struct Own {
    /// The number of bytes, which is known exactly except in a plan.
    pub size: RangeInclusive<u64>,
    /// The total size of the files in it, if it is an archive that may be a package.
    pub unpacked: Option<u64>,
    /// When it was modified.
    pub time: Time,
    /// The precision of the times of the destination, or none if it stores no times.
    pub precision: Option<Duration>,
}

/// Decides about a file of the snapshot for which the destination has `entry`.
pub fn decide(policy: &Policy, entry: &Entry, own: &Own) -> Decision {
    let is_folder = matches!(entry.item, Item::Folder);
    if policy.skip_identical && own.is_identical(entry).is_some() {
        return Decision::Identical;
    }
    match policy.on_conflict {
        OnConflict::Skip => Decision::Skip,
        OnConflict::KeepBoth => Decision::Beside,
        OnConflict::Fail if is_folder => Decision::Refuse("a folder has this name"),
        OnConflict::Fail => Decision::Refuse("the destination has another file of this name, which was left as it is"),
        OnConflict::Replace | OnConflict::Newer if is_folder => {
            Decision::Refuse("a folder has this name, which was left as it is; restore the file into another folder")
        }
        OnConflict::Newer if !own.is_later(entry.modified) => Decision::Skip,
        OnConflict::Replace | OnConflict::Newer => Decision::Replace,
    }
}

impl Own {
    /// Returns the file of an entry if it has the same size and modification time, within the
    /// precision of the destination. If the destination stores no times, no file counts as
    /// identical.
    pub fn is_identical<'a>(&self, entry: &'a Entry) -> Option<&'a File> {
        let Item::File(file) = &entry.item else {
            return None;
        };
        let has_size = match (file.size, file.listed_size) {
            (Some(size), _) => self.size.contains(&size),
            (None, Some(listed)) => self.size.contains(&listed) || Some(listed) == self.unpacked,
            (None, None) => false,
        };
        let has_time = (nanos(self.time) - nanos(entry.modified)).abs() < nanoseconds(self.precision?);
        (has_size && has_time).then_some(file)
    }

    fn is_later(&self, other: Time) -> bool {
        nanos(self.time) - nanos(other) >= self.precision.map_or(1, nanoseconds)
    }
}

/// Returns a duration in nanoseconds, at least one.
fn nanoseconds(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX).max(1)
}

fn nanos(time: Time) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}
