//! The state folder, which holds the accounts and sessions.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Account, Error, private_files};

/// The variable that names the state folder. It takes precedence over the XDG base directories.
pub const STATE_VARIABLE: &str = "PLAKAR_ICLOUD_STATE_DIR";

/// The state folder. It need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFolder(PathBuf);

/// An account and its name.
type Named = (String, Account);
/// A file in the folder of the accounts that is not an account, and the reason.
type Damaged = (PathBuf, Error);

impl StateFolder {
    /// Returns the named folder, or otherwise the folder that the environment defines.
    ///
    /// # Errors
    /// Returns [`Error::NoStateFolder`] if there is none, and [`Error::Unsafe`] if other users can write
    /// to it.
    pub fn locate(named: Option<&Path>) -> Result<Self, Error> {
        let of_variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(folder) = named.map(Path::to_owned).or_else(|| of_variable(STATE_VARIABLE)) {
            // The path is written into plakar's configuration, so it must not depend on the current
            // folder.
            return Self(std::path::absolute(&folder).unwrap_or(folder)).checked();
        }
        // "All paths set in these environment variables must be absolute. If an
        // implementation encounters a relative path in any of these variables it
        // should consider the path invalid and ignore it." (XDG Base Directory
        // Specification)
        let absolute = |name| {
            let path = of_variable(name)?;
            if path.is_relative() {
                warn_of_relative(name);
            }
            Some(path).filter(|path| path.is_absolute())
        };
        let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        Self(base.ok_or(Error::NoStateFolder)?.join("plakar-icloud")).checked()
    }

    /// Refuses a folder that other users could write to.
    fn checked(self) -> Result<Self, Error> {
        match [self.0.clone(), self.0.join("accounts")]
            .into_iter()
            .find_map(|path| Some((private_files::unsafe_folder(&path)?, path)))
        {
            Some((why, path)) => Err(Error::Unsafe { path, why }),
            None => Ok(self),
        }
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reports whether a process with a different environment would use another folder.
    pub fn must_be_named(&self) -> bool {
        let usual = env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state/plakar-icloud"));
        usual.as_deref() != Some(self.path())
    }

    /// Returns the session file of an Apple ID and a client id. All accounts and imported
    /// configurations with the same two share it.
    pub fn session_file(&self, apple_id: &str, client_id: &str) -> PathBuf {
        let key = format!("{}\0{client_id}", apple_id.to_lowercase());
        self.0.join("sessions").join(format!("{:032x}.json", xxhash_rust::xxh3::xxh3_128(key.as_bytes())))
    }

    /// Returns the folder of small files: copies, journals, records and marks, which save requests, and
    /// lists of the items that have temporary names.
    pub fn kept_folder(&self) -> PathBuf {
        self.0.join("kept")
    }

    fn account_file(&self, name: &str) -> Result<PathBuf, Error> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(good) || !name.as_bytes()[0].is_ascii_alphanumeric()
        {
            return Err(Error::Name(name.to_owned()));
        }
        Ok(self.0.join("accounts").join(format!("{name}.json")))
    }

    /// Returns all accounts with their names. Files that are not accounts are skipped with a
    /// warning.
    ///
    /// # Errors
    /// Fails if the folder cannot be read.
    pub fn accounts(&self) -> Result<Vec<(String, Account)>, Error> {
        static WARNED_OF: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
        let (accounts, damaged) = self.scan()?;
        for (path, error) in damaged {
            if WARNED_OF.lock().unwrap_or_else(PoisonError::into_inner).insert(path) {
                log::warn!("a file of the accounts is ignored: {error}");
            }
        }
        Ok(accounts)
    }

    /// Reads the folder of the accounts. Returns the accounts, and the files that are not accounts.
    fn scan(&self) -> Result<(Vec<Named>, Vec<Damaged>), Error> {
        let folder = self.0.join("accounts");
        let failed = |error| Error::File { operation: "cannot list", path: folder.clone(), error };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
            entries => entries.map_err(failed)?,
        };
        let (mut accounts, mut damaged) = (Vec::new(), Vec::new());
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix(".json"))
            else {
                // For example, a temporary file that is being written.
                continue;
            };
            match self.account_file(name).and_then(|path| read(&path)) {
                Ok(account) => accounts.push((name.to_owned(), account)),
                Err(Error::Name(_)) => {
                    let why = "its name is not valid for an account".to_owned();
                    damaged.push((path.clone(), Error::Damaged { path, why }));
                }
                Err(error) => damaged.push((path, error)),
            }
        }
        accounts.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok((accounts, damaged))
    }

    /// Returns an account by name.
    ///
    /// # Errors
    /// Returns [`Error::Unknown`] if it does not exist.
    pub fn account(&self, name: &str) -> Result<Account, Error> {
        match read(&self.account_file(name)?) {
            Err(Error::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                let names: Vec<String> = self.accounts()?.into_iter().map(|(name, _)| name).collect();
                let known =
                    if names.is_empty() { "none yet".to_owned() } else { format!("only: {}", names.join(", ")) };
                Err(Error::Unknown { name: name.to_owned(), folder: self.0.clone(), known })
            }
            account => account,
        }
    }

    /// Returns the named account, or the only one if no name is given.
    ///
    /// # Errors
    /// Fails if there is no account or the choice is ambiguous.
    pub fn choose(&self, name: Option<&str>) -> Result<(String, Account), Error> {
        if let Some(name) = name {
            return Ok((name.to_owned(), self.account(name)?));
        }
        let mut accounts = self.accounts()?;
        match accounts.len() {
            // If no account can be read, the error of a damaged one is more precise.
            0 if let Some((_, error)) = self.scan()?.1.into_iter().next() => Err(error),
            0 => Err(Error::NoAccount(self.0.clone())),
            1 => Ok(accounts.remove(0)),
            _ => Err(Error::Several(accounts.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", "))),
        }
    }

    /// Stores an account and replaces an existing one of the same name.
    ///
    /// # Errors
    /// Fails if it cannot be written.
    pub fn save(&self, name: &str, account: &Account) -> Result<(), Error> {
        let path = self.account_file(name)?;
        let text =
            account.text().map_err(|error| Error::File { operation: "cannot write", path: path.clone(), error })?;
        self.replace(&path, text.as_bytes())
    }

    /// Removes an account. Succeeds if it does not exist.
    ///
    /// # Errors
    /// Fails if it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.account_file(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::File { operation: "cannot remove", path, error })
            }
            _ => Ok(()),
        }
    }

    /// Checks that files can be written to the folder.
    ///
    /// # Errors
    /// Fails if they cannot.
    pub fn check_writable(&self) -> Result<(), Error> {
        let failed = |error| Error::File { operation: "cannot write to", path: self.0.clone(), error };
        private_files::make_folder(&self.0).map_err(failed)?;
        // The file has a unique name, because several processes may check at once.
        let mut probe = tempfile::NamedTempFile::new_in(&self.0).map_err(failed)?;
        io::Write::write_all(&mut probe, b"probe").map_err(failed)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> Result<(), Error> {
        let folder = path.parent().unwrap_or(&self.0);
        private_files::make_folder(folder).map_err(|error| Error::File {
            operation: "cannot create",
            path: folder.to_owned(),
            error,
        })?;
        private_files::replace(path, content).map_err(|error| Error::File {
            operation: "cannot write",
            path: path.to_owned(),
            error,
        })
    }

    /// Sets a mark. Reports whether this call set it: a mark can be set only once.
    pub(super) fn mark(&self, name: &str) -> bool {
        let folder = self.0.join("marks");
        // If the mark cannot be written, the event is reported again rather than never.
        let _ = private_files::make_folder(&folder);
        let path = folder.join(name);
        let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        if created.is_ok() {
            let _ = private_files::inherit_owner(&folder, &path);
        }
        !matches!(created, Err(error) if error.kind() == io::ErrorKind::AlreadyExists)
    }

    /// Sets the mark of a run. Reports whether this call has set it: it does not if the same run
    /// has already set it, or any run has within the time `same_run`.
    pub(super) fn mark_of_run(&self, name: &str, run: &str, same_run: Duration) -> bool {
        let path = self.0.join("marks").join(name);
        let was_set_by_this_run = || {
            let set_at = fs::metadata(&path)?.modified()?;
            let recent = set_at.elapsed().is_ok_and(|since| since < same_run);
            io::Result::Ok(recent || (!run.is_empty() && fs::read_to_string(&path)? == run))
        };
        if was_set_by_this_run().unwrap_or(false) {
            return false;
        }
        // If the mark cannot be written, the event is reported again rather than never.
        let _ = self.replace(&path, run.as_bytes());
        true
    }

    /// Opens the file for the stderr of commands of `on_event`. It holds the output of the last
    /// command only.
    pub(super) fn log_of_events(&self) -> Result<fs::File, Error> {
        let path = self.0.join("on_event.log");
        self.replace(&path, b"")?;
        let opened = fs::OpenOptions::new().append(true).open(&path);
        opened.map_err(|error| Error::File { operation: "cannot open", path, error })
    }
}

/// Reads the file of an account.
fn read(path: &Path) -> Result<Account, Error> {
    let damaged = |why| Error::Damaged { path: path.to_owned(), why };
    let text = private_files::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => damaged("it is a link to a file that is missing".to_owned()),
        io::ErrorKind::Other => damaged(error.to_string()),
        _ => Error::File { operation: "cannot read", path: path.to_owned(), error },
    })?;
    Account::parse(&text).map_err(damaged)
}

/// Warns once that a variable is ignored.
fn warn_of_relative(name: &str) {
    static WARNED_OF: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if WARNED_OF.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
        log::warn!("{name} is ignored: it must be an absolute path");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_belongs_to_an_apple_id_and_a_client() {
        let state = StateFolder(PathBuf::from("/state"));
        assert_eq!(state.session_file("User@example.com", ""), state.session_file("user@example.com", ""));
        assert_ne!(state.session_file("user@example.com", ""), state.session_file("user@example.com", "other"));
        assert_ne!(state.session_file("user@example.com", ""), state.session_file("other@example.com", ""));
    }

    #[test]
    fn the_path_of_the_folder_is_absolute() {
        let here = env::current_dir().unwrap();
        assert_eq!(StateFolder::locate(Some(Path::new("state"))).unwrap().path(), here.join("state"));
        assert_eq!(StateFolder::locate(Some(Path::new("/state"))).unwrap().path(), Path::new("/state"));
    }

    #[test]
    fn a_run_sets_a_mark_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder(folder.path().to_owned());
        let never = Duration::ZERO;
        assert!(state.mark_of_run("m", "run 1", never));
        assert!(!state.mark_of_run("m", "run 1", never), "the same run");
        assert!(state.mark_of_run("m", "run 2", never), "another run");
        assert!(!state.mark_of_run("m", "run 3", Duration::from_secs(3600)), "another process of the same run");
        assert!(state.mark_of_run("other", "run 2", never), "another mark");
    }

    #[test]
    fn several_processes_may_check_a_folder_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder(folder.path().to_owned());
        let check = || (0..200).all(|_| state.check_writable().is_ok());
        std::thread::scope(|scope| {
            let checks: Vec<_> = (0..4).map(|_| scope.spawn(check)).collect();
            assert!(checks.into_iter().all(|check| check.join().unwrap()));
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn names_that_are_paths_are_refused() {
        let state = StateFolder(PathBuf::from("/state"));
        for name in ["", "../x", "a/b", ".hidden", "-flag", "a b"] {
            assert!(matches!(state.account_file(name), Err(Error::Name(_))), "{name}");
        }
        assert!(state.account_file("work-2.old").is_ok());
    }
}
