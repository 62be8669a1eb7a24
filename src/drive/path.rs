//! Paths of a drive.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// A clean path below the top of a drive: it has no empty part and no `.` or `..`. Names are
/// neither trimmed nor decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DrivePath(String);

/// A name or path that is invalid or would lead out of its folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be a name in a path")]
pub struct BadName(String);

impl DrivePath {
    /// Returns the top of the drive.
    pub const fn top() -> Self {
        Self(String::new())
    }

    /// Parses a path from the top. Extra slashes, also at the start and the end, are ignored.
    ///
    /// # Errors
    /// Fails if a part is `.` or `..` or contains a NUL.
    pub fn parse(path: &str) -> Result<Self, BadName> {
        Self::top().join(path)
    }

    /// Returns the path of `below`, relative to this path.
    ///
    /// # Errors
    /// Fails as [`Self::parse`] does.
    pub fn join(&self, below: &str) -> Result<Self, BadName> {
        let mut joined = self.0.clone();
        for part in below.split('/').filter(|part| !part.is_empty()) {
            if part == "." || part == ".." || part.contains('\0') {
                return Err(BadName(part.to_owned()));
            }
            if !joined.is_empty() {
                joined.push('/');
            }
            joined.push_str(part);
        }
        Ok(Self(joined))
    }

    /// Returns the path of a direct child.
    ///
    /// # Errors
    /// Fails if the name is empty or contains a slash, and as [`Self::parse`] does.
    pub fn child(&self, name: &str) -> Result<Self, BadName> {
        if name.is_empty() || name.contains('/') {
            return Err(BadName(name.to_owned()));
        }
        self.join(name)
    }

    /// Reports whether this is the top of the drive.
    pub fn is_top(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the last part, which is empty for the top.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Returns the parent folder. The parent of the top is the top.
    pub fn parent(&self) -> Self {
        Self(self.0.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned()))
    }

    /// Returns all folders above this path, from the top downward.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        let top = (!self.is_top()).then(Self::top);
        top.into_iter().chain(self.0.match_indices('/').map(|(at, _)| Self(self.0[..at].to_owned())))
    }

    /// Reports whether this path lies below `folder`, at any depth.
    pub fn is_below(&self, folder: &Self) -> bool {
        !self.is_top() && (folder.is_top() || self.0.strip_prefix(&folder.0).is_some_and(|rest| rest.starts_with('/')))
    }

    /// Returns the deepest path that is equal to or above both paths.
    #[must_use]
    pub fn common_with(&self, other: &Self) -> Self {
        let mut common = self.clone();
        while common != *other && !other.is_below(&common) {
            common = common.parent();
        }
        common
    }

    /// Returns the path as rclone expects it: without a leading slash, and empty for the top.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes the path as plakar expects it: with a leading slash, and `/` for the top.
impl fmt::Display for DrivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

/// Reports whether two names differ at most in their Unicode form.
pub fn are_equivalent(name: &str, other: &str) -> bool {
    name.nfc().eq(other.nfc())
}

/// Reports whether two names differ at most in their Unicode form and in case.
pub fn are_alike(name: &str, other: &str) -> bool {
    folded(name) == folded(other)
}

/// Returns a key that is equal for names that differ at most in their Unicode form and in case. It
/// is equal for more names than a service treats as equal: \u{df} and ss, for example.
pub fn folded(name: &str) -> String {
    let composed: String = name.nfc().collect();
    // Characters such as \u{df} have several characters as their upper case, so lower case alone
    // would not be equal.
    composed.to_uppercase().to_lowercase().nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_slashes_are_removed_and_names_are_not_changed() {
        let path = DrivePath::parse("/a// b /c%20d/").unwrap();
        assert_eq!(path.to_string(), "/a/ b /c%20d");
        assert_eq!(path.name(), "c%20d");
        assert_eq!(path.parent().as_str(), "a/ b ");
        let above: Vec<String> = path.ancestors().map(|path| path.to_string()).collect();
        assert_eq!(above, ["/", "/a", "/a/ b "]);
        assert_eq!(DrivePath::top().ancestors().count(), 0);
    }

    #[test]
    fn common_with_returns_the_deepest_common_path() {
        let path = |path| DrivePath::parse(path).unwrap();
        for (one, other, common) in [
            ("/a/b/c", "/a/b/d", "/a/b"),
            ("/a/b", "/a/bc", "/a"),
            ("/a/b", "/a/b", "/a/b"),
            ("/a", "/a/b/c", "/a"),
            ("/a", "/b", "/"),
            ("/", "/b", "/"),
        ] {
            assert_eq!(path(one).common_with(&path(other)), path(common));
            assert_eq!(path(other).common_with(&path(one)), path(common));
        }
    }

    #[test]
    fn paths_that_lead_out_of_the_drive_are_refused() {
        for path in ["..", "a/../b", "a/.", "a\0b"] {
            assert!(DrivePath::parse(path).is_err(), "{path:?} was accepted");
        }
        for name in ["", "a/b", ".", ".."] {
            assert!(DrivePath::top().child(name).is_err(), "{name:?} was accepted");
        }
    }
}
