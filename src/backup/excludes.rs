//! Items that are left out of a backup.

use std::{
    io::{self, Read},
    path::Path,
};

use crate::{
    account,
    drive::DrivePath,
    kloset,
    rclone::{self, Entry, Rclone, Rules},
};

/// What a backup leaves out: the items that gitignore rules match, klosets, and shared folders.
#[derive(Debug)]
pub struct Excludes {
    rules: Option<Rules>,
    options: ExcludeOptions,
}

/// The options that determine what a backup leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExcludeOptions {
    /// gitignore lines, in addition to those of plakar.
    pub lines: Vec<String>,
    /// Whether klosets are included.
    pub include_klosets: bool,
    /// Whether the items that other accounts share are left out.
    pub skip_shared: bool,
}

/// The maximum size of a file of gitignore lines in bytes.
const MAX_FILE: u64 = 1024 * 1024;

impl ExcludeOptions {
    /// Reads the lines of a file.
    ///
    /// # Errors
    /// Fails if the file cannot be read, is not a regular file, has more than a mebibyte or is not
    /// UTF-8. A FIFO would serve only one of the two importers of a backup.
    pub fn read_lines(path: &Path) -> io::Result<Vec<String>> {
        let mut text = Vec::new();
        account::open_regular_file(path)?.take(MAX_FILE + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE {
            return Err(io::Error::other("it has more than a mebibyte"));
        }
        let text = String::from_utf8(text).map_err(|_| io::Error::other("it is not UTF-8"))?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl Excludes {
    /// Returns the excludes of a backup. `lines` are plakar's gitignore lines. Those of `options`
    /// follow them.
    ///
    /// # Errors
    /// Fails if the rules could not be passed to rclone.
    pub async fn new(lines: &[String], options: &ExcludeOptions) -> Result<Self, rclone::Error> {
        let lines: Vec<String> = lines.iter().chain(&options.lines).cloned().collect();
        let rules = if lines.is_empty() { None } else { Some(Rules::new(Rclone::start(), lines).await?) };
        Ok(Self { rules, options: options.clone() })
    }

    /// Returns the gitignore rules, which listings apply, if there are any.
    pub fn rules(&self) -> Option<Rules> {
        self.rules
    }

    /// Reports whether the rules leave out a path and everything below it.
    ///
    /// # Errors
    /// Fails if rclone could not evaluate the rules.
    pub async fn is_excluded(&self, path: &DrivePath, is_folder: bool) -> Result<bool, rclone::Error> {
        match self.rules {
            Some(rules) => rules.exclude(path.as_str(), is_folder).await,
            None => Ok(false),
        }
    }

    /// Reports whether a folder is left out because it holds a kloset. Otherwise, each backup of a
    /// drive into a kloset in the same drive would contain all earlier ones.
    pub fn leaves_out_kloset(&self, entries: &[Entry]) -> bool {
        !self.options.include_klosets && kloset::is_kloset(entries)
    }

    /// Reports whether an entry is left out because another account shares it.
    pub fn leaves_out_shared(&self, entry: &Entry) -> bool {
        self.options.skip_shared && entry.is_shared
    }
}
