//! Conflicts between the names of a restore.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;
use xxhash_rust::xxh3::xxh3_64;

use crate::drive::{DrivePath, folded};

/// The paths that a restore has used. They differ in the snapshot, but the service may treat some
/// of them as equal. Without this check, the last of several files with equal paths would replace
/// the others.
#[derive(Debug)]
pub struct Names {
    /// Whether the service treats names that differ in their Unicode form as equal, and perhaps
    /// those that differ in case.
    merges: bool,
    /// What is known about names that differ in case.
    case: Case,
    /// The used paths by hash, because there may be millions of them.
    used: HashMap<u64, Used>,
}

/// Whether the service treats names that differ in case as equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Only an attempt can show it.
    Unknown,
    /// It treats them as equal.
    Folded,
    /// It has stored two names that differ only in case.
    Distinct,
}

/// Where the content of a folder goes if the folder is not restored under its own path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// Into this folder.
    To(DrivePath),
    /// Nowhere, because an existing file has the path and stays.
    LeftOut,
    /// Nowhere, because the folder cannot be created. This occurs only in a plan: uploads may
    /// still create the folder.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Used {
    File,
    Folder,
    /// A used path differs from this one only in case.
    Alike,
}

/// How a path relates to the paths in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// No path in use is equal. The path is in use now.
    Free,
    /// A path in use differs only in case, and only an attempt can show whether the two are equal.
    /// The path is in use now.
    Alike,
    /// A path in use is equal.
    Twin,
}

impl Names {
    /// Returns an empty set of names. With `merges`, the service treats names that differ in their
    /// Unicode form as equal, and perhaps those that differ in case. With `folds`, it is known to
    /// treat those that differ in case as equal.
    pub fn new(merges: bool, folds: bool) -> Self {
        let case = if folds { Case::Folded } else { Case::Unknown };
        Self { merges, case, used: HashMap::new() }
    }

    /// Marks a path as used, unless a path in use is equal.
    pub fn take(&mut self, path: &DrivePath, is_folder: bool) -> Taken {
        let (own, folded) = self.keys(path);
        if matches!(self.used.get(&own), Some(Used::File | Used::Folder)) {
            return Taken::Twin;
        }
        let is_alike = self.merges && self.used.contains_key(&folded);
        if is_alike && self.case == Case::Folded {
            return Taken::Twin;
        }
        self.used.insert(own, if is_folder { Used::Folder } else { Used::File });
        if self.merges {
            self.used.entry(folded).or_insert(Used::Alike);
        }
        if is_alike { Taken::Alike } else { Taken::Free }
    }

    /// Marks a path as used if no path in use is equal or differs only in case. Reports whether it
    /// was marked.
    pub fn take_if_free(&mut self, path: &DrivePath, is_folder: bool) -> bool {
        let (own, folded) = self.keys(path);
        !self.used.contains_key(&own) && !self.used.contains_key(&folded) && self.take(path, is_folder) == Taken::Free
    }

    /// Returns what is known about names that differ in case.
    pub fn case(&self) -> Case {
        self.case
    }

    /// Records what an attempt has shown about names that differ in case. Once they are known to be
    /// equal, this does not change.
    pub fn learn_case(&mut self, case: Case) {
        if self.case != Case::Folded {
            self.case = case;
        }
    }

    /// Returns the keys under which a path and all paths that differ from it in case are found.
    fn keys(&self, path: &DrivePath) -> (u64, u64) {
        if !self.merges {
            let own = xxh3_64(path.as_str().as_bytes());
            return (own, own);
        }
        let composed: String = path.as_str().nfc().collect();
        (xxh3_64(composed.as_bytes()), xxh3_64(folded(path.as_str()).as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> DrivePath {
        DrivePath::parse(path).unwrap()
    }

    #[test]
    fn equal_paths_and_possibly_equal_paths_are_detected() {
        let mut names = Names::new(true, false);
        assert_eq!(names.take(&path("/caf\u{e9}"), false), Taken::Free);
        assert_eq!(names.take(&path("/cafe\u{301}"), false), Taken::Twin);
        assert_eq!(names.take(&path("/caf\u{e9}"), true), Taken::Twin);
        assert_eq!(names.take(&path("/CAFE\u{301}"), false), Taken::Alike);
        assert_eq!(names.take(&path("/o\u{308}"), true), Taken::Free);
        assert_eq!(names.take(&path("/\u{f6}"), true), Taken::Twin);
        assert_eq!(names.take(&path("/A/b"), false), Taken::Free);
        assert_eq!(names.take(&path("/a/b"), false), Taken::Alike);
        assert!(!names.take_if_free(&path("/a/B"), false));
        assert!(names.take_if_free(&path("/a/b~2"), false));
        assert_eq!(names.take(&path("/Stra\u{df}e"), false), Taken::Free);
        assert_eq!(names.take(&path("/STRASSE"), false), Taken::Alike);
        names.learn_case(Case::Folded);
        names.learn_case(Case::Distinct);
        assert_eq!(names.take(&path("/a/B"), false), Taken::Twin);
        assert_eq!(names.take(&path("/a/B~2"), false), Taken::Twin);
    }

    #[test]
    fn paths_differ_if_the_service_compares_bytes() {
        let mut names = Names::new(false, false);
        for name in ["/caf\u{e9}", "/cafe\u{301}", "/CAF\u{c9}"] {
            assert_eq!(names.take(&path(name), false), Taken::Free);
            assert!(!names.take_if_free(&path(name), false));
        }
    }
}
