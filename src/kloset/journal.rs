//! A journal of the recent changes of a kloset by the processes of this machine.
//!
//! A listing may lag behind a change, and a deletion may continue after plakar has got the
//! response that it is done. The journal is a file in the state folder that every process reads and appends to,
//! so that later processes take these changes into account. A process that cannot use it works as
//! if it were the only process on the machine.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rustix::fs::{FlockOperation, OFlags, flock};
use tokio::task::spawn_blocking;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    layout::{Mac, Resource},
    process::ProcessId,
};
use crate::{account, drive::DrivePath};

/// How long a listing may take to show a change. iCloud's listings are usually up to date at once,
/// but Apple does not guarantee it.
pub const LAG: Duration = Duration::from_secs(60);
/// How long plakar respects a lock that is not refreshed (K/repository/lock.go).
const LOCK_LIFE: Duration = Duration::from_mins(10);
/// The size in bytes from which the file is rewritten without its expired lines.
const REWRITE_SIZE: u64 = 64 * 1024;
/// The maximum number of bytes that are read. Only a file of another program is larger.
const MAX_SIZE: u64 = 16 * 1024 * 1024;
/// The first word of each kind of line.
const CREATED: &str = "created";
const STORED: &str = "stored";
const DELETED: &str = "deleted";
const LOCKED: &str = "locked";

/// A change of a kloset.
#[derive(Debug, Clone)]
pub enum Change {
    /// The kloset was created.
    Created(Created),
    /// An object was stored.
    Stored(Resource, Mac),
    /// An object was deleted or will be deleted.
    Deleted(Resource, Mac),
    /// This process stored a lock.
    Locked(Mac),
}

/// The creation of a kloset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The configuration.
    pub configuration: Bytes,
    /// The backend's description of the file that contains it, or nothing.
    pub file: String,
}

/// The changes that are still relevant.
#[derive(Debug, Default)]
pub struct Recent {
    /// The creation of the kloset, if that was recent.
    pub created: Option<Created>,
    /// Objects that were stored recently.
    pub stored: HashSet<(Resource, Mac)>,
    /// Objects that were deleted recently, and all locks that were deleted.
    pub deleted: HashSet<(Resource, Mac)>,
    locked: HashMap<Mac, ProcessId>,
}

impl Recent {
    /// Returns the locks of processes that ended without deleting them. The command that holds such
    /// a lock has ended too: plakar does not restart its connector (P/plugins/connect.go).
    pub fn abandoned_locks(&self) -> impl Iterator<Item = Mac> {
        self.locked.iter().filter(|(_, owner)| owner.has_ended()).map(|(mac, _)| *mac)
    }

    /// Applies a line. Returns none if the line has expired or is malformed.
    fn apply(&mut self, line: &str, now: Duration) -> Option<()> {
        let mut words = line.split(' ');
        let age = now.checked_sub(Duration::from_secs(words.next()?.parse().ok()?))?;
        let (change, mut next) = (words.next()?, || words.next());
        let is_fresh = |life: Duration| (age < life).then_some(());
        match change {
            CREATED => {
                is_fresh(LAG)?;
                let mut decoded = || hex::decode(next()?).ok();
                let (configuration, file) = (decoded()?.into(), String::from_utf8(decoded()?).ok()?);
                self.created = Some(Created { configuration, file });
            }
            LOCKED => {
                is_fresh(LOCK_LIFE)?;
                let (mac, owner) = (Mac::from_name(next()?)?, ProcessId::parse(next()?)?);
                self.deleted.remove(&(Resource::Lock, mac));
                self.locked.insert(mac, owner);
            }
            STORED | DELETED => {
                let folder = next()?;
                let resource = Resource::ALL.into_iter().find(|resource| resource.folder() == folder)?;
                let object = (resource, Mac::from_name(next()?)?);
                if change == STORED {
                    is_fresh(LAG)?;
                    self.deleted.remove(&object);
                    self.stored.insert(object);
                } else {
                    is_fresh(if resource == Resource::Lock { LOCK_LIFE } else { LAG })?;
                    self.stored.remove(&object);
                    self.locked.remove(&object.1);
                    self.deleted.insert(object);
                }
            }
            _ => return None,
        }
        Some(())
    }
}

/// The journal of one kloset. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal(Option<PathBuf>);

impl Journal {
    /// Returns the journal of a kloset in a folder, which need not exist. Without a folder, nothing
    /// is recorded. `origin` distinguishes the drives of different accounts.
    pub fn new(folder: Option<&Path>, origin: &str, top: &DrivePath) -> Self {
        let name = format!("{:032x}.journal", xxh3_128(format!("{origin}\0{top}").as_bytes()));
        Self(folder.map(|folder| folder.join(name)))
    }

    /// Appends changes. If that fails, later processes rely on the listings alone.
    pub async fn append(&self, changes: Vec<Change>) {
        let Some(path) = self.0.clone().filter(|_| !changes.is_empty()) else {
            return;
        };
        let written = spawn_blocking(move || write(&path, &changes)).await;
        if let Ok(Err(error)) = written {
            log::info!("recent changes of the kloset are not recorded for later processes: {error}");
        }
    }

    /// Returns the recent changes.
    pub async fn recent(&self) -> Recent {
        let Some(path) = self.0.clone() else {
            return Recent::default();
        };
        let read = spawn_blocking(move || {
            let file = open(OpenOptions::new().read(true), &path)?;
            flock(&file, FlockOperation::LockShared)?;
            read(&file)
        });
        match read.await {
            Ok(Ok(text)) => parse(&text, now()).0,
            _ => Recent::default(),
        }
    }
}

fn write(path: &Path, changes: &[Change]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        account::make_folder(folder)?;
    }
    let mut file = open(OpenOptions::new().read(true).append(true).create(true).mode(0o600), path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    if file.metadata()?.len() > REWRITE_SIZE {
        let (_, fresh) = parse(&read(&file)?, now());
        file.set_len(0)?;
        file.write_all(fresh.as_bytes())?;
    }
    let lines: String = changes.iter().map(|change| line(change, now())).collect();
    file.write_all(lines.as_bytes())
}

/// Opens a regular file. Anything else, such as a FIFO, is an error, so that the open does not
/// block.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

fn read(mut file: &File) -> io::Result<String> {
    let mut text = Vec::new();
    file.rewind()?;
    file.take(MAX_SIZE).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Returns the changes that are still relevant, and the lines that they were read from.
fn parse(text: &str, now: Duration) -> (Recent, String) {
    let (mut recent, mut fresh) = (Recent::default(), String::new());
    for line in text.lines() {
        if recent.apply(line, now).is_some() {
            fresh.push_str(line);
            fresh.push('\n');
        }
    }
    (recent, fresh)
}

fn line(change: &Change, now: Duration) -> String {
    let seconds = now.as_secs();
    match change {
        Change::Created(created) => {
            format!("{seconds} {CREATED} {} {}\n", hex::encode(&created.configuration), hex::encode(&created.file))
        }
        Change::Stored(resource, mac) => format!("{seconds} {STORED} {} {mac}\n", resource.folder()),
        Change::Deleted(resource, mac) => format!("{seconds} {DELETED} {} {mac}\n", resource.folder()),
        Change::Locked(mac) => format!("{seconds} {LOCKED} {mac} {}\n", ProcessId::own()),
    }
}

/// Returns the time since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKFILE: (Resource, Mac) = (Resource::Packfile, Mac::of(1));
    const LOCK: (Resource, Mac) = (Resource::Lock, Mac::of(2));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn the_last_change_of_an_object_counts() {
        let (stored, deleted) = (Change::Stored(PACKFILE.0, PACKFILE.1), Change::Deleted(PACKFILE.0, PACKFILE.1));
        let text = line(&stored, at(0)) + &line(&deleted, at(1));
        let (recent, _) = parse(&text, at(2));
        assert!(recent.deleted.contains(&PACKFILE) && recent.stored.is_empty());
        let (recent, _) = parse(&(text + &line(&stored, at(2))), at(2));
        assert!(recent.stored.contains(&PACKFILE) && recent.deleted.is_empty());
    }

    #[test]
    fn changes_expire_and_deletions_of_locks_expire_later() {
        let created = Created { configuration: Bytes::from_static(b"config"), file: "a file".to_owned() };
        let text = line(&Change::Created(created.clone()), at(0))
            + &line(&Change::Deleted(PACKFILE.0, PACKFILE.1), at(0))
            + &line(&Change::Deleted(LOCK.0, LOCK.1), at(0));
        let (recent, fresh) = parse(&text, at(59));
        assert_eq!(recent.created, Some(created));
        assert_eq!((recent.deleted.len(), fresh.lines().count()), (2, 3));
        let (recent, fresh) = parse(&text, at(60));
        assert_eq!(recent.created, None);
        assert!(recent.deleted.contains(&LOCK) && fresh.lines().count() == 1);
        assert!(parse(&text, at(600)).0.deleted.is_empty());
        assert!(parse(&text, Duration::from_secs(1)).0.deleted.is_empty(), "from the future");
    }

    #[test]
    fn a_lock_is_abandoned_when_its_process_has_ended() {
        let own = line(&Change::Locked(LOCK.1), at(0));
        assert_eq!(parse(&own, at(1)).0.abandoned_locks().count(), 0);
        let number = std::process::id().to_string();
        let ended = own.replace(&format!("-{number}\n"), &format!("-{}\n", i32::MAX));
        assert_eq!(parse(&ended, at(1)).0.abandoned_locks().collect::<Vec<_>>(), [LOCK.1]);
        let deleted = ended + &line(&Change::Deleted(LOCK.0, LOCK.1), at(1));
        assert_eq!(parse(&deleted, at(1)).0.abandoned_locks().count(), 0);
    }

    #[test]
    fn malformed_lines_are_skipped() {
        let name = Mac::of(1).to_string();
        for text in ["", "x", "1000000 stored", "1000000 stored x y", &format!("1000000 stored packfiles {name}0")] {
            let (recent, fresh) = parse(text, at(0));
            assert!(recent.stored.is_empty() && fresh.is_empty(), "{text}");
        }
    }

    #[tokio::test]
    async fn processes_share_a_journal() {
        let folder = tempfile::tempdir().unwrap();
        let journal = |origin| Journal::new(Some(folder.path()), origin, &DrivePath::top());
        for _ in 0..20 {
            let changes = (0..100).map(|n| Change::Stored(Resource::Packfile, Mac::of(n))).collect();
            journal("a").append(changes).await;
        }
        let recent = journal("a").recent().await;
        assert_eq!(recent.stored.len(), 100);
        assert!(journal("b").recent().await.stored.is_empty());
        assert!(Journal::new(None, "a", &DrivePath::top()).recent().await.stored.is_empty());
    }
}
