//! Folders whose content is left out of a backup.

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::{drive::DrivePath, kloset, rclone::Entry};

/// The folders that a backup does not walk: those that `-ignore` rules cover, and klosets.
///
/// plakar matches every record against the rules itself (K/exclude/ruleset.go, go-git's patterns).
/// A rule may be skipped here, but it must never match more than it does in plakar. Rules that the
/// two implementations interpret differently, and rules that include something again, are not used.
#[derive(Debug)]
pub struct Excludes {
    rules: Gitignore,
    include_klosets: bool,
}

impl Excludes {
    /// Parses gitignore lines. `include_klosets` says whether klosets are walked.
    pub fn new(lines: &[String], include_klosets: bool) -> Self {
        let mut rules = GitignoreBuilder::new("");
        if !lines.iter().any(|line| line.trim_start().starts_with('!')) {
            for line in lines.iter().filter(|line| is_read_alike(line)) {
                // A line that cannot be parsed is ignored.
                let _ = rules.add_line(None, line);
            }
        }
        Self { rules: rules.build().unwrap_or_else(|_| Gitignore::empty()), include_klosets }
    }

    /// Reports whether plakar drops everything in a folder.
    pub fn cover(&self, folder: &DrivePath) -> bool {
        !folder.is_top() && self.rules.matched_path_or_any_parents(folder.as_str(), true).is_ignore()
    }

    /// Reports whether a folder is left out because it holds a kloset. Otherwise, a drive that is
    /// backed up into a kloset in itself would store each backup again with the next one.
    pub fn leave_out_kloset(&self, entries: &[Entry]) -> bool {
        !self.include_klosets && kloset::is_kloset(entries)
    }
}

/// Reports whether plakar interprets a rule in the same way. For "?", Go matches a character where
/// this crate matches a byte. Go also has its own character classes and no alternatives, and trims
/// only spaces at the end of a line.
fn is_read_alike(line: &str) -> bool {
    let ending = line.trim_end_matches(' ');
    !line.contains(['?', '[', ']', '\\', '{']) && !line.contains("**") && ending == line.trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(lines: &[&str], folder: &str) -> bool {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        Excludes::new(&lines, false).cover(&DrivePath::parse(folder).unwrap())
    }

    #[test]
    fn folders_are_left_out_by_name_and_by_path() {
        assert!(covered(&["build/"], "/a/build"));
        assert!(covered(&["build/"], "/a/build/deep"));
        assert!(covered(&["/a/*.tmp"], "/a/x.tmp"));
        assert!(!covered(&["/build"], "/a/build"));
        assert!(!covered(&["# build"], "/build"));
    }

    #[test]
    fn rules_that_plakar_reads_otherwise_leave_nothing_out() {
        // Go's filepath.Match treats "[!a]" as a class of two characters.
        assert!(!covered(&["[!a]dir"], "/bdir"));
        assert!(!covered(&["build/", "!build/keep"], "/build"));
        assert!(!covered(&["caf??"], "/caf\u{e9}"));
        assert!(!covered(&["build\t"], "/build"));
        assert!(!covered(&["build\u{a0} "], "/build"));
        assert!(covered(&["build  "], "/build"));
    }
}
