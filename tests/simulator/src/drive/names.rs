//! Names: which are refused, how they compare, how they are answered.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::rules::DriveRules;

/// A reason to refuse a name. [`TABLE`] says what each matches and whether it refuses by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameRule {
    Empty,
    DotOrDotDot,
    Slash,
    Backslash,
    Colon,
    Control,
    LeadingDot,
    TrailingDot,
    LeadingSpace,
    TrailingSpace,
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

/// The form in which two names are the same name: NFC, then case folded, then NFC again.
pub(crate) fn comparable(name: &str) -> String {
    let composed: String = name.nfc().collect();
    caseless::default_case_fold_str(&composed).nfc().collect()
}

/// The form in which the service answers a name.
pub(crate) fn answered(name: &str) -> String {
    name.nfd().collect()
}

/// A file's name as the service answers it: the part before the last dot, and the extension.
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
