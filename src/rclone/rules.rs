//! Rules that leave items out of listings.

use serde::{Deserialize, Serialize};

use super::{
    Error,
    call::call,
    methods::{Method, method},
};

/// Stores gitignore lines as rules for listings.
#[derive(Serialize)]
struct NewRules {
    lines: Vec<String>,
}
method!("rules/new", NewRules, StoredRules);

#[derive(Deserialize)]
struct StoredRules {
    rules: u64,
}

/// Reports whether rules leave out a path.
#[derive(Serialize)]
struct Exclude {
    rules: u64,
    path: String,
    folder: bool,
}
method!("rules/exclude", Exclude, Excluded);

#[derive(Deserialize)]
struct Excluded {
    excluded: bool,
}

/// gitignore rules, interpreted as plakar does. They exist until the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules(u64);

impl Rules {
    /// Stores the lines of a gitignore file as rules. Every line is valid. The `Rclone` is the proof
    /// that rclone runs.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn new(_: super::Rclone, lines: Vec<String>) -> Result<Self, Error> {
        call(NewRules { lines }).await.map(|StoredRules { rules }| Self(rules))
    }

    /// Reports whether a path is left out.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn exclude(self, path: &str, is_folder: bool) -> Result<bool, Error> {
        let request = Exclude { rules: self.0, path: path.to_owned(), folder: is_folder };
        call(request).await.map(|Excluded { excluded }| excluded)
    }

    /// Returns the handle, which is 0 for no rules.
    pub(super) fn handle(rules: Option<Self>) -> u64 {
        rules.map_or(0, |rules| rules.0)
    }
}
