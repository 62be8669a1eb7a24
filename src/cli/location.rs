//! The argument `NAME[:/FOLDER]` of the commands `scan` and `plan`.

use super::Error;
use crate::{
    account::{self, Account, Patience, StateFolder},
    drive::{Drive, DrivePath, Limits},
    rclone::Sections,
};

/// A folder of an account's drive.
#[derive(Debug)]
pub struct Location {
    /// The name of the account.
    pub name: String,
    /// The account.
    pub account: Account,
    /// The folder.
    pub top: DrivePath,
    /// The name of the section to open.
    pub section: &'static str,
    /// The sections of the configuration.
    pub sections: Sections,
}

impl Location {
    /// Parses the argument. The name may be left out if there is only one account, and the folder if
    /// it is the whole drive.
    ///
    /// # Errors
    /// Fails if the account cannot be found or the folder is invalid.
    pub fn parse(state: &StateFolder, text: &str) -> Result<Self, Error> {
        let (name, folder) = text.split_once(':').unwrap_or((text, "/"));
        let (name, account) = state.choose(Some(name).filter(|name| !name.is_empty()))?;
        let top = DrivePath::parse(folder).map_err(|bad| Error::Usage(bad.to_string()))?;
        let (section, sections) = account::sections(state, &name, Patience::Backup)?;
        Ok(Self { name, account, top, section, sections })
    }

    /// Opens the drive.
    ///
    /// # Errors
    /// Returns the error about the network or the session.
    pub async fn open(&self, limits: &Limits) -> Result<Drive, Error> {
        Ok(Drive::open(self.section, self.sections.clone(), limits, &self.top, None).await?)
    }
}
