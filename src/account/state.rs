//! The folder that accounts and sessions are kept in.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Account, Error};

/// Names the state folder, before the XDG base directories do.
pub const STATE_VARIABLE: &str = "PLAKAR_ICLOUD_STATE_DIR";

/// The state folder. It need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State(PathBuf);

impl State {
    /// The folder that is named, else that of the environment.
    ///
    /// # Errors
    /// [`Error::Homeless`] if nothing names one.
    pub fn locate(named: Option<&Path>) -> Result<Self, Error> {
        let of_variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(folder) = named.map(Path::to_owned).or_else(|| of_variable(STATE_VARIABLE)) {
            // It goes into plakar's configuration, which works from anywhere.
            return Ok(Self(std::path::absolute(&folder).unwrap_or(folder)));
        }
        let base = of_variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
        let base = base.or_else(|| of_variable("HOME").map(|home| home.join(".local/state")));
        Ok(Self(base.ok_or(Error::Homeless)?.join("plakar-icloud")))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether a process with another environment would look elsewhere.
    pub fn must_be_named(&self) -> bool {
        let usual = env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state/plakar-icloud"));
        usual.as_deref() != Some(self.path())
    }

    /// The file that keeps the session of an Apple ID. It is the same for every
    /// account and every imported configuration that has the same two.
    pub fn session_file(&self, apple_id: &str, client_id: &str) -> PathBuf {
        let key = format!("{}\0{client_id}", apple_id.to_lowercase());
        self.0.join("sessions").join(format!("{:032x}.json", xxhash_rust::xxh3::xxh3_128(key.as_bytes())))
    }

    /// The folder for small files that every process of a store reads first.
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

    /// All accounts, by name.
    ///
    /// # Errors
    /// If the folder or one of them cannot be read.
    pub fn accounts(&self) -> Result<Vec<(String, Account)>, Error> {
        let folder = self.0.join("accounts");
        let failed = |error| Error::File { doing: "cannot list", path: folder.clone(), error };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut accounts = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".json")) {
                accounts.push((name.to_owned(), self.account(name)?));
            }
        }
        accounts.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(accounts)
    }

    /// The account of a name.
    ///
    /// # Errors
    /// [`Error::Unknown`] if there is none.
    pub fn account(&self, name: &str) -> Result<Account, Error> {
        let path = self.account_file(name)?;
        match fs::read(&path) {
            Ok(text) => Account::parse(&text).map_err(|why| Error::Damaged { path, why }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let names: Vec<String> = self.accounts()?.into_iter().map(|(name, _)| name).collect();
                let known =
                    if names.is_empty() { "none yet".to_owned() } else { format!("only: {}", names.join(", ")) };
                Err(Error::Unknown { name: name.to_owned(), folder: self.0.clone(), known })
            }
            Err(error) => Err(Error::File { doing: "cannot read", path, error }),
        }
    }

    /// The account of a name, or the only one.
    ///
    /// # Errors
    /// If there is none, or the choice is not clear.
    pub fn choose(&self, name: Option<&str>) -> Result<(String, Account), Error> {
        if let Some(name) = name {
            return Ok((name.to_owned(), self.account(name)?));
        }
        let mut accounts = self.accounts()?;
        match accounts.len() {
            0 => Err(Error::None(self.0.clone())),
            1 => Ok(accounts.remove(0)),
            _ => Err(Error::Several(accounts.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", "))),
        }
    }

    /// Stores an account, in place of what its name stood for.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, name: &str, account: &Account) -> Result<(), Error> {
        let path = self.account_file(name)?;
        self.replace(&path, account.text().as_bytes())
    }

    /// Removes an account; one that does not exist is removed already.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.account_file(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::File { doing: "cannot remove", path, error })
            }
            _ => Ok(()),
        }
    }

    /// Whether something can be written to it.
    ///
    /// # Errors
    /// If not.
    pub fn check_writable(&self) -> Result<(), Error> {
        let probe = self.0.join(".probe");
        self.replace(&probe, b"")?;
        fs::remove_file(&probe).map_err(|error| Error::File { doing: "cannot remove", path: probe, error })
    }

    /// Writes a file so that a reader sees the old or the new one, and nobody
    /// but the owner either.
    fn replace(&self, path: &Path, content: &[u8]) -> Result<(), Error> {
        let folder = path.parent().unwrap_or(&self.0);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| Error::File { doing: "cannot make", path: folder.to_owned(), error })?;
        let failed = |error| Error::File { doing: "cannot write", path: path.to_owned(), error };
        // Mode 0600 is its own.
        let mut next = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        io::Write::write_all(&mut next, content).map_err(failed)?;
        next.as_file().sync_all().map_err(failed)?;
        next.persist(path).map(drop).map_err(|error| failed(error.error))
    }

    /// Puts a mark that can be put once. Answers whether this call put it.
    pub(super) fn mark(&self, name: &str) -> bool {
        let folder = self.0.join("marks");
        // Where nothing can be written, nothing is remembered: rather say a
        // thing twice than never.
        let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        let put = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name));
        !matches!(put, Err(error) if error.kind() == io::ErrorKind::AlreadyExists)
    }

    /// Puts a mark for a run. Answers whether this call put it: not if the same
    /// run has put it before, or any run within `same_run`.
    pub(super) fn mark_of_run(&self, name: &str, run: &str, same_run: Duration) -> bool {
        let path = self.0.join("marks").join(name);
        let put_by_this_run = || {
            let put_at = fs::metadata(&path)?.modified()?;
            let recent = put_at.elapsed().is_ok_and(|since| since < same_run);
            io::Result::Ok(recent || (!run.is_empty() && fs::read_to_string(&path)? == run))
        };
        if put_by_this_run().unwrap_or(false) {
            return false;
        }
        // As above: rather twice than never.
        let _ = self.replace(&path, run.as_bytes());
        true
    }

    /// The file for what commands of `on_event` write to stderr: the last one's.
    pub(super) fn log_of_events(&self) -> Result<fs::File, Error> {
        let path = self.0.join("on_event.log");
        self.replace(&path, b"")?;
        let opened = fs::OpenOptions::new().append(true).open(&path);
        opened.map_err(|error| Error::File { doing: "cannot open", path, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_belongs_to_an_apple_id_and_a_client() {
        let state = State(PathBuf::from("/state"));
        assert_eq!(state.session_file("User@example.com", ""), state.session_file("user@example.com", ""));
        assert_ne!(state.session_file("user@example.com", ""), state.session_file("user@example.com", "other"));
        assert_ne!(state.session_file("user@example.com", ""), state.session_file("other@example.com", ""));
    }

    #[test]
    fn a_folder_stays_the_same_wherever_it_is_used_from() {
        let here = env::current_dir().unwrap();
        assert_eq!(State::locate(Some(Path::new("state"))).unwrap().path(), here.join("state"));
        assert_eq!(State::locate(Some(Path::new("/state"))).unwrap().path(), Path::new("/state"));
    }

    #[test]
    fn a_run_puts_a_mark_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = State(folder.path().to_owned());
        let never = Duration::ZERO;
        assert!(state.mark_of_run("m", "run 1", never));
        assert!(!state.mark_of_run("m", "run 1", never), "the same run");
        assert!(state.mark_of_run("m", "run 2", never), "another run");
        assert!(!state.mark_of_run("m", "run 3", Duration::from_secs(3600)), "another process of the same run");
        assert!(state.mark_of_run("other", "run 2", never), "another mark");
    }

    #[test]
    fn a_name_is_no_path() {
        let state = State(PathBuf::from("/state"));
        for name in ["", "../x", "a/b", ".hidden", "-flag", "a b"] {
            assert!(matches!(state.account_file(name), Err(Error::Name(_))), "{name}");
        }
        assert!(state.account_file("work-2.old").is_ok());
    }
}
