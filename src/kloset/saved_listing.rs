//! The listing of a folder that this machine has just changed, for its next process.
//!
//! iCloud's first listing of a folder after a change was measured to take 30 s. The next process uses
//! the saved listing instead, for a minute, if the folder still has as many items.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::task::spawn_blocking;
use xxhash_rust::xxh3::xxh3_128;

use super::journal::{LAG, now};
use crate::{account, drive::DrivePath};

/// The maximum number of files of a listing that is saved, because each change writes all of them.
pub const MAX_FILES: usize = 1000;
/// The maximum number of bytes that are read. Only a file of another program is larger.
const MAX_SIZE: u64 = 4 * 1024 * 1024;
/// The first word of the file. It changes with the format.
const VERSION: &str = "1";

/// A file of a folder: its name, and the backend's description of it.
pub type Described = (String, String);

/// The saved listing of one folder.
#[derive(Debug)]
pub struct SavedListing(Option<PathBuf>);

impl SavedListing {
    /// Returns the saved listing of the folder `path`. The listings are in `folder`, which need not
    /// exist. Without it, nothing is saved. `origin` distinguishes the drives of different accounts.
    pub fn new(folder: Option<&Path>, origin: &str, path: &DrivePath) -> Self {
        let name = format!("{:032x}.record", xxh3_128(format!("{origin}\0{path}").as_bytes()));
        Self(folder.map(|folder| folder.join(name)))
    }

    /// Writes the listing. If that fails, the next process lists the folder.
    pub async fn write(&self, files: Vec<Described>) {
        let Some(path) = self.0.clone() else {
            return;
        };
        let written = spawn_blocking(move || write(&path, &text_of(&files, now()))).await;
        if let Ok(Err(error)) = written {
            log::info!("the listing of a folder is not saved for later processes: {error}");
        }
    }

    /// Returns the files, if the listing is recent.
    pub async fn read(&self) -> Option<Vec<Described>> {
        let path = self.0.clone()?;
        let read = move || {
            let is_usable = fs::metadata(&path).is_ok_and(|data| data.is_file() && data.len() <= MAX_SIZE);
            let text = is_usable.then(|| fs::read_to_string(&path).ok()).flatten()?;
            files_of(&text, now())
        };
        spawn_blocking(read).await.ok().flatten()
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    account::make_folder(folder)?;
    let mut file = tempfile::Builder::new().prefix("new-").suffix(".record").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// Returns the content of the file: a line with the time and the number of files, and a line for each
/// file.
fn text_of(files: &[Described], now: Duration) -> String {
    let mut text = format!("{VERSION} {} {}\n", now.as_secs(), files.len());
    for (name, description) in files {
        text.push_str(&format!("{name} {description}\n"));
    }
    text
}

/// Returns the files of a listing that is recent and complete.
fn files_of(text: &str, now: Duration) -> Option<Vec<Described>> {
    let mut lines = text.lines();
    let mut words = lines.next()?.split(' ');
    let is_readable = words.next()? == VERSION;
    let age = now.checked_sub(Duration::from_secs(words.next()?.parse().ok()?))?;
    let count: usize = words.next()?.parse().ok()?;
    let described = |line: &str| line.split_once(' ').map(|(name, text)| (name.to_owned(), text.to_owned()));
    let files: Vec<Described> = lines.map(described).collect::<Option<_>>()?;
    (is_readable && age < LAG && files.len() == count).then_some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<Described> {
        [("a", r#"{"id":"x y"}"#), ("b", "{}")].map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec()
    }

    #[test]
    fn a_saved_listing_is_used_for_a_minute() {
        let at = |seconds: u64| Duration::from_secs(1_000_000 + seconds);
        let text = text_of(&files(), at(0));
        assert_eq!(files_of(&text, at(59)), Some(files()));
        assert_eq!(files_of(&text, at(60)), None);
        assert_eq!(files_of(&text, Duration::from_secs(1)), None, "from the future");
        assert_eq!(files_of(&text_of(&[], at(0)), at(0)), Some(Vec::new()));
    }

    #[test]
    fn a_damaged_listing_is_not_used() {
        let now = Duration::from_secs(1_000_000);
        let text = text_of(&files(), now);
        for damaged in ["", "1", "x", &text.replacen('1', "2", 1), &text[..text.len() - 5], &text.replace("b {}", "b")]
        {
            assert_eq!(files_of(damaged, now), None, "{damaged}");
        }
    }

    #[tokio::test]
    async fn processes_share_a_saved_listing() {
        let folder = tempfile::tempdir().unwrap();
        let saved = |origin| SavedListing::new(Some(folder.path()), origin, &DrivePath::top());
        saved("a").write(files()).await;
        assert_eq!(saved("a").read().await, Some(files()));
        assert_eq!(saved("b").read().await, None);
        assert_eq!(SavedListing::new(None, "a", &DrivePath::top()).read().await, None);
    }
}
