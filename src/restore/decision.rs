//! What happens to a file that finds another one in its place.

use std::time::Duration;

use super::policy::{OnConflict, Policy};
use crate::rclone::{Entry, File, Item, Time};

/// A decision about a file of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It replaces the file of the destination.
    Replace,
    /// The file of the destination is the same.
    Identical,
    /// It is not restored.
    Skip,
    /// It is restored beside the file of the destination.
    Beside,
    /// It fails, with this reason.
    Refuse(&'static str),
}

/// Decides about a file of the snapshot for which the destination has `entry`.
pub fn decide(policy: &Policy, entry: &Entry, size: u64, time: Time, precision: Option<Duration>) -> Decision {
    let is_folder = matches!(entry.item, Item::Folder);
    if policy.skip_identical && is_identical(entry, size, time, precision).is_some() {
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
        OnConflict::Newer if !is_later(time, entry.modified, precision) => Decision::Skip,
        OnConflict::Replace | OnConflict::Newer => Decision::Replace,
    }
}

/// Returns the file of an entry if it has this size and modification time, as precisely as the
/// service keeps times. Where it keeps none, no file counts as identical.
pub fn is_identical(entry: &Entry, size: u64, time: Time, precision: Option<Duration>) -> Option<&File> {
    let Item::File(file) = &entry.item else {
        return None;
    };
    let step = nanoseconds(precision?);
    let is_same_time = (nanos(time) - nanos(entry.modified)).abs() < step;
    (file.size == Some(size) && is_same_time).then_some(file)
}

fn is_later(time: Time, other: Time, precision: Option<Duration>) -> bool {
    nanos(time) - nanos(other) >= precision.map_or(1, nanoseconds)
}

/// Returns a length of time in nanoseconds, at least one.
fn nanoseconds(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX).max(1)
}

fn nanos(time: Time) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}
