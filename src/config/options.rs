//! The table of this program's own options. The parser, the error about an unknown option, the
//! README and the JSON schema of the packages use it.

use std::{collections::HashMap, env, path::PathBuf};

use super::Error;
use crate::{
    backup::ExcludeOptions,
    drive::Limits,
    kloset::CacheLimits,
    restore::{Links, OnBadName, OnConflict, Packages, Policy, Verify},
};

/// The unit of the options about memory.
const MIB: u64 = 1024 * 1024;

/// An option of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// The key in plakar's configuration.
    pub name: &'static str,
    /// The default as the README shows it. The default of a number is parsed from it.
    pub default: &'static str,
    /// The meaning, as a phrase.
    pub meaning: &'static str,
    /// What the values are.
    pub kind: Kind,
}

/// The values that an option accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// The absolute path of a file or folder.
    Path,
    /// A whole number up to 65535, with its minimum.
    Number(u16),
    /// `true` or `false`.
    Flag,
    /// One of these words, the first of which is the default.
    Word(&'static [&'static str]),
}

const fn option(name: &'static str, default: &'static str, meaning: &'static str) -> OptionSpec {
    OptionSpec { name, default, meaning, kind: Kind::Text }
}

const fn at_least(least: u16, option: OptionSpec) -> OptionSpec {
    OptionSpec { kind: Kind::Number(least), ..option }
}

const fn path(option: OptionSpec) -> OptionSpec {
    OptionSpec { kind: Kind::Path, ..option }
}

const fn flag(option: OptionSpec) -> OptionSpec {
    OptionSpec { kind: Kind::Flag, ..option }
}

const fn one_of(words: &'static [&'static str], option: OptionSpec) -> OptionSpec {
    OptionSpec { kind: Kind::Word(words), ..option }
}

pub(super) const ACCOUNT: OptionSpec = option("account", "the only one", "the name of the account to use, see above");
pub(super) const STATE_DIR: OptionSpec =
    path(option("state_dir", "see above", "the folder of the accounts and sessions"));
pub(super) const PASSWORD_COMMAND: OptionSpec = option(
    "password_command",
    "that of the account",
    "a shell command that prints the password; it runs when the session must be renewed by a sign-in",
);
pub(super) const ON_EVENT: OptionSpec = option(
    "on_event",
    "none",
    "a shell command to run when a sign-in is needed or soon will be, and when a backup, a restore or a store fails",
);
const ON_PARTIAL: OptionSpec = one_of(
    &["keep", "fail"],
    option(
        "on_partial",
        "`keep`",
        "what a backup does if it could not save every file: `keep` keeps the snapshot and reports the files; `fail` ends \
         with an error and keeps no snapshot",
    ),
);
pub(super) const WARN_DAYS_OPTION: OptionSpec =
    at_least(0, option("warn_days", "7", "warn when Apple's trust in this machine ends within this many days"));
pub(super) const LISTINGS: OptionSpec =
    at_least(1, option("listings", "8", "the maximum number of concurrent folder listings in a backup"));
pub(super) const READ_AHEAD: OptionSpec = at_least(
    0,
    option(
        "read_ahead",
        "64",
        "the maximum number of small files that are read before plakar requests them; 0 for none",
    ),
);
pub(super) const INCLUDE_KLOSETS: OptionSpec =
    flag(option("include_klosets", "`false`", "whether a backup includes the content of klosets below its location"));
const IGNORE: OptionSpec = option(
    "ignore",
    "none",
    "patterns of what a backup leaves out, as in a `.gitignore` file, one on each line; in addition to those of `plakar \
     backup -ignore`",
);
const IGNORE_FILE: OptionSpec =
    path(option("ignore_file", "none", "a regular file of at most 1 MiB with such patterns"));
const SHARED: OptionSpec = one_of(
    &["include", "skip"],
    option("shared", "`include`", "what other accounts share: `include` backs it up, `skip` leaves it out"),
);
pub(super) const SUMMARY: OptionSpec = path(option(
    "summary",
    "none",
    "a regular file that gets the result of each backup, restore or store run, as JSON",
));
pub(super) const METRICS_FILE: OptionSpec = path(option(
    "metrics_file",
    "none",
    "a regular file that gets the figures of the last run in the text format of Prometheus, for the textfile collector of its \
     node exporter",
));
pub(super) const PING_URL: OptionSpec = option(
    "ping_url",
    "none",
    "the address of a check at a monitor such as healthchecks.io: requested with `/start` at the start of a backup or \
     restore, as it is if nothing failed, and with `/fail` if something did",
);
const ON_CONFLICT: OptionSpec = one_of(
    &["replace", "skip", "keep-both", "newer", "fail"],
    option(
        "on_conflict",
        "`replace`",
        "a restored file whose name another file has: `replace` it, `skip` the restored file, `keep-both` (the restored one \
     gets the date in its name), replace it only by a `newer` one, or `fail`",
    ),
);
const SKIP_IDENTICAL: OptionSpec = flag(option(
    "skip_identical",
    "`true`",
    "whether a file that is there already with the same size and time counts as restored",
));
const NAMES: OptionSpec = one_of(
    &["rename", "fail"],
    option(
        "names",
        "`rename`",
        "a restored file whose name the service refuses or takes for another one: `rename` it, or `fail`",
    ),
);
const LINKS: OptionSpec = one_of(
    &["skip", "error", "text"],
    option(
        "links",
        "`skip`",
        "links and special files in a restore: `skip` and count them, an `error` for each, or the target of a link as `text`",
    ),
);
const PACKAGES: OptionSpec = one_of(
    &["auto", "archive", "tree"],
    option(
        "packages",
        "`auto`",
        "documents that a Mac stores as folders. `auto`: a backup saves the archives that iCloud makes of them, and a \
         restore into iCloud makes packages of these, and of folders that have the name of such a document. `archive`: the \
         same backup, but a restore stores the archives as files and folders as folders. `tree`: a backup saves the files in \
         them, as a folder, and a restore leaves folders as they are",
    ),
);
const VERIFY: OptionSpec = one_of(
    &["size", "content"],
    option("verify", "`size`", "what is verified of a restored file: the `size`, or its `content`, which is read back"),
);
const UPLOADS: OptionSpec = at_least(
    1,
    option(
        "uploads",
        "64",
        "the maximum number of concurrent uploads of small files; one of more than 1 MiB counts as an eighth of it",
    ),
);
const CACHE_MEMORY: OptionSpec = at_least(
    0,
    option("cache_memory", "128", "the memory for cached and prefetched content of a store in MiB, including overhead"),
);
const CACHE_DIR: OptionSpec = path(option(
    "cache_dir",
    "none",
    "a folder in which such content is also cached on disk, for later commands; several processes may share it",
));
// A sixteenth of the folder must have room for a block.
const CACHE_SIZE: OptionSpec =
    at_least(5, option("cache_size", "4096", "the maximum size of that folder in MiB, at least 5"));
const SPOOL_MEMORY: OptionSpec = at_least(
    0,
    option(
        "spool_memory",
        "8",
        "the memory for content that waits to be uploaded, in MiB; further content waits in unlinked files",
    ),
);
const SPOOL_DIR: OptionSpec = path(option("spool_dir", "`$TMPDIR`", "the folder of those files"));

/// All options of this program, in the order of the README.
pub const OPTIONS: [OptionSpec; 27] = [
    ACCOUNT,
    STATE_DIR,
    PASSWORD_COMMAND,
    ON_EVENT,
    ON_PARTIAL,
    SUMMARY,
    METRICS_FILE,
    PING_URL,
    WARN_DAYS_OPTION,
    LISTINGS,
    READ_AHEAD,
    INCLUDE_KLOSETS,
    IGNORE,
    IGNORE_FILE,
    SHARED,
    ON_CONFLICT,
    SKIP_IDENTICAL,
    NAMES,
    LINKS,
    PACKAGES,
    VERIFY,
    UPLOADS,
    CACHE_MEMORY,
    CACHE_DIR,
    CACHE_SIZE,
    SPOOL_MEMORY,
    SPOOL_DIR,
];

/// The default of `warn_days`: the days of trust below which the user is warned.
pub const WARN_DAYS: u16 = 7;

/// Returns the names of all options of this program.
pub fn names() -> Vec<&'static str> {
    OPTIONS.iter().map(|option| option.name).collect()
}

/// What happens to a backup that could not back up every file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPartial {
    /// The snapshot is kept, and the failed files are reported.
    #[default]
    Keep,
    /// The backup ends with an error, and no snapshot is kept.
    Fail,
}

/// How a backup saves packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavedPackages {
    /// As the archives that the service makes of them.
    Archive,
    /// As folders.
    Tree,
}

impl OptionSpec {
    /// Removes a text from the map and returns it. An empty text counts as none.
    pub(super) fn text(self, map: &mut HashMap<String, String>) -> Option<String> {
        map.remove(self.name).filter(|value| !value.is_empty())
    }

    /// Removes the path of a folder or file from the map and returns it. Relative paths are
    /// refused: plakar starts connectors in its own current folder, so the meaning of such a path
    /// would vary.
    pub(super) fn path(self, map: &mut HashMap<String, String>) -> Result<Option<PathBuf>, Error> {
        match self.text(map) {
            Some(value) if !value.starts_with('/') => {
                Err(self.refuse(value, "give an absolute path; ~ is not expanded"))
            }
            value => Ok(value.map(PathBuf::from)),
        }
    }

    /// Removes a number from the map and returns it, or its default.
    pub(super) fn number(self, map: &mut HashMap<String, String>) -> Result<usize, Error> {
        let least = if let Kind::Number(least) = self.kind { least } else { 0 };
        let value = map.remove(self.name);
        let text = value.as_deref().unwrap_or(self.default).trim();
        match text.parse::<u16>() {
            Ok(number) if number >= least => Ok(number.into()),
            _ => Err(self.refuse(text.to_owned(), &format!("it must be a whole number from {least} to 65535"))),
        }
    }

    /// Removes a `true` or `false` from the map and returns it, or the default.
    pub(super) fn flag(self, map: &mut HashMap<String, String>) -> Result<bool, Error> {
        self.choice(map, &[("true", true), ("false", false)])
    }

    /// Removes one of several words from the map and returns its value, or that of the default.
    fn choice<T: Copy>(self, map: &mut HashMap<String, String>, words: &[(&str, T)]) -> Result<T, Error> {
        let text = self.text(map);
        let word = text.as_deref().unwrap_or(self.default.trim_matches('`'));
        if let Some(&(_, value)) = words.iter().find(|&&(name, _)| name == word) {
            return Ok(value);
        }
        let names: Vec<&str> = words.iter().map(|&(name, _)| name).collect();
        let (last, others) = names.split_last().unwrap_or((&"", &[]));
        Err(self.refuse(word.to_owned(), &format!("it must be {} or {last}", others.join(", "))))
    }

    fn refuse(self, value: String, why: &str) -> Error {
        Error::Value { key: self.name, value, why: why.to_owned() }
    }
}

/// Removes the limits of a drive from the map and returns them.
pub(super) fn limits(map: &mut HashMap<String, String>) -> Result<Limits, Error> {
    Ok(Limits {
        uploads: UPLOADS.number(map)?,
        spool_memory: SPOOL_MEMORY.number(map)? * MIB as usize,
        spool_dir: SPOOL_DIR.path(map)?.unwrap_or_else(env::temp_dir),
    })
}

/// Removes the limits of the caches of a kloset from the map and returns them.
pub(super) fn cache_limits(map: &mut HashMap<String, String>) -> Result<CacheLimits, Error> {
    let cache_size = CACHE_SIZE.number(map)? as u64 * MIB;
    Ok(CacheLimits {
        memory: CACHE_MEMORY.number(map)? as u64 * MIB,
        disk: CACHE_DIR.path(map)?.map(|folder| (folder, cache_size)),
        copies_dir: None,
    })
}

/// Removes the options about what a backup leaves out from the map and returns them.
pub(super) fn excludes(map: &mut HashMap<String, String>) -> Result<ExcludeOptions, Error> {
    let mut lines = Vec::new();
    if let Some(path) = IGNORE_FILE.path(map)? {
        let read = ExcludeOptions::read_lines(&path);
        lines.extend(read.map_err(|error| IGNORE_FILE.refuse(path.display().to_string(), &error.to_string()))?);
    }
    lines.extend(IGNORE.text(map).iter().flat_map(|text| text.lines()).map(str::to_owned));
    let skip_shared = SHARED.choice(map, &[("include", false), ("skip", true)])?;
    Ok(ExcludeOptions { lines, include_klosets: INCLUDE_KLOSETS.flag(map)?, skip_shared })
}

/// Removes `on_partial` from the map and returns it.
pub(super) fn on_partial(map: &mut HashMap<String, String>) -> Result<OnPartial, Error> {
    ON_PARTIAL.choice(map, &[("keep", OnPartial::Keep), ("fail", OnPartial::Fail)])
}

/// Returns what `packages` means for a backup. [`restore`] checks and removes it.
pub(super) fn saved_packages(map: &HashMap<String, String>) -> SavedPackages {
    match map.get(PACKAGES.name).map(String::as_str) {
        Some("tree") => SavedPackages::Tree,
        _ => SavedPackages::Archive,
    }
}

/// Returns the options of restores of a map that has no other options.
///
/// # Errors
/// Fails if a value is invalid or an option is not one of restores.
pub fn restore_policy(mut map: HashMap<String, String>) -> Result<Policy, Error> {
    let policy = restore(&mut map)?;
    match map.into_keys().min() {
        Some(key) => Err(Error::NoRestoreOption(key)),
        None => Ok(policy),
    }
}

/// Removes the options of restores from the map and returns them.
pub(super) fn restore(map: &mut HashMap<String, String>) -> Result<Policy, Error> {
    let on_conflict = [
        ("replace", OnConflict::Replace),
        ("skip", OnConflict::Skip),
        ("keep-both", OnConflict::KeepBoth),
        ("newer", OnConflict::Newer),
        ("fail", OnConflict::Fail),
    ];
    Ok(Policy {
        on_conflict: ON_CONFLICT.choice(map, &on_conflict)?,
        skip_identical: SKIP_IDENTICAL.flag(map)?,
        names: NAMES.choice(map, &[("rename", OnBadName::Rename), ("fail", OnBadName::Fail)])?,
        links: LINKS.choice(map, &[("skip", Links::Skip), ("error", Links::Error), ("text", Links::Text)])?,
        packages: PACKAGES
            .choice(map, &[("auto", Packages::Auto), ("archive", Packages::Archive), ("tree", Packages::Tree)])?,
        verify: VERIFY.choice(map, &[("size", Verify::Size), ("content", Verify::Content)])?,
    })
}

#[cfg(test)]
mod tests;
