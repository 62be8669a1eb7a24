//! Names: which are refused, which count as equal, and how responses encode them.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::rules::{DriveRules, NameMatching};

/// A reason to refuse a name; `RULES.md` lists those that are active by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameRule {
    /// The empty name.
    Empty,
    /// `.` and `..`.
    DotOrDotDot,
    /// A name with a `/`.
    Slash,
    /// A name with a `\`.
    Backslash,
    /// A name with a `:`.
    Colon,
    /// A name with a character from U+0000 to U+001F, or U+007F.
    Control,
    /// A dot at the start.
    LeadingDot,
    /// A dot at the end.
    TrailingDot,
    /// A space at the start.
    LeadingSpace,
    /// A space at the end.
    TrailingSpace,
    /// More than 255 bytes of UTF-8.
    TooLong,
}

struct Row {
    rule: NameRule,
    refuses: bool,
    matches: fn(&str) -> bool,
}

/// The longest name, in bytes of UTF-8: the limit of APFS, which the service's own clients use.
const LONGEST: usize = 255;

/// All of this is a guess. The names that the rows down to `Control` refuse are never sent by
/// rclone, whose default encoding for iCloud Drive (`Slash,BackSlash,Del,Ctl,InvalidUtf8,Dot`)
/// replaces them; the other rows are names that a service like this might refuse.
const TABLE: [Row; 11] = [
    Row { rule: NameRule::Empty, refuses: true, matches: str::is_empty },
    Row { rule: NameRule::DotOrDotDot, refuses: true, matches: |name| matches!(name, "." | "..") },
    Row { rule: NameRule::Slash, refuses: true, matches: |name| name.contains('/') },
    Row { rule: NameRule::Backslash, refuses: true, matches: |name| name.contains('\\') },
    Row { rule: NameRule::Control, refuses: true, matches: |name| name.chars().any(|c| c.is_ascii_control()) },
    Row { rule: NameRule::TooLong, refuses: true, matches: |name| name.len() > LONGEST },
    Row { rule: NameRule::Colon, refuses: false, matches: |name| name.contains(':') },
    Row { rule: NameRule::LeadingDot, refuses: false, matches: |name| name.starts_with('.') },
    Row { rule: NameRule::TrailingDot, refuses: false, matches: |name| name.ends_with('.') },
    Row { rule: NameRule::LeadingSpace, refuses: false, matches: |name| name.starts_with(' ') },
    Row { rule: NameRule::TrailingSpace, refuses: false, matches: |name| name.ends_with(' ') },
];

/// The first rule that refuses `name`, if any.
pub(crate) fn refusal(name: &str, rules: &DriveRules) -> Option<NameRule> {
    TABLE
        .iter()
        .find(|row| rules.refuse_names.get(&row.rule).copied().unwrap_or(row.refuses) && (row.matches)(name))
        .map(|row| row.rule)
}

/// Returns the form of a name that is the same for names that count as equal: NFC, and case-folded
/// if case is ignored.
pub(crate) fn comparable(name: &str, matching: NameMatching) -> String {
    let composed: String = name.nfc().collect();
    match matching {
        NameMatching::IgnoringCase => caseless::default_case_fold_str(&composed).nfc().collect(),
        NameMatching::CaseSensitive => composed,
    }
}

/// Returns a name as the service's responses encode it.
pub(crate) fn encoded(name: &str) -> String {
    name.nfd().collect()
}

/// Splits a name, also that of a folder, as the service's responses do: into the part before the
/// last dot and the extension. A name that begins or ends with its only dot has no extension.
pub(crate) fn split(name: &str) -> (String, Option<String>) {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && !extension.is_empty() => {
            (encoded(stem), Some(encoded(extension)))
        }
        _ => (encoded(name), None),
    }
}

/// Adds a number to a name: `report 2.pdf` for `report.pdf` and 2.
pub(crate) fn numbered(name: &str, number: u32, is_file: bool) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) if is_file && !stem.is_empty() && !extension.is_empty() => {
            format!("{stem} {number}.{extension}")
        }
        _ => format!("{name} {number}"),
    }
}
