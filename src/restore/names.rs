//! Conflicts between the names of a restore.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;
use xxhash_rust::xxh3::xxh3_64;

use crate::drive::DrivePath;

/// The paths that a restore has used. A snapshot may come from a file system where all of them are
/// different. If the service treats some as equal, the last file stored would otherwise replace the
/// others.
#[derive(Debug, Default)]
pub struct Names {
    /// Whether the service treats names that differ in their Unicode form as equal.
    merges: bool,
    /// Whether the service was seen to treat names that differ in case as equal.
    merges_case: bool,
    /// The used paths by hash, because there may be millions of them.
    used: HashMap<u64, Used>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Used {
    File,
    Folder,
    /// A used path differs from this one only in case.
    Alike,
}

/// A path that the service treats as equal to a path in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name that differs from it in its Unicode form or in case only is restored already, and the two are one there; restore this one alone, into another folder"
)]
pub struct Twin;

impl Names {
    /// Returns an empty set of names. `merges` says whether the service treats names that differ in
    /// their Unicode form as equal, and perhaps those that differ in case.
    pub fn new(merges: bool) -> Self {
        Self { merges, ..Self::default() }
    }

    /// Marks a path as used. Reports whether it differs only in case from a path in use; only the
    /// service can tell whether the two are equal. Two folders of the same name lose nothing,
    /// because their content is merged.
    ///
    /// # Errors
    /// Fails if the path is equal to a path in use.
    pub fn take(&mut self, path: &DrivePath, is_folder: bool) -> Result<bool, Twin> {
        if !self.merges {
            return Ok(false);
        }
        let (own, folded) = keys(path);
        match self.used.get(&own) {
            Some(Used::Folder) if is_folder => return Ok(false),
            Some(Used::File | Used::Folder) => return Err(Twin),
            Some(Used::Alike) | None => {}
        }
        let is_alike = self.used.contains_key(&folded);
        if is_alike && self.merges_case && !is_folder {
            return Err(Twin);
        }
        self.used.insert(own, if is_folder { Used::Folder } else { Used::File });
        self.used.entry(folded).or_insert(Used::Alike);
        Ok(is_alike && !self.merges_case)
    }

    /// Treats names that differ in case as equal from now on.
    pub fn merge_case(&mut self) {
        self.merges_case = true;
    }
}

fn keys(path: &DrivePath) -> (u64, u64) {
    let composed: String = path.as_str().nfc().collect();
    let folded: String = composed.to_lowercase().nfc().collect();
    (xxh3_64(composed.as_bytes()), xxh3_64(folded.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_one_and_names_that_may_be() {
        let path = |path| DrivePath::parse(path).unwrap();
        let mut names = Names::new(true);
        assert_eq!(names.take(&path("/caf\u{e9}"), false), Ok(false));
        assert_eq!(names.take(&path("/cafe\u{301}"), false), Err(Twin));
        assert_eq!(names.take(&path("/caf\u{e9}"), true), Err(Twin));
        assert_eq!(names.take(&path("/CAFE\u{301}"), false), Ok(true));
        assert_eq!(names.take(&path("/o\u{308}"), true), Ok(false));
        assert_eq!(names.take(&path("/\u{f6}"), true), Ok(false));
        assert_eq!(names.take(&path("/\u{f6}"), false), Err(Twin));
        assert_eq!(names.take(&path("/A/b"), false), Ok(false));
        assert_eq!(names.take(&path("/a/b"), false), Ok(true));
        names.merge_case();
        assert_eq!(names.take(&path("/a/B"), false), Err(Twin));
        assert_eq!(names.take(&path("/O\u{308}"), true), Ok(false));
    }

    #[test]
    fn all_names_are_their_own_where_they_are() {
        let mut names = Names::new(false);
        for name in ["/caf\u{e9}", "/cafe\u{301}", "/CAF\u{c9}"] {
            assert_eq!(names.take(&DrivePath::parse(name).unwrap(), false), Ok(false));
        }
    }
}
