//! Folders that need not be walked because plakar drops what is in them.

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::drive::DrivePath;

/// The rules of a backup's `-ignore` by which whole folders can be left out.
///
/// plakar matches every record itself (K/exclude/ruleset.go, go-git's patterns),
/// so a rule may be passed over here but must never match more than there. Rules
/// that the two read differently, or that bring something back, are not used.
#[derive(Debug)]
pub struct Excludes(Gitignore);

impl Excludes {
    /// Reads gitignore lines.
    pub fn new(lines: &[String]) -> Self {
        let mut rules = GitignoreBuilder::new("");
        if !lines.iter().any(|line| line.trim_start().starts_with('!')) {
            for line in lines.iter().filter(|line| is_read_alike(line)) {
                // A rule that cannot be read is no rule.
                let _ = rules.add_line(None, line);
            }
        }
        Self(rules.build().unwrap_or_else(|_| Gitignore::empty()))
    }

    /// Whether everything in a folder is dropped.
    pub fn cover(&self, folder: &DrivePath) -> bool {
        !folder.is_top() && self.0.matched_path_or_any_parents(folder.as_str(), true).is_ignore()
    }
}

/// Whether a rule means the same to plakar. Go matches characters where we match
/// bytes ("?"), has classes of its own and no alternatives; and of white space at
/// the end it drops spaces alone.
fn is_read_alike(line: &str) -> bool {
    let ending = line.trim_end_matches(' ');
    !line.contains(['?', '[', ']', '\\', '{']) && !line.contains("**") && ending == line.trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(lines: &[&str], folder: &str) -> bool {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        Excludes::new(&lines).cover(&DrivePath::parse(folder).unwrap())
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
        // Go's filepath.Match takes "[!a]" for a class of two characters.
        assert!(!covered(&["[!a]dir"], "/bdir"));
        assert!(!covered(&["build/", "!build/keep"], "/build"));
        assert!(!covered(&["caf??"], "/caf\u{e9}"));
        assert!(!covered(&["build\t"], "/build"));
        assert!(!covered(&["build\u{a0} "], "/build"));
        assert!(covered(&["build  "], "/build"));
    }
}
