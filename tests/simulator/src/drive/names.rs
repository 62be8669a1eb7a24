//! Names: which are refused, how they compare, how they are answered.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::rules::{DriveRules, NameMatching};

/// A reason to refuse a name; `RULES.md` says which refuse by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameRule {
    /// No name at all.
    Empty,
    /// `.` and `..`.
    DotOrDotDot,
    /// A `/` anywhere.
    Slash,
    /// A `\` anywhere.
    Backslash,
    /// A `:` anywhere.
    Colon,
    /// U+0000 to U+001F and U+007F.
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

/// Guessed as a whole. The refusing rows down to `Control` are what rclone's default encoding for iCloud Drive keeps
/// from ever being sent (`Slash,BackSlash,Del,Ctl,InvalidUtf8,Dot`); the others are what a service of this kind may refuse.
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

/// The form in which two names are the same name: NFC, and case folded where case makes no difference.
pub(crate) fn comparable(name: &str, matching: NameMatching) -> String {
    let composed: String = name.nfc().collect();
    match matching {
        NameMatching::IgnoringCase => caseless::default_case_fold_str(&composed).nfc().collect(),
        NameMatching::CaseSensitive => composed,
    }
}

/// The form in which the service answers a name.
pub(crate) fn answered(name: &str) -> String {
    name.nfd().collect()
}

/// A name as the service answers it, a folder's too: the part before the last dot, and the extension.
/// A name that begins or ends with its only dot has no extension.
pub(crate) fn split(name: &str) -> (String, Option<String>) {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && !extension.is_empty() => {
            (answered(stem), Some(answered(extension)))
        }
        _ => (answered(name), None),
    }
}

/// `report 2.pdf` for `report.pdf` and 2.
pub(crate) fn numbered(name: &str, number: u32, is_file: bool) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) if is_file && !stem.is_empty() && !extension.is_empty() => {
            format!("{stem} {number}.{extension}")
        }
        _ => format!("{name} {number}"),
    }
}
