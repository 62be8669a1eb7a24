//! rclone in this process: typed calls, objects held by Go, and content.
//!
//! Only this module knows rclone's JSON. All of Go is behind `ffi`.

pub mod account;
pub mod configuration;
mod error;
mod ffi;
mod methods;

use std::{os::fd::IntoRawFd, sync::Arc, time::Duration};

use bytes::BytesMut;
use once_cell::sync::OnceCell;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use error::{Cause, Error, Kind};
pub use ffi::{region::Region, signals::use_alternate_stack};
pub use methods::Sections;
use methods::{Method, Nothing};

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
            ffi::set_log(Verbosity::of_process() == Verbosity::Complete);
            Self(())
        })
    }

    /// Checks the sections of a configuration, of which `name` is to be opened, without using the
    /// network. `others` are the options of the caller, which the error about an unknown option
    /// lists as well.
    ///
    /// # Errors
    /// Returns [`Kind::BadConfig`] for a backend that is not in this build and for an option that
    /// the backend does not have.
    pub async fn check(self, name: &str, sections: Sections, others: Vec<&'static str>) -> Result<(), Error> {
        call(methods::Check { name: name.to_owned(), sections, others }).await.map(|Nothing {}| ())
    }

    /// Opens a remote: the section `name` of `sections`, from its top folder.
    ///
    /// # Errors
    /// Returns the error of the backend about the configuration, the network or the session.
    pub async fn open(self, name: &str, path: &str, sections: Sections) -> Result<Remote, Error> {
        let opened = call(methods::Open { name: name.to_owned(), path: path.to_owned(), sections }).await?;
        let methods::Opened { remote, sets_folder_times, merges_names } = opened;
        Ok(Remote { id: remote, sets_folder_times, merges_names })
    }

    /// Waits at most `within` for the changes that backends make in the background. Returns those
    /// that have failed since the last call or are not done.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn finish(self, within: Duration) -> Result<Vec<Unfinished>, Error> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let finished = call(methods::Finish { within_ms }).await?;
        let unfinished = |left: methods::Unfinished| Unfinished { path: left.path, error: left.failure.into() };
        Ok(finished.unfinished.into_iter().map(unfinished).collect())
    }
}

/// An opened remote.
#[derive(Debug, Clone, Copy)]
pub struct Remote {
    id: u64,
    /// Whether the modification time of folders can be set.
    pub sets_folder_times: bool,
    /// Whether names that differ in their Unicode form or in case may be equal.
    pub merges_names: bool,
}

/// What happens to a deleted file if the service has a Trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It stays in the Trash, where it takes room and can be restored.
    Recoverable,
    /// It is deleted from the Trash too.
    Permanent,
}

/// When an upload that replaces a file returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// When the new file has the name and the old one is in the Trash.
    Awaited,
    /// When the new content is complete in the folder. The rest is done in the background:
    /// [`Rclone::finish`] waits for it and returns its failures.
    Deferred,
}

/// A change that failed in the background or is not done.
#[derive(Debug)]
pub struct Unfinished {
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

/// A file or a folder of a remote.
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
}

/// A file that rclone holds, so that opening it needs no look-up.
#[derive(Debug, Clone)]
pub struct File {
    object: Arc<ffi::Object>,
    /// The size in bytes, or none if the backend cannot tell.
    pub size: Option<u64>,
    /// A value that changes whenever the file does.
    pub version: Arc<str>,
}

impl TryFrom<methods::Entry> for Entry {
    type Error = InvalidEntry;

    fn try_from(entry: methods::Entry) -> Result<Self, InvalidEntry> {
        let item = match (entry.folder, entry.object) {
            (true, _) => Item::Folder,
            (false, Some(object)) => Item::File(File {
                object: Arc::new(object),
                size: u64::try_from(entry.size).ok(),
                version: entry.version.into(),
            }),
            (false, None) => {
                let cause = Error::unexpected("rclone keeps no object for the file");
                return Err(InvalidEntry { path: entry.path, cause });
            }
        };
        Ok(Self {
            path: entry.path,
            modified: Time { seconds: entry.seconds, nanos: entry.nanos },
            item,
            children: entry.children,
        })
    }
}

impl From<methods::ListedFolder> for Listing {
    fn from(folder: methods::ListedFolder) -> Self {
        let mut listing = Self {
            entries: Vec::with_capacity(folder.entries.len()),
            invalid: folder.invalid.into_iter().map(InvalidEntry::from).collect(),
            incomplete: folder.incomplete.map(Error::from),
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

impl Remote {
    /// Saves the unsaved state of the backend, such as cookies that the service has replaced. The
    /// remote cannot be used afterwards.
    ///
    /// # Errors
    /// Fails if the state cannot be saved.
    pub async fn close(self) -> Result<(), Error> {
        call(methods::Close { remote: self.id }).await.map(|Nothing {}| ())
    }

    /// Lists folders. Returns one result for each path, in order.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn list(self, paths: Vec<String>) -> Result<Vec<Result<Listing, Error>>, Error> {
        let asked = paths.len();
        let listed = call(methods::List { remote: self.id, paths }).await?;
        if listed.folders.len() != asked {
            return Err(Error::unexpected(format!(
                "{asked} folders were listed but {} answered",
                listed.folders.len()
            )));
        }
        let folder = |mut folder: methods::ListedFolder| match folder.failure.take() {
            Some(failure) => Err(Error::from(failure)),
            None => Ok(Listing::from(folder)),
        };
        Ok(listed.folders.into_iter().map(folder).collect())
    }

    /// Finds a file or a folder.
    ///
    /// # Errors
    /// Returns [`Kind::NotFound`] if it does not exist.
    pub async fn stat(self, path: &str) -> Result<Entry, Error> {
        let entry = call(methods::Stat { remote: self.id, path: path.to_owned() }).await?;
        Entry::try_from(entry).map_err(|invalid| invalid.cause)
    }

    /// Creates a folder and its parents. Succeeds if the folder exists.
    ///
    /// # Errors
    /// Returns the error of the service.
    pub async fn mkdir(self, path: &str) -> Result<(), Error> {
        call(methods::Mkdir { remote: self.id, path: path.to_owned() }).await.map(|Nothing {}| ())
    }

    /// Deletes files: of each, the listed object if it is given, else the file at the path. Returns
    /// one result for each file, in order: [`Kind::NotFound`] if it did not exist.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn delete(
        self,
        files: &[(&str, Option<&File>)],
        deletion: Deletion,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let deleted = |(path, kept): &(&str, Option<&File>)| methods::Deleted {
            path: (*path).to_owned(),
            object: kept.map_or(0, |file| file.object.id()),
        };
        let request = methods::Delete {
            remote: self.id,
            files: files.iter().map(deleted).collect(),
            permanent: deletion == Deletion::Permanent,
        };
        let failures = call(request).await?.failures;
        if failures.len() != files.len() {
            let (asked, answered) = (files.len(), failures.len());
            return Err(Error::unexpected(format!("{asked} files were to be deleted but {answered} answered")));
        }
        Ok(failures.into_iter().map(|failure| failure.map_or(Ok(()), |failure| Err(failure.into()))).collect())
    }

    /// Sets the modification time of a folder.
    ///
    /// # Errors
    /// Returns [`Kind::Unsupported`] if the backend cannot set it.
    pub async fn set_folder_time(self, path: &str, time: Time) -> Result<(), Error> {
        let request =
            methods::FolderTime { remote: self.id, path: path.to_owned(), seconds: time.seconds, nanos: time.nanos };
        call(request).await.map(|Nothing {}| ())
    }

    /// Stores content at a path and replaces an existing file. The content is stored in full or not
    /// at all.
    ///
    /// # Errors
    /// Returns the error of the service. The path then holds what it held before, or nothing if the
    /// service kept less than it was sent.
    pub async fn upload(
        self,
        path: &str,
        modified: Time,
        content: Arc<Region>,
        replacement: Replacement,
    ) -> Result<Entry, Error> {
        let scope = ffi::Scope::new();
        let id = scope.id();
        let mut request = methods::Upload {
            remote: self.id,
            path: path.to_owned(),
            seconds: modified.seconds,
            nanos: modified.nanos,
            defer: replacement == Replacement::Deferred,
            file: None,
        };
        let entry: methods::Entry = blocking(scope, move || {
            let no_descriptor = |error| Error::unexpected(format!("the spool cannot be lent: {error}"));
            let descriptor = content.descriptor().map_err(no_descriptor)?.map(IntoRawFd::into_raw_fd);
            request.file = descriptor.map(|descriptor| methods::SpoolFile { descriptor, size: content.size() });
            let answer = ffi::upload(&encode(id, &request)?, content.memory()).map_err(|_| nul_in_input("upload"))?;
            decode(answer.as_bytes())
        })
        .await?;
        Entry::try_from(entry).map_err(|invalid| invalid.cause)
    }
}

/// Content that is being read. Dropping the scope that it was opened under wakes a blocked read.
#[derive(Debug)]
pub struct Reader(ffi::Reader);

/// The lifetime of a transfer. Everything that runs under it is cancelled when it is dropped.
#[derive(Debug)]
pub struct Scope(ffi::Scope);

/// The version of a file to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The listed one.
    Listed,
    /// The listed one, verified first because a part of it was read before.
    Resumed,
    /// The current one, if the file has changed since it was listed.
    Latest,
}

/// A reference to a scope that does not keep it alive.
#[derive(Debug, Clone, Copy)]
pub struct Under(u64);

/// The handle of the scope that never ends.
const ENDLESS: u64 = 0;

impl Scope {
    /// Opens a scope. The file is the proof that rclone runs.
    pub fn of(_: &File) -> Self {
        Self(ffi::Scope::new())
    }

    /// Returns a reference for calls that run under the scope.
    pub fn under(&self) -> Under {
        Under(self.0.id())
    }
}

impl File {
    /// Lets the backend prepare the opening of files, if it can. Does not wait for the network.
    pub fn expect<'a>(files: impl IntoIterator<Item = &'a Self>) {
        let objects = files.into_iter().map(|file| file.object.id()).collect();
        let request = methods::ExpectObjects { objects };
        let result = encode(ENDLESS, &request).and_then(|input| call_blocking(&input, methods::ExpectObjects::PATH));
        if let Err(error) = result.map(|Nothing {}| ()) {
            log::debug!("files cannot be prepared for reading: {error}"); // opening them shows why
        }
    }

    /// Opens the content from `offset`: `length` bytes, or everything that follows. Also returns
    /// the size of the whole content, unless only reading it tells. Blocks the thread.
    ///
    /// # Errors
    /// Returns [`Kind::Changed`] if the file is not in that version, and otherwise the error of the
    /// service.
    pub fn open(
        &self,
        offset: u64,
        length: Option<u64>,
        version: Version,
        under: Under,
    ) -> Result<(Reader, Option<u64>), Error> {
        let length = length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX));
        let (resume, latest) = (version == Version::Resumed, version == Version::Latest);
        let request = methods::OpenObject { object: self.object.id(), offset, length, resume, latest };
        let opened = call_blocking(&encode(under.0, &request)?, methods::OpenObject::PATH)?;
        let methods::OpenedObject { reader, size } = opened;
        Ok((Reader(ffi::Reader::adopt(reader)), u64::try_from(size).ok()))
    }
}

impl Reader {
    /// Appends content to `buffer`, up to its spare capacity, and returns the number of bytes,
    /// which is smaller only at the end. Blocks the thread.
    ///
    /// # Errors
    /// Fails if the content breaks off. The bytes before that are in the buffer.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<usize, Error> {
        self.0.read(buffer).map_err(|failure| match serde_json::from_str::<error::Failure>(&failure) {
            Ok(failure) => failure.into(),
            Err(error) => Error::unexpected(format!("a failure cannot be read: {error}")),
        })
    }
}

/// Calls a method on a blocking thread. If the future is dropped, the call is cancelled and its
/// result is released.
async fn call<M: Method>(request: M) -> Result<M::Answer, Error> {
    let scope = ffi::Scope::new();
    let input = encode(scope.id(), &request)?;
    blocking(scope, move || call_blocking(&input, M::PATH)).await
}

fn call_blocking<A: DeserializeOwned>(input: &str, path: &str) -> Result<A, Error> {
    let answer = ffi::call(path, input).map_err(|_| nul_in_input(path))?;
    decode(answer.as_ref().map_or(&[], ffi::GoString::bytes))
}

/// Calls a method of rclone's own, whose result has no `answer` or `failure` member.
async fn call_plain<R: Serialize, A: DeserializeOwned + Send + 'static>(
    path: &'static str,
    request: &R,
) -> Result<A, Error> {
    let scope = ffi::Scope::new();
    let input = serde_json::to_string(request)
        .map_err(|error| Error::unexpected(format!("a request cannot be written: {error}")))?;
    blocking(scope, move || {
        let output = rpc(&input, path)?;
        serde_json::from_str(&output)
            .map_err(|error| Error::unexpected(format!("{path}: the answer cannot be read: {error}")))
    })
    .await
}

fn rpc(input: &str, path: &str) -> Result<String, Error> {
    let (status, output) = ffi::rpc(path, input).map_err(|_| nul_in_input(path))?;
    if status == 200 {
        return Ok(output);
    }
    match serde_json::from_str::<error::RefusedCall>(&output) {
        Ok(refused) => Err(refused.into()),
        Err(error) => Err(Error::unexpected(format!("{path}: status {status}, and no reason can be read: {error}"))),
    }
}

/// Runs `work` on a blocking thread, under a scope that ends with this future.
async fn blocking<A: Send + 'static>(
    scope: ffi::Scope,
    work: impl FnOnce() -> Result<A, Error> + Send + 'static,
) -> Result<A, Error> {
    let result = tokio::task::spawn_blocking(work).await;
    drop(scope);
    result.unwrap_or_else(|error| Err(Error::unexpected(format!("a call of rclone did not end: {error}"))))
}

fn nul_in_input(path: &str) -> Error {
    Error::unexpected(format!("{path}: the input holds a NUL"))
}

#[derive(Serialize)]
struct Scoped<'a, R> {
    scope: u64,
    #[serde(flatten)]
    request: &'a R,
}

fn encode<R: Serialize>(scope: u64, request: &R) -> Result<String, Error> {
    serde_json::to_string(&Scoped { scope, request })
        .map_err(|error| Error::unexpected(format!("a request cannot be written: {error}")))
}

/// The outcome of a method: exactly one of the members.
#[derive(Deserialize)]
struct Outcome<A> {
    answer: Option<A>,
    failure: Option<error::Failure>,
}

fn decode<A: DeserializeOwned>(output: &[u8]) -> Result<A, Error> {
    match serde_json::from_slice::<Outcome<A>>(output) {
        Ok(Outcome { failure: Some(failure), .. }) => Err(failure.into()),
        Ok(Outcome { answer: Some(answer), .. }) => Ok(answer),
        Ok(Outcome { answer: None, failure: None }) => Err(Error::unexpected("an answer is empty")),
        Err(error) => Err(Error::unexpected(format!("an answer cannot be read: {error}"))),
    }
}
