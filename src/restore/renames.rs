//! The list of the items that were restored under other names.

use bytes::Bytes;

use crate::message::printable;

/// The name of the file that holds the list, at the top of the restored tree.
pub const FILE_NAME: &str = "plakar-icloud-renames.txt";

/// The maximum number of renames that are shown on stderr.
const SHOWN: usize = 20;

/// The renames of a restore: the paths in the snapshot and those in the destination, relative to
/// its top.
#[derive(Debug, Default)]
pub struct Renames(Vec<(String, String)>);

impl Renames {
    /// Adds a rename.
    pub fn add(&mut self, from: &str, to: &str) {
        self.0.push((from.to_owned(), to.to_owned()));
    }

    /// Reports whether there are no renames.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the lines for the user: at most [`SHOWN`] renames, and a line that counts the others.
    pub fn lines(&mut self) -> Vec<String> {
        self.0.sort();
        let line = |(from, to): &(String, String)| format!("{from} is restored as {to}");
        let mut lines: Vec<String> = self.0.iter().take(SHOWN).map(line).collect();
        if self.0.len() > SHOWN {
            lines.push(format!("{} more items are restored under other names: see {FILE_NAME}", self.0.len() - SHOWN));
        }
        lines
    }

    /// Returns the content of the file: a line for each rename, with both paths and a tab between.
    pub fn content(&mut self) -> Bytes {
        self.0.sort();
        let head =
            "# Items that plakar-icloud restored under other names: the path in the snapshot, a tab, the path here.\n";
        let line = |(from, to): &(String, String)| format!("{}\t{}\n", printable(from), printable(to));
        let lines: String = self.0.iter().map(line).collect();
        Bytes::from(format!("{head}{lines}"))
    }
}
