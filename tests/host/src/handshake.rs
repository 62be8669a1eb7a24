//! What plakar and a connector tell each other at Init.

use std::collections::BTreeMap;

/// Where a source, a destination or a store is, and the parameters that plakar
/// keeps for it.
#[derive(Clone, Debug)]
pub struct Settings {
    parameters: BTreeMap<String, String>,
}

impl Settings {
    /// Settings with a location (`scheme://rest`) only.
    pub fn new(location: &str) -> Self {
        let parameters = BTreeMap::from([("location".to_owned(), location.to_owned())]);
        Self { parameters }
    }

    /// The same with one parameter more, or with another value for it.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.parameters.insert(key.to_owned(), value.into());
        self
    }

    /// The same with all these parameters.
    #[must_use]
    pub fn with_all<'a>(self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let add = |settings: Self, (key, value): (&str, &str)| settings.with(key, value);
        parameters.into_iter().fold(self, add)
    }

    /// The same at another location.
    #[must_use]
    pub fn at(self, location: &str) -> Self {
        self.with("location", location)
    }

    /// The same without a parameter.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.parameters.remove(key);
        self
    }

    /// The parameters, `location` among them.
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

/// What plakar says about itself to importers and exporters.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many files plakar works on at the same time (`-concurrency`).
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
    /// The default with another concurrency.
    pub fn concurrency(concurrency: usize) -> Self {
        Self { concurrency, ..Self::default() }
    }

    /// The same with lines of a gitignore file.
    #[must_use]
    pub fn excluding<'a>(mut self, lines: impl IntoIterator<Item = &'a str>) -> Self {
        self.excludes.extend(lines.into_iter().map(str::to_owned));
        self
    }
}

/// What a connector says about the remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The account or server.
    pub origin: String,
    /// The kind of remote.
    pub kind: String,
    /// The folder on it that all paths are below.
    pub root: String,
    /// Bits of kloset's `location.Flags`.
    pub flags: u32,
}
