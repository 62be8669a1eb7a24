//! The last runs of an account, in the state folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{StateFolder, private_files};

/// The number of runs that are stored for each account.
const MAX_RUNS: usize = 100;

/// The folder of the last runs of an account: a file for each, which is named after the time when
/// the run began. Processes that end at once write different files, so they need no lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs(PathBuf);

impl StateFolder {
    /// Returns the last runs of the accounts that share a session file.
    pub fn runs(&self, session_file: &Path) -> Runs {
        let key = session_file.file_stem().unwrap_or(session_file.as_os_str());
        Runs(self.path().join("runs").join(key))
    }
}

impl Runs {
    /// Stores a run and removes the oldest ones beyond the limit.
    ///
    /// # Errors
    /// Fails if the run cannot be stored.
    pub fn add(&self, began: SystemTime, run: &[u8]) -> io::Result<()> {
        private_files::make_folder(&self.0)?;
        let milliseconds = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        private_files::replace(&self.0.join(format!("{milliseconds:014}-{:07}.json", process::id())), run)?;
        let names = self.names()?;
        for old in &names[..names.len().saturating_sub(MAX_RUNS)] {
            // Another process may have removed it.
            let _ = fs::remove_file(self.0.join(old));
        }
        Ok(())
    }

    /// Returns the stored runs, the oldest first. Files that cannot be read are left out.
    ///
    /// # Errors
    /// Fails if the folder cannot be read.
    pub fn all(&self) -> io::Result<Vec<Vec<u8>>> {
        let names = self.names()?;
        Ok(names.iter().filter_map(|name| private_files::read(&self.0.join(name)).ok()).collect())
    }

    /// Removes the stored runs.
    ///
    /// # Errors
    /// Fails if they cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the names of the files, sorted by the time when the runs began.
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        // The names of temporary files have no such extension.
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
        names.sort_unstable();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_runs_are_stored_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs(folder.path().join("runs/key"));
        assert_eq!(runs.all().unwrap(), Vec::<Vec<u8>>::new());
        for second in 0..MAX_RUNS as u64 + 5 {
            runs.add(UNIX_EPOCH + Duration::from_secs(second), second.to_string().as_bytes()).unwrap();
        }
        let kept = runs.all().unwrap();
        assert_eq!((kept.len(), kept[0].as_slice(), kept[MAX_RUNS - 1].as_slice()), (MAX_RUNS, &b"5"[..], &b"104"[..]));
        runs.remove().unwrap();
        assert_eq!(runs.all().unwrap().len(), 0);
    }
}
