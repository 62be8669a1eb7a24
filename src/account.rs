//! Accounts: names for Apple IDs that somebody has signed in to, in a folder of
//! this program's own, so that plakar's configuration holds no secret.
//!
//! The state folder has one file an account, which this module owns: which
//! Apple ID, and how the password comes. The sessions are files of their own
//! below `sessions`, owned by the Go side (package icloud): they change at every
//! renewal, by any of the processes that share them, and serve accounts and
//! configurations imported from rclone alike.

pub mod advice;
mod event;
mod file;
mod files;
mod forecast;
mod resolve;
mod state;

use std::{collections::BTreeMap, io, path::PathBuf};

pub use event::{Counts, OnEvent, RunEvent, test_command};
pub use file::Account;
pub use forecast::Forecast;
pub use resolve::{Access, resolve};
pub use state::{STATE_VARIABLE, State};

use crate::rclone::{Sections, account::Identity};

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
    /// A folder that other users could put something into.
    #[error("the state folder {} cannot hold secrets: {why}; or set state_dir to another folder", path.display())]
    Unsafe {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
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
    #[error(
        "an account cannot be called {0:?}: a name has up to 64 letters, digits and -_. and begins with a letter or digit"
    )]
    Name(String),
    /// No account of that name.
    #[error("there is no account {name:?} in {} ({known}): run plakar-icloud login {name}", folder.display())]
    Unknown {
        /// Which.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// The names that there are.
        known: String,
    },
    /// No account at all.
    #[error("nobody has signed in (no account in {}): run plakar-icloud login, or give an apple_id", .0.display())]
    None(PathBuf),
    /// More than one, and none is named.
    #[error("there are several accounts ({0}): say which, by its name or with account=NAME in plakar's configuration")]
    Several(String),
    /// The account is of another Apple ID than the configuration.
    #[error("account {0:?} is of another Apple ID than option apple_id: leave one of them out")]
    OtherAppleId(String),
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

/// Sections of a configuration that open an account, and the one to open.
///
/// Operations on it give up soon: somebody waits for them to say what is wrong.
///
/// # Errors
/// If the account cannot be found.
pub fn sections(state: &State, name: &str) -> Result<(&'static str, Sections), Error> {
    const SECTION: &str = "account";
    let mut options = BTreeMap::from([("type".to_owned(), "icloud".to_owned())]);
    options.extend([("tries", "3"), ("longest_wait", "5s")].map(|(key, value)| (key.to_owned(), value.to_owned())));
    resolve(&mut options, Some(name), Some(state.path()))?;
    let mut sections = Sections::default();
    sections.insert(SECTION.to_owned(), options);
    Ok((SECTION, sections))
}
