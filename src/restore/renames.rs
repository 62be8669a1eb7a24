//! The list of the items that were restored under other names.

use std::collections::HashSet;

use bytes::Bytes;

use crate::message::printable;

/// The name of the file that holds the list, at the top of the restored tree.
pub const FILE_NAME: &str = "plakar-icloud-renames.txt";

/// The maximum number of renames that are shown on stderr.
const MAX_SHOWN: usize = 20;

/// The first line of the list.
const FIRST_LINE: &str =
    "# Items that plakar-icloud restored under other names: the path in the snapshot, a tab, the path here.";

/// The renames of a restore: the paths in the snapshot and those in the destination, relative to
/// its top.
#[derive(Debug, Default)]
pub struct Renames {
    own: Vec<(String, String)>,
    /// The lines of the list that the snapshot contains, which an earlier restore has made.
    earlier: Vec<String>,
}

impl Renames {
    /// Adds a rename.
    pub fn add(&mut self, from: &str, to: &str) {
        self.own.push((from.to_owned(), to.to_owned()));
    }

    /// Adds the lines of the list that the snapshot contains. Returns false if the content is not
    /// that of a list.
    pub fn add_earlier(&mut self, list: &[u8]) -> bool {
        let Some(lines) = std::str::from_utf8(list).ok().and_then(|list| list.strip_prefix(FIRST_LINE)) else {
            return false;
        };
        self.earlier = lines.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        true
    }

    /// Reports whether this restore has renamed nothing.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// Returns the lines for the user: at most [`MAX_SHOWN`] renames, and a line that counts the others.
    pub fn lines(&mut self) -> Vec<String> {
        self.own.sort();
        let line = |(from, to): &(String, String)| format!("{from} is restored as {to}");
        let mut lines: Vec<String> = self.own.iter().take(MAX_SHOWN).map(line).collect();
        if self.own.len() > MAX_SHOWN {
            lines.push(format!(
                "{} more items are restored under other names: see {FILE_NAME}",
                self.own.len() - MAX_SHOWN
            ));
        }
        lines
    }

    /// Returns the content of the file: a line for each rename, with both paths and a tab between,
    /// and the lines of the list that the snapshot contains.
    pub fn content(&mut self) -> Bytes {
        self.own.sort();
        let line = |(from, to): &(String, String)| format!("{}\t{}", printable(from), printable(to));
        let mut lines: Vec<String> = self.own.iter().map(line).collect();
        let own: HashSet<&str> = lines.iter().map(String::as_str).collect();
        let earlier = self.earlier.iter().filter(|line| !own.contains(line.as_str())).cloned().collect::<Vec<_>>();
        lines.extend(earlier);
        Bytes::from(format!("{FIRST_LINE}\n{}\n", lines.join("\n")))
    }
}
