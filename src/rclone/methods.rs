//! The rc methods of a remote: their names, inputs and results.

use std::{
    collections::BTreeMap,
    fmt,
    ops::{Deref, DerefMut},
    os::fd::RawFd,
};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use super::{error::Failure, ffi};

/// An rc method of this program's Go side, implemented by the type of its input.
pub trait Method: Serialize + Send + 'static {
    /// The name under which it is registered in rclone.
    const PATH: &'static str;
    /// The result.
    type Output: DeserializeOwned + Send + 'static;
}

/// Implements [`Method`] for the type of an input.
macro_rules! method {
    ($path:literal, $input:ty, $output:ty) => {
        impl Method for $input {
            const PATH: &'static str = $path;
            type Output = $output;
        }
    };
}

pub(super) use method;

/// The sections of an rclone configuration by name; each maps the names of options to values. Many
/// values are secrets, so `Debug` shows none.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sections(BTreeMap<String, BTreeMap<String, String>>);

impl fmt::Debug for Sections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.0.iter().map(|(name, options)| (name, options.keys()))).finish()
    }
}

impl Deref for Sections {
    type Target = BTreeMap<String, BTreeMap<String, String>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Sections {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// Checks sections without using the network.
#[derive(Serialize)]
pub struct Check {
    pub name: String,
    pub sections: Sections,
    /// The options of the caller, which the error about an unknown option lists.
    pub others: Vec<&'static str>,
}
method!("remote/check", Check, Nothing);

/// Opens the remote of one section.
#[derive(Serialize)]
pub struct Open {
    pub name: String,
    pub path: String,
    pub sections: Sections,
    /// The start of the paths of the lists of temporary names, or empty for no lists.
    pub leftovers: String,
}
method!("remote/open", Open, Opened);

#[derive(Deserialize)]
pub struct Opened {
    pub remote: u64,
    pub sets_folder_times: bool,
    pub merges_names: bool,
    pub creates_exclusively: bool,
    pub keeps_empty_folders: bool,
    pub trashes_replaced: bool,
    pub folds_case: bool,
    pub precision_ns: u64,
}

/// Settles the leftovers of killed processes.
#[derive(Serialize)]
pub struct Tidy {
    pub remote: u64,
}
method!("remote/tidy", Tidy, Tidied);

#[derive(Deserialize)]
pub struct Tidied {
    pub settled: u64,
    pub waiting: u64,
    pub failed: Vec<Failure>,
}

/// Closes a remote, which saves the unsaved state of the backend.
#[derive(Serialize)]
pub struct Close {
    pub remote: u64,
}
method!("remote/close", Close, Nothing);

/// Lists folders, with one request to the service if the backend can.
#[derive(Serialize)]
pub struct List {
    pub remote: u64,
    pub paths: Vec<String>,
    /// The rules of items to leave out, or 0.
    pub rules: u64,
    /// Whether a listing that the backend has in memory may be returned.
    pub known: bool,
}
method!("remote/list", List, Listed);

#[derive(Deserialize)]
pub struct Listed {
    pub folders: Vec<ListedFolder>,
}

#[derive(Deserialize)]
pub struct ListedFolder {
    #[serde(deserialize_with = "null_is_empty")]
    pub entries: Vec<Entry>,
    #[serde(default)]
    pub invalid: Vec<InvalidEntry>,
    pub incomplete: Option<Failure>,
    pub doubt: Option<Failure>,
    pub note: Option<String>,
    #[serde(default)]
    pub missing: u64,
    #[serde(default)]
    pub excluded: u64,
    pub failure: Option<Failure>,
}

/// An item that cannot be used.
#[derive(Deserialize)]
pub struct InvalidEntry {
    pub path: String,
    pub failure: Failure,
}

/// Go writes a nil slice as null.
fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A file, a folder or a symbolic link. The Go side holds the object of a file. Go omits members
/// that are zero.
#[derive(Debug, Deserialize)]
pub struct Entry {
    pub path: String,
    #[serde(default)]
    pub folder: bool,
    #[serde(default)]
    pub size: i64,
    pub listed: Option<u64>,
    #[serde(default)]
    pub seconds: i64,
    #[serde(default)]
    pub nanos: i32,
    #[serde(default)]
    pub version: String,
    #[serde(default, deserialize_with = "object")]
    pub object: Option<ffi::Object>,
    pub target: Option<String>,
    pub children: Option<u64>,
    #[serde(default)]
    pub package: bool,
    #[serde(default)]
    pub unfinished: bool,
    #[serde(default)]
    pub shared: bool,
    #[serde(default)]
    pub generated: bool,
}

fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ffi::Object>, D::Error> {
    u64::deserialize(deserializer).map(ffi::Object::adopt)
}

/// Counts the requests of this process.
#[derive(Serialize)]
pub struct CountTraffic {}
method!("remote/traffic", CountTraffic, Traffic);

#[derive(Deserialize)]
pub struct Traffic {
    pub requests: u64,
    pub waits: u64,
    pub waited_ms: u64,
}

/// Finds a file or a folder.
#[derive(Serialize)]
pub struct Stat {
    pub remote: u64,
    pub path: String,
}
method!("remote/stat", Stat, Entry);

/// Creates a folder and its parents.
#[derive(Serialize)]
pub struct Mkdir {
    pub remote: u64,
    pub path: String,
    pub trail: bool,
}
method!("remote/mkdir", Mkdir, Nothing);

/// Deletes files.
#[derive(Serialize)]
pub struct Delete {
    pub remote: u64,
    pub files: Vec<Deleted>,
    pub permanent: bool,
}
method!("remote/delete", Delete, Deletions);

/// A file to delete: the held object or, if that is 0, the file at the path.
#[derive(Serialize)]
pub struct Deleted {
    pub path: String,
    pub object: u64,
}

/// The outcomes, in the order of the files.
#[derive(Deserialize)]
pub struct Deletions {
    pub failures: Vec<Option<Failure>>,
}

/// Waits for changes that backends make in the background.
#[derive(Serialize)]
pub struct Finish {
    pub within_ms: u64,
}
method!("remote/finish", Finish, Finished);

#[derive(Deserialize)]
pub struct Finished {
    pub unfinished: Vec<UnfinishedChange>,
}

/// A change that failed in the background or is not done.
#[derive(Deserialize)]
pub struct UnfinishedChange {
    pub path: String,
    pub failure: Failure,
}

/// Sets the modification time of a folder.
#[derive(Serialize)]
pub struct FolderTime {
    pub remote: u64,
    pub path: String,
    pub seconds: i64,
    pub nanos: i32,
}
method!("remote/folder-time", FolderTime, Nothing);

/// Opens the content of a held object. A length of -1 stands for everything that follows.
#[derive(Serialize)]
pub struct OpenObject {
    pub object: u64,
    pub offset: u64,
    pub length: i64,
    pub resume: bool,
    pub latest: bool,
}
method!("object/open", OpenObject, OpenedObject);

#[derive(Deserialize)]
pub struct OpenedObject {
    pub reader: u64,
    pub size: i64,
}

/// Returns what is known of a held object, without the network.
#[derive(Serialize)]
pub struct DescribeObject {
    pub object: u64,
}
method!("object/look", DescribeObject, DescribedObject);

#[derive(Deserialize)]
pub struct DescribedObject {
    pub package: bool,
}

/// Announces held objects that will be opened, without waiting for the network.
#[derive(Serialize)]
pub struct AnnounceObjects {
    pub objects: Vec<u64>,
}
method!("object/expect", AnnounceObjects, Nothing);

/// Returns descriptions of held objects for later processes. An empty description stands for none.
#[derive(Serialize)]
pub struct SaveObjects {
    pub objects: Vec<u64>,
}
method!("object/save", SaveObjects, SavedObjects);

#[derive(Deserialize)]
pub struct SavedObjects {
    pub saved: Vec<String>,
}

/// Returns files from descriptions of an earlier process. Uses the network only to check that they
/// are unchanged.
#[derive(Serialize)]
pub struct UseSaved {
    pub remote: u64,
    pub files: Vec<SavedFile>,
    pub check: bool,
}
method!("remote/saved", UseSaved, UsedSaved);

#[derive(Serialize)]
pub struct SavedFile {
    pub path: String,
    pub saved: String,
}

/// The files, in the order of the request.
#[derive(Deserialize)]
pub struct UsedSaved {
    pub entries: Vec<Entry>,
}

/// Stores content. It is passed beside the rc methods, together with the content.
#[derive(Serialize)]
pub struct Upload {
    pub remote: u64,
    pub path: String,
    pub seconds: i64,
    pub nanos: i32,
    pub defer: bool,
    pub identical: Option<String>,
    pub new: bool,
    pub package: bool,
    pub file: Option<SpoolFile>,
}

/// A file that holds content. The Go side closes the descriptor.
#[derive(Serialize)]
pub struct SpoolFile {
    pub descriptor: RawFd,
    pub size: u64,
}

/// Posts a text to a monitor.
#[derive(Serialize)]
pub struct Ping {
    pub url: String,
    pub text: String,
}
method!("notify/ping", Ping, Nothing);

/// The backends of this build, as rclone's `config/providers` lists them.
#[derive(Deserialize)]
pub struct Providers {
    pub providers: Vec<Provider>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Provider {
    pub name: String,
    pub options: Vec<BackendOption>,
}

/// An option of a backend.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BackendOption {
    /// The name.
    pub name: String,
    /// The explanation.
    pub help: String,
    /// The default as text.
    #[serde(rename = "DefaultStr")]
    pub default_text: String,
    /// The type in rclone's terms, such as `string` or `bool`.
    #[serde(rename = "Type")]
    pub kind: String,
}

/// The empty result of a method.
#[derive(Deserialize)]
pub struct Nothing {}
