//! The names that items get if they cannot have their own name in the destination.

use std::vec;

use xxhash_rust::xxh3::xxh3_64;

use super::Failure;
use crate::{drive::DrivePath, rclone::Kind};

/// The maximum length of a derived name, in bytes: the limit of most file systems and services.
pub const MAX_NAME_LENGTH: usize = 255;

/// Why an item cannot have its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason<'a> {
    /// The name is equal to that of another item of the restore.
    Twin,
    /// The service refuses the name.
    Refused,
    /// The item is the archive of a package, and the service does not store it as a package.
    Archive,
    /// An item that is not replaced has the name. The text is the date of the restore.
    Beside(&'a str),
}

impl Reason<'_> {
    /// Returns the forms of a name that are tried, the preferred first. If the service refuses one
    /// form, it may accept the next.
    pub fn forms(self, name: &str) -> Vec<String> {
        match self {
            // The service may refuse the name of the twin, too.
            Self::Twin => [vec![name.to_owned()], Self::Refused.forms(name)].concat(),
            Self::Archive => vec![shortened(&format!("{name}.zip"))],
            Self::Beside(date) => vec![with_suffix(name, &format!(" (restored {date})"))],
            Self::Refused => {
                let mut forms = vec![shortened(&visible(name, false)), shortened(&visible(name, true))];
                // The service may refuse the extension.
                forms.push(cut(&forms[1], MAX_NAME_LENGTH - 2).to_owned() + "~2");
                forms.dedup();
                forms.retain(|form| form != name);
                forms
            }
        }
    }

    /// Returns the first derived name.
    pub fn first_name(self, name: &str) -> Option<String> {
        self.numbered(self.forms(name).first()?).next()
    }

    /// Returns the names of one form in the order in which they are tried: the form itself, unless
    /// its name is taken, then the form with numbers.
    pub fn numbered(self, form: &str) -> impl Iterator<Item = String> {
        let (own, mark) = match self {
            Self::Twin => (None, "~"),
            Self::Refused | Self::Archive => (Some(form.to_owned()), "~"),
            Self::Beside(_) => (Some(form.to_owned()), " "),
        };
        own.into_iter().chain((2..=MAX_NUMBER).map(move |number| with_suffix(form, &format!("{mark}{number}"))))
    }
}

/// The paths under which an item may be stored instead of its own, one after the other.
pub struct Candidates<'a> {
    path: &'a DrivePath,
    reason: Reason<'a>,
    forms: vec::IntoIter<String>,
    names: vec::IntoIter<String>,
    /// Why the last candidate was not accepted.
    failure: Failure,
}

impl<'a> Candidates<'a> {
    /// Returns the candidates for the item of a path.
    pub fn new(path: &'a DrivePath, reason: Reason<'a>) -> Self {
        let failure = Failure::new(format!("cannot restore {path}: no other name is free"), "no other name is free");
        let forms = reason.forms(path.name()).into_iter();
        Self { path, reason, forms, names: Vec::new().into_iter(), failure }
    }

    /// Records why the last candidate was not accepted.
    ///
    /// # Errors
    /// Returns the failure if it does not concern the name.
    pub fn reject(&mut self, failure: Failure) -> Result<(), Failure> {
        match failure.kind {
            Some(Kind::Exists) => {}
            // The service refuses this form with any number.
            Some(Kind::RefusedName) => self.names = Vec::new().into_iter(),
            _ => return Err(failure),
        }
        self.failure = failure;
        Ok(())
    }

    /// Returns why no candidate was accepted.
    pub fn into_failure(self) -> Failure {
        self.failure
    }
}

impl Iterator for Candidates<'_> {
    type Item = DrivePath;

    fn next(&mut self) -> Option<DrivePath> {
        loop {
            if let Some(name) = self.names.next() {
                return self.path.parent().child(&name).ok();
            }
            let form = self.forms.next()?;
            self.names = self.reason.numbered(&form).collect::<Vec<_>>().into_iter();
        }
    }
}

/// The highest number in a derived name.
const MAX_NUMBER: u32 = 999;

/// Returns the name with a suffix before its extension. The name is cut if it would be too long.
fn with_suffix(name: &str, suffix: &str) -> String {
    let (stem, extension) = split(name);
    let room = MAX_NAME_LENGTH.saturating_sub(suffix.len() + extension.len());
    format!("{}{suffix}{extension}", cut(stem, room))
}

/// Splits a name before the dot of its extension. An extension of more than 16 bytes counts as part
/// of the name.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= 17 => name.split_at(dot),
        _ => (name, ""),
    }
}

/// Returns the longest prefix of a text that has at most `most` bytes and only whole characters.
fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns the name. If it is too long, it is cut and gets a hash of the whole name.
fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME_LENGTH {
        return name.to_owned();
    }
    with_suffix(name, &format!("~{:08x}", xxh3_64(name.as_bytes()) >> 32))
}

/// Replaces the characters that a service may refuse with visible ones that look similar: control
/// characters, backslashes, and spaces and dots at the ends. `all` also replaces a dot at the start
/// and the characters that Windows refuses. rclone uses the same replacements.
fn visible(name: &str, all: bool) -> String {
    let last = name.chars().count().saturating_sub(1);
    let shown = |(at, character): (usize, char)| match character {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        '\\' => '\u{ff3c}',
        ' ' if at == 0 || at == last => '\u{2420}',
        '.' if at == last || all && at == 0 => '\u{ff0e}',
        ':' | '?' | '*' | '"' | '<' | '>' | '|' if all => {
            char::from_u32(0xff00 + u32::from(character) - 0x20).unwrap_or('\u{fffd}')
        }
        other => other,
    };
    name.chars().enumerate().map(shown).collect()
}

/// Reports whether a name has a character that a service may refuse.
pub fn is_odd(name: &str) -> bool {
    visible(name, true) != name
}

/// Reports whether a name may have been derived from a refused name.
pub fn may_be_derived(name: &str) -> bool {
    name.contains(|character| matches!(character, '\u{2400}'..='\u{2421}' | '\u{ff01}'..='\u{ff5e}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(reason: Reason<'_>, name: &str, count: usize) -> Vec<String> {
        let mut forms = reason.forms(name);
        if reason == Reason::Twin {
            forms.truncate(1);
        }
        forms.iter().flat_map(|form| reason.numbered(form).take(count)).collect()
    }

    #[test]
    fn derived_names_are_readable() {
        assert_eq!(first(Reason::Twin, "Report.txt", 2), ["Report~2.txt", "Report~3.txt"]);
        assert_eq!(first(Reason::Twin, ".profile", 1), [".profile~2"]);
        assert_eq!(first(Reason::Twin, "v1. What we have decided", 1), ["v1. What we have decided~2"]);
        let beside = Reason::Beside("2026-11-28");
        assert_eq!(first(beside, "a.txt", 2), ["a (restored 2026-11-28).txt", "a (restored 2026-11-28) 2.txt"]);
        assert_eq!(first(Reason::Refused, "Icon\r", 1), ["Icon\u{240d}", "Icon\u{240d}~2"]);
        assert_eq!(
            first(Reason::Refused, "a\\b:c.", 1),
            ["a\u{ff3c}b:c\u{ff0e}", "a\u{ff3c}b\u{ff1a}c\u{ff0e}", "a\u{ff3c}b\u{ff1a}c\u{ff0e}~2"]
        );
        assert_eq!(first(Reason::Refused, "plain", 1), ["plain~2"]);
    }

    /// The first form keeps what only Windows refuses.
    #[test]
    fn refused_characters_become_characters_that_look_similar() {
        for (control, picture) in ('\u{1}'..='\u{1f}').zip('\u{2401}'..='\u{241f}') {
            for (name, shown) in
                [(format!("a{control}b"), format!("a{picture}b")), (format!("{control}"), format!("{picture}"))]
            {
                assert_eq!(Reason::Refused.forms(&name)[0], shown);
                assert!(is_odd(&name) && may_be_derived(&shown) && !is_odd(&shown));
            }
        }
        for (name, first, second) in [
            ("a\u{7f}b", "a\u{2421}b", "a\u{2421}b"),
            (" a b ", "\u{2420}a b\u{2420}", "\u{2420}a b\u{2420}"),
            (".a.b.", ".a.b\u{ff0e}", "\u{ff0e}a.b\u{ff0e}"),
            ("a\\b", "a\u{ff3c}b", "a\u{ff3c}b"),
            (
                "\u{7f}a:?*\"<>|",
                "\u{2421}a:?*\"<>|",
                "\u{2421}a\u{ff1a}\u{ff1f}\u{ff0a}\u{ff02}\u{ff1c}\u{ff1e}\u{ff5c}",
            ),
        ] {
            assert_eq!((visible(name, false).as_str(), visible(name, true).as_str()), (first, second));
        }
        assert!(!is_odd("a b.c-d~2 \u{e9}") && !may_be_derived("a b.c-d~2 \u{e9}"));
    }

    #[test]
    fn derived_names_are_short_enough_and_differ() {
        let (one, other) = ("é".repeat(200) + "1.txt", "é".repeat(200) + "2.txt");
        let short = |name: &str| Reason::Refused.forms(name).swap_remove(0);
        assert!(short(&one).len() <= MAX_NAME_LENGTH && short(&one).ends_with(".txt"), "{}", short(&one));
        assert_ne!(short(&one), short(&other));
        let longest = "x".repeat(251) + ".txt";
        assert_eq!(first(Reason::Twin, &longest, 1)[0].len(), MAX_NAME_LENGTH);
        assert!(first(Reason::Twin, &longest, 1)[0].ends_with("~2.txt"));
    }
}
