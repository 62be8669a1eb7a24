//! Accounts: named Apple IDs with a sign-in, stored in the state folder of this program, so that
//! plakar's configuration contains no secret.
//!
//! The state folder has a file for each account, with the Apple ID and the source of the password.
//! Only this module reads and writes it. The sessions are separate files below `sessions`, which
//! only the Go side reads and writes (package session). Any process that shares a session may renew
//! it. Accounts and configurations imported from rclone use the same session files.

mod account_file;
pub mod advice;
mod event;
mod forecast;
mod private_files;
mod resolve;
mod runs;
mod state_folder;

use std::{collections::BTreeMap, io, path::PathBuf};

pub use account_file::Account;
pub use event::{Counts, OnEvent, RunEvent, test_command};
pub use forecast::Forecast;
pub use private_files::{make_folder, open_regular as open_regular_file, replace as replace_file, replaceable};
pub use resolve::{Access, resolve};
pub use runs::Runs;
pub use state_folder::{STATE_VARIABLE, StateFolder};

use crate::rclone::{Sections, account::Identity};

/// An error of the state folder or of an account in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The location of the state folder is unknown.
    #[error("there is no folder for the accounts: neither XDG_STATE_HOME nor HOME is set; set state_dir=/a/folder")]
    NoStateFolder,
    /// A file or folder cannot be used.
    #[error("{operation} {}: {error}; the accounts need a folder that this user can read and write", path.display())]
    File {
        /// The operation.
        operation: &'static str,
        /// The path of the file or folder.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// Other users can write to a folder.
    #[error("the state folder {} cannot hold secrets: {why}; or set state_dir to another folder", path.display())]
    Unsafe {
        /// The path of the folder.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// A file of an account is malformed.
    #[error("{} is not an account file: {why}; remove it and sign in again", path.display())]
    Damaged {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A name is not allowed for an account.
    #[error(
        "invalid account name {0:?}: a name has up to 64 letters, digits and -_. and begins with a letter or digit"
    )]
    Name(String),
    /// No account has this name.
    #[error("there is no account {name:?} in {} ({known}): run plakar-icloud login {name}", folder.display())]
    Unknown {
        /// The name.
        name: String,
        /// The state folder.
        folder: PathBuf,
        /// The names of the existing accounts.
        known: String,
    },
    /// There is no account.
    #[error("not signed in (no account in {}): run plakar-icloud login, or set apple_id", .0.display())]
    NoAccount(PathBuf),
    /// There are several accounts, and none is named.
    #[error("there are several accounts ({0}): choose one by its name or with account=NAME in plakar's configuration")]
    Several(String),
    /// The account's Apple ID differs from that of the configuration.
    #[error("account {0:?} belongs to another Apple ID than option apple_id: remove one of the two options")]
    OtherAppleId(String),
}

impl Account {
    /// Returns the identity in the form that rclone expects.
    pub fn identity(&self, state: &StateFolder) -> Identity {
        Identity {
            apple_id: self.apple_id.clone(),
            client_id: self.client_id.clone(),
            session_file: state.session_file(&self.apple_id, &self.client_id).to_string_lossy().into_owned(),
        }
    }
}

/// How long operations on an account are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// They fail soon, because a user is waiting for the diagnosis.
    Diagnosis,
    /// As long as in a backup.
    Backup,
}

/// Returns the sections of a configuration that open an account, and the name of the one to open.
///
/// # Errors
/// Fails if the account cannot be found.
pub fn sections(state: &StateFolder, name: &str, patience: Patience) -> Result<(&'static str, Sections), Error> {
    const SECTION: &str = "account";
    let mut options = BTreeMap::from([("type".to_owned(), "icloud".to_owned())]);
    if patience == Patience::Diagnosis {
        options.extend([("tries", "3"), ("longest_wait", "5s")].map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    resolve(&mut options, Some(name), Some(state.path()))?;
    let mut sections = Sections::default();
    sections.insert(SECTION.to_owned(), options);
    Ok((SECTION, sections))
}
