//! Accounts: names for Apple IDs that somebody has signed in to, in a folder of
//! this program's own, so that plakar's configuration holds no secret.
//!
//! The state folder has one file an account, which this module owns: which
//! Apple ID, and how the password comes. The sessions are files of their own
//! below `sessions`, owned by the Go side (package icloud): they change at every
//! renewal, by any of the processes that share them, and serve accounts and
//! configurations imported from rclone alike.

pub mod advice;
pub mod doctor;

mod file;
mod forecast;
mod resolve;

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

pub use file::Account;
pub use forecast::{Forecast, test_command};
pub use resolve::{Access, resolve};
use tokio::process::Command;

use crate::{
    rclone::{Rclone, Sections, account::Identity},
    secret,
};

/// Names the state folder, before the XDG base directories do.
pub const STATE_VARIABLE: &str = "PLAKAR_ICLOUD_STATE_DIR";

/// How long a command for the password may take.
const COMMAND_TIME: Duration = Duration::from_secs(60);

/// Something is wrong with the state folder or an account in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No place for the folder is known.
    #[error("there is no place for the accounts: neither XDG_STATE_HOME nor HOME is set; set state_dir=/a/folder")]
    Homeless,
    /// A file or folder cannot be used.
    #[error("{doing} {}: {error}; the accounts need a folder that this user can read and write", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file of an account that is none.
    #[error("{} is no account file: {why}; remove it and sign in again", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A name that cannot name a file.
    #[error("account name {0:?} cannot be used: give letters, digits, and -_. after the first")]
    Name(String),
    /// No account of that name.
    #[error("there is no account {name:?} in {}; {known}: run plakar-icloud login {name}", folder.display())]
    Unknown {
        /// Which.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// The names that there are.
        known: String,
    },
    /// No account at all.
    #[error("nobody has signed in (no account in {}): run plakar-icloud login", .0.display())]
    None(PathBuf),
    /// More than one, and none is named.
    #[error("there are several accounts ({0}): say which with account=NAME")]
    Several(String),
    /// The account is of another Apple ID than the configuration.
    #[error("account {0:?} is of another Apple ID than option apple_id: leave one of them out")]
    OtherAppleId(String),
    /// The command for the password gave none.
    #[error("the password command gave no password: {0}")]
    PasswordCommand(String),
}

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
            return Ok(Self(folder));
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
                let known = if names.is_empty() { "there is none yet".to_owned() } else { names.join(", ") + " exist" };
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
    fn mark(&self, name: &str) -> bool {
        let folder = self.0.join("marks");
        // Where nothing can be written, nothing is remembered: rather say a
        // thing twice than never.
        let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        let put = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name));
        !matches!(put, Err(error) if error.kind() == io::ErrorKind::AlreadyExists)
    }
}

impl Account {
    /// As rclone knows it.
    pub fn identity(&self, state: &State) -> Identity {
        Identity {
            apple_id: self.apple_id.clone(),
            client_id: self.client_id.clone(),
            session_file: state.session_file(&self.apple_id, &self.client_id).to_string_lossy().into_owned(),
        }
    }
}

/// Runs a command for a password: the first line that it prints is it.
///
/// # Errors
/// If the command fails, prints nothing, or takes a minute.
pub async fn password_of(command: &str) -> Result<String, Error> {
    let failed = |why: String| Error::PasswordCommand(why);
    let run = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(COMMAND_TIME, run).await {
        Err(_) => return Err(failed(format!("it did not end within {} seconds", COMMAND_TIME.as_secs()))),
        Ok(output) => output.map_err(|error| failed(format!("it cannot be run: {error}")))?,
    };
    if !output.status.success() {
        return Err(failed(format!("it ended with {}", output.status)));
    }
    let text = String::from_utf8(output.stdout).map_err(|_| failed("what it printed is not UTF-8".to_owned()))?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(failed("it printed nothing".to_owned()));
    }
    secret::conceal(password);
    Ok(password.to_owned())
}

/// Sections of a configuration that open an account, and the one to open.
///
/// # Errors
/// If the account cannot be found or its password not be had.
pub async fn sections(state: &State, name: &str) -> Result<(&'static str, Sections), Error> {
    const SECTION: &str = "account";
    let mut options = BTreeMap::from([("type".to_owned(), "icloud".to_owned())]);
    let access = resolve(&mut options, Some(name), Some(state.path()))?;
    if let Some(access) = access
        && let Some(password) = access.commanded_password().await?
    {
        options.insert("password".to_owned(), password);
    }
    Ok((SECTION, Sections::from([(SECTION.to_owned(), options)])))
}

impl Access {
    /// The password from its command, if that is where it comes from, in
    /// rclone's obscured form.
    ///
    /// # Errors
    /// If the command gives none.
    pub async fn commanded_password(&self) -> Result<Option<String>, Error> {
        let Some(command) = &self.password_command else {
            return Ok(None);
        };
        let password = password_of(command).await?;
        let obscured = Rclone::start().obscure(&password).await;
        obscured.map(Some).map_err(|error| Error::PasswordCommand(error.text))
    }
}

/// Whether a text is of the form `xxxx-xxxx-xxxx-xxxx` that Apple gives
/// app-specific passwords. The web sign-in, and with it iCloud Drive, takes none.
pub fn is_app_specific(password: &str) -> bool {
    let groups: Vec<&str> = password.trim().split('-').collect();
    let group = |group: &&str| group.len() == 4 && group.bytes().all(|byte| byte.is_ascii_lowercase());
    groups.len() == 4 && groups.iter().all(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_specific_passwords_are_known_by_their_form() {
        assert!(is_app_specific("abcd-efgh-ijkl-mnop"));
        for other in
            ["correct horse", "abcd-efgh-ijkl", "Abcd-efgh-ijkl-mnop", "abcd-efgh-ijkl-mno1", "abcde-efgh-ijkl-mnop"]
        {
            assert!(!is_app_specific(other), "{other}");
        }
    }

    #[test]
    fn a_session_belongs_to_an_apple_id_and_a_client() {
        let state = State(PathBuf::from("/state"));
        assert_eq!(state.session_file("User@example.com", ""), state.session_file("user@example.com", ""));
        assert_ne!(state.session_file("user@example.com", ""), state.session_file("user@example.com", "other"));
        assert_ne!(state.session_file("user@example.com", ""), state.session_file("other@example.com", ""));
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
