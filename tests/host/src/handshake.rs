//! The data that plakar and a connector exchange at Init.

use std::collections::BTreeMap;

/// The location of a source, a destination or a store, and the parameters that plakar stores for
/// it.
#[derive(Clone, Debug)]
pub struct Settings {
    parameters: BTreeMap<String, String>,
}

impl Settings {
    /// Returns settings with only a location (`scheme://rest`).
    pub fn new(location: &str) -> Self {
        let parameters = BTreeMap::from([("location".to_owned(), location.to_owned())]);
        Self { parameters }
    }

    /// Returns the settings with a parameter added or replaced.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.parameters.insert(key.to_owned(), value.into());
        self
    }

    /// Returns the settings with all these parameters added.
    #[must_use]
    pub fn with_all<'a>(self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let add = |settings: Self, (key, value): (&str, &str)| settings.with(key, value);
        parameters.into_iter().fold(self, add)
    }

    /// Returns the settings with another location.
    #[must_use]
    pub fn at(self, location: &str) -> Self {
        self.with("location", location)
    }

    /// Returns the settings without a parameter.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.parameters.remove(key);
        self
    }

    /// Returns the parameters, including `location`.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
    }

    pub(crate) fn protocol(&self) -> String {
        let location = self.parameters.get("location").map_or("", String::as_str);
        let scheme = location.split_once("://").map_or(location, |(scheme, _)| scheme);
        scheme.to_owned()
    }

    pub(crate) fn config(&self) -> std::collections::HashMap<String, String> {
        self.parameters.clone().into_iter().collect()
    }
}

/// What plakar reports about itself to importers and exporters.
#[derive(Clone, Debug)]
pub struct Options {
    /// The number of files that plakar processes concurrently (`-concurrency`).
    pub concurrency: usize,
    /// Lines in the form of a gitignore file (`-ignore`).
    pub excludes: Vec<String>,
    /// plakar's working folder.
    pub cwd: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { concurrency: 4, excludes: Vec::new(), cwd: "/".to_owned() }
    }
}

impl Options {
    /// Returns the default options with another concurrency.
    pub fn concurrency(concurrency: usize) -> Self {
        Self { concurrency, ..Self::default() }
    }

    /// Returns the options with lines of a gitignore file.
    #[must_use]
    pub fn excluding<'a>(mut self, lines: impl IntoIterator<Item = &'a str>) -> Self {
        self.excludes.extend(lines.into_iter().map(str::to_owned));
        self
    }
}

/// What a connector reports about the remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The account or server.
    pub origin: String,
    /// The kind of remote.
    pub kind: String,
    /// The folder of the remote that contains all paths.
    pub root: String,
    /// Bits of kloset's `location.Flags`.
    pub flags: u32,
}

impl Identity {
    /// Reports whether plakar lists the source only once.
    pub fn is_stream(&self) -> bool {
        self.flags & 4 != 0
    }
}
