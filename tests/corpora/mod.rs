//! Inputs for fuzzing: the examples in a folder beside this file, with random changes.
//!
//! `PROPTEST_CASES` sets the number of inputs of each test. A failure prints its input, which
//! belongs into the folder.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The longest input.
const LIMIT: usize = 64 * 1024;
/// Pieces of text that programs often misread.
const PIECES: [&str; 16] = [
    "null",
    "-1",
    "{}",
    "[]",
    "\"",
    "\\",
    "\n",
    "\0",
    "\u{202e}",
    "\u{1b}[2J",
    "%00",
    "..",
    "/",
    "=",
    "18446744073709551616",
    "1e999",
];

/// One change.
#[derive(Clone, Debug)]
enum Change {
    Overwrite(Index, Vec<u8>),
    Insert(Index, &'static str),
    Remove(Index, Index),
    Repeat(Index, Index),
}

impl Change {
    fn apply(self, input: &mut Vec<u8>) {
        let end = input.len() + 1;
        let range = |from: Index, to: Index| {
            let (from, to) = (from.index(end), to.index(end));
            from.min(to)..from.max(to)
        };
        match self {
            Self::Overwrite(at, bytes) => {
                for (place, byte) in input.iter_mut().skip(at.index(end)).zip(bytes) {
                    *place = byte;
                }
            }
            Self::Insert(at, piece) => drop(input.splice(at.index(end)..at.index(end), piece.bytes())),
            Self::Remove(from, to) => drop(input.drain(range(from, to))),
            Self::Repeat(from, to) => input.extend_from_within(range(from, to)),
        }
        input.truncate(LIMIT);
    }
}

/// Returns a strategy for one example, or for those of a folder, each with up to four changes.
pub fn changed(path: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora").join(path);
    let mut files = vec![path.clone()];
    if path.is_dir() {
        files = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    }
    files.sort();
    let examples: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let change = prop_oneof![
        (any::<Index>(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Change::Overwrite(at, bytes)),
        (any::<Index>(), select(&PIECES[..])).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Remove(from, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ];
    (select(examples), vec(change, 0..5)).prop_map(|(mut input, changes)| {
        changes.into_iter().for_each(|change| change.apply(&mut input));
        input
    })
}
