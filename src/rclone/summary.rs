//! The numbers of items in a remote.

use serde::{Deserialize, Serialize};

use super::methods::{Method, method};

/// Counts the items of the collections of a remote.
#[derive(Serialize)]
pub struct Summarize {
    pub remote: u64,
}
method!("remote/summary", Summarize, Summary);

#[derive(Deserialize)]
pub struct Summary {
    pub collections: Vec<Collection>,
}

/// A part of a remote that is not only a folder, such as a photo library.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Collection {
    /// The path of its folder.
    pub name: String,
    /// The numbers of items by kind, in the order in which to show them.
    pub counts: Vec<Count>,
    /// The bytes of its files.
    pub bytes: u64,
}

/// The number of items of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Count {
    /// The kind in the plural, such as "photos".
    pub kind: String,
    /// The number.
    pub number: u64,
}
