//! rclone in this process: typed calls, objects held by Go, and content.
//!
//! rclone's JSON occurs only in this module. All of Go is behind `ffi`.

pub mod account;
mod call;
pub mod configuration;
mod error;
mod ffi;
#[cfg(test)]
mod fuzz;
mod methods;
mod read;
mod remote;
mod rules;
mod storage;
mod summary;

use std::{path::Path, sync::Arc, time::Duration};

use once_cell::sync::OnceCell;

pub use error::{Cause, Error, Kind};
pub use ffi::{limit_arenas, region::Region, signals::use_alternate_stack};
pub use methods::{BackendOption, Sections};
pub use read::{Reader, Scope, ScopeId, Version};
pub use remote::Tidied;
pub use rules::Rules;
pub use summary::Collection;

use call::{ENDLESS, call, call_blocking, call_plain};
use methods::Nothing;

use crate::log::Verbosity;

static STARTED: OnceCell<Rclone> = OnceCell::new();

/// Proof that rclone runs in this process.
#[derive(Debug, Clone, Copy)]
pub struct Rclone(());

impl Rclone {
    /// Starts rclone, once in a process. Later calls return at once.
    ///
    /// The first call takes about 10 ms and uses neither the network nor the file system.
    pub fn start() -> Self {
        *STARTED.get_or_init(|| {
            ffi::start(ffi::environment());
            ffi::set_log(Verbosity::from_env() == Verbosity::Complete);
            Self(())
        })
    }

    /// Checks the sections of a configuration, of which `name` is to be opened, without using the
    /// network. `others` are the options of the caller, which the error about an unknown option
    /// lists, too.
    ///
    /// # Errors
    /// Returns [`Kind::BadConfig`] for a backend that is not in this build and for an option that
    /// the backend does not have.
    pub async fn check(self, name: &str, sections: Sections, others: Vec<&'static str>) -> Result<(), Error> {
        call(methods::Check { name: name.to_owned(), sections, others }).await.map(|Nothing {}| ())
    }

    /// Posts a text to a monitor, with retries. The error does not contain the address.
    ///
    /// # Errors
    /// Fails if the monitor does not accept the text.
    pub async fn ping(self, url: &str, text: &str) -> Result<(), Error> {
        call(methods::Ping { url: url.to_owned(), text: text.to_owned() }).await.map(|Nothing {}| ())
    }

    /// Returns the options of a backend, or none if it is not in this build.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn backend_options(self, backend: &str) -> Result<Vec<BackendOption>, Error> {
        let nothing = std::collections::BTreeMap::<&str, &str>::new();
        let methods::Providers { providers } = call_plain("config/providers", &nothing).await?;
        let found = providers.into_iter().find(|provider| provider.name == backend);
        Ok(found.map(|provider| provider.options).unwrap_or_default())
    }

    /// Opens a remote: the section `name` of `sections`, from its top folder. The temporary names of
    /// uploads under way are stored in a file whose path starts with `leftovers`.
    ///
    /// # Errors
    /// Returns the error of the backend about the configuration, the network or the session.
    pub async fn open(
        self,
        name: &str,
        path: &str,
        sections: Sections,
        leftovers: Option<&Path>,
    ) -> Result<Remote, Error> {
        let leftovers = leftovers.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let request = methods::Open { name: name.to_owned(), path: path.to_owned(), sections, leftovers };
        let opened = call(request).await?;
        // rclone reports 100 years for a backend that keeps no times.
        let precision = Duration::from_nanos(opened.precision_ns);
        Ok(Remote {
            id: opened.remote,
            sets_folder_times: opened.sets_folder_times,
            merges_names: opened.merges_names,
            creates_exclusively: opened.creates_exclusively,
            keeps_empty_folders: opened.keeps_empty_folders,
            trashes_replaced: opened.trashes_replaced,
            folds_case: opened.folds_case,
            precision: (precision < Duration::from_hours(24)).then_some(precision),
        })
    }

    /// Returns how many requests this process has sent to services whose requests are counted, and
    /// how long it waited. Returns none if there were no requests.
    pub fn traffic() -> Option<Traffic> {
        STARTED.get()?;
        let counted = call_blocking(ENDLESS, &methods::CountTraffic {}).ok()?;
        let methods::Traffic { requests, waits, waited_ms } = counted;
        (requests > 0).then(|| Traffic { requests, waits, waited: Duration::from_millis(waited_ms) })
    }

    /// Waits at most `within` for the changes that backends make in the background. Returns those
    /// that have failed since the last call or are not done.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn wait_for_changes(self, within: Duration) -> Result<Vec<UnfinishedChange>, Error> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let finished = call(methods::Finish { within_ms }).await?;
        let unfinished =
            |left: methods::UnfinishedChange| UnfinishedChange { path: left.path, error: left.failure.into() };
        Ok(finished.unfinished.into_iter().map(unfinished).collect())
    }
}

/// The requests of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// The number of requests, including repetitions.
    pub requests: u64,
    /// The number of periods in which at least one operation waited before it repeated a request.
    pub waits: u64,
    /// The total length of these periods.
    pub waited: Duration,
}

/// An opened remote.
#[derive(Debug, Clone, Copy)]
pub struct Remote {
    id: u64,
    /// Whether the modification time of folders can be set.
    pub sets_folder_times: bool,
    /// Whether names that differ in their Unicode form or in case may be equal.
    pub merges_names: bool,
    /// Whether one of several concurrent uploads of the same name with [`Replacement::Refused`]
    /// succeeds and the others fail.
    pub creates_exclusively: bool,
    /// Whether folders without files can be stored.
    pub keeps_empty_folders: bool,
    /// Whether the old version of a replaced file is in the Trash of the service.
    pub trashes_replaced: bool,
    /// Whether names that differ in case are known to be equal.
    pub folds_case: bool,
    /// The precision of modification times, or none if the service keeps none.
    pub precision: Option<Duration>,
}

/// What happens to a deleted file if the service has a Trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It stays in the Trash, where it takes room and can be restored.
    Recoverable,
    /// It is deleted from the Trash too.
    Permanent,
}

/// Whether the path to a new folder is stored for other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trail {
    /// It is stored, if the backend can. For a minute, other processes do not list the folders on
    /// the path.
    Kept,
    /// It is not stored.
    Dropped,
}

/// What an upload does with an existing file of its name, and when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// The file is replaced. The upload returns when the new file has the name and the old one is in
    /// the Trash.
    Awaited,
    /// The file is replaced. The upload returns when the new content is complete in the folder. The
    /// rest is done in the background: [`Rclone::wait_for_changes`] waits for it and returns its failures.
    Deferred {
        /// Which file that another program has stored under the name in the meantime is accepted in
        /// place of the new one.
        accepted: Accepted,
    },
    /// The file is kept and the upload fails with [`Kind::Exists`]. A backend that cannot do this
    /// replaces the file. No listing is made to look for the file.
    Refused,
}

/// Which other file is accepted in place of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// None.
    Nothing,
    /// One with the same size and time.
    SameTime,
    /// One with the same size, time, and XXH128 digest of the content.
    SameContent(u128),
}

/// How the archive of a package is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As a file.
    File,
    /// As a package, if the service has packages and the content and the name are those of a
    /// package. If the service refuses it, the error has the kind [`Kind::RefusedPackage`].
    Package,
}

/// A change that failed in the background or is not done.
#[derive(Debug)]
pub struct UnfinishedChange {
    /// The path from the top of the service, without a leading slash.
    pub path: String,
    /// The cause.
    pub error: Error,
}

/// A point in time: seconds since 1970 and nanoseconds of that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds from 0 to 999,999,999, counted forward.
    pub nanos: i32,
}

impl Time {
    /// The time of items that have none.
    pub const UNKNOWN: Self = Self { seconds: 0, nanos: 0 };

    /// Returns the current time.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { seconds: since.as_secs().cast_signed(), nanos: since.subsec_nanos().cast_signed() }
    }
}

/// A file, a folder or a symbolic link of a remote.
#[derive(Debug)]
pub struct Entry {
    /// The path relative to the remote's top, without a leading slash.
    pub path: String,
    /// When it was modified.
    pub modified: Time,
    /// The kind of the entry.
    pub item: Item,
    /// The number of items directly in a folder, if the service reports it.
    pub children: Option<u64>,
    /// Whether another account owns the item.
    pub is_shared: bool,
}

/// The content of a folder.
#[derive(Debug)]
pub struct Listing {
    /// Its files and folders.
    pub entries: Vec<Entry>,
    /// Its items that cannot be used.
    pub invalid: Vec<InvalidEntry>,
    /// Why the listing may be incomplete, if the service contradicts itself.
    pub incomplete: Option<Error>,
    /// Why the listing may be incomplete, by counters of the service whose meaning is uncertain.
    pub doubt: Option<Error>,
    /// A line for the user about the folder.
    pub note: Option<String>,
    /// The number of items that the service counts but does not list.
    pub missing: u64,
    /// The number of items that were left out by rules.
    pub excluded: u64,
}

/// An item of a folder that cannot be used.
#[derive(Debug)]
pub struct InvalidEntry {
    /// The path relative to the remote's top. It is that of the folder if the item has no name.
    pub path: String,
    /// Why it cannot be used.
    pub cause: Error,
}

impl Entry {
    /// Returns the last part of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// The kind of an entry.
#[derive(Debug)]
pub enum Item {
    /// A folder.
    Folder,
    /// A file, held by rclone.
    File(File),
    /// A symbolic link to this path.
    Link(String),
}

/// A file that rclone holds, so that opening it needs no look-up.
#[derive(Debug, Clone)]
pub struct File {
    object: Arc<ffi::Object>,
    /// The size in bytes, or none if it is unknown.
    pub size: Option<u64>,
    /// The size that the service lists, if it may differ from that of the content. For a package,
    /// it is the total size of its files.
    pub listed_size: Option<u64>,
    /// A value that changes whenever the file changes.
    pub version: Arc<str>,
    /// Whether the file is known to be a package.
    pub is_package: bool,
    /// Whether the file is a leftover: a complete replacement that has not got its name in the service,
    /// because a process was killed.
    pub is_leftover: bool,
    /// Whether the content is generated on this machine, so that reading it needs no request.
    pub is_generated: bool,
}

impl TryFrom<methods::Entry> for Entry {
    type Error = InvalidEntry;

    fn try_from(entry: methods::Entry) -> Result<Self, InvalidEntry> {
        let item = match (entry.folder, entry.object) {
            (true, _) => Item::Folder,
            (false, None) if entry.target.is_some() => Item::Link(entry.target.unwrap_or_default()),
            (false, Some(object)) => Item::File(File {
                object: Arc::new(object),
                size: u64::try_from(entry.size).ok(),
                listed_size: entry.listed,
                version: entry.version.into(),
                is_package: entry.package,
                is_leftover: entry.unfinished,
                is_generated: entry.generated,
            }),
            (false, None) => {
                let cause = Error::unexpected("rclone holds no object for the file");
                return Err(InvalidEntry { path: entry.path, cause });
            }
        };
        Ok(Self {
            path: entry.path,
            modified: Time { seconds: entry.seconds, nanos: entry.nanos },
            item,
            children: entry.children,
            is_shared: entry.shared,
        })
    }
}

impl From<methods::ListedFolder> for Listing {
    fn from(folder: methods::ListedFolder) -> Self {
        let mut listing = Self {
            entries: Vec::with_capacity(folder.entries.len()),
            invalid: folder.invalid.into_iter().map(InvalidEntry::from).collect(),
            incomplete: folder.incomplete.map(Error::from),
            doubt: folder.doubt.map(Error::from),
            note: folder.note,
            missing: folder.missing,
            excluded: folder.excluded,
        };
        for entry in folder.entries {
            match Entry::try_from(entry) {
                Ok(entry) => listing.entries.push(entry),
                Err(invalid) => listing.invalid.push(invalid),
            }
        }
        listing
    }
}

impl From<methods::InvalidEntry> for InvalidEntry {
    fn from(invalid: methods::InvalidEntry) -> Self {
        Self { path: invalid.path, cause: invalid.failure.into() }
    }
}
