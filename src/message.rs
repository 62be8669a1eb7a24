//! Text for users: without secrets and without characters that control a terminal.
//!
//! The names of files, the responses of services and the values of configurations may contain any
//! character. All output of the program passes through this module last.

use std::borrow::Cow;

use crate::secret;

/// Returns a message on one line. Secrets are redacted, and line breaks and other control
/// characters are escaped.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(secret::redact(text), is_control, |escaped, character| escaped.extend(character.escape_default()))
}

/// Returns a text of several lines. It is escaped as by [`printable`], except for line breaks and
/// tabs.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    let is_escaped = |character| is_control(character) && !matches!(character, '\n' | '\t');
    escaped(secret::redact(text), is_escaped, |escaped, character| escaped.extend(character.escape_default()))
}

/// Returns JSON with the same meaning, without control characters in its strings. Line breaks
/// between its members stay.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |character| is_control(character) && character != '\n';
    escaped(Cow::Borrowed(json), is_escaped, |escaped, character| {
        *escaped += &format!("\\u{:04x}", u32::from(character));
    })
}

/// Reports whether a character controls a terminal instead of being shown: C0, DEL and C1 controls,
/// line separators, and characters that change the direction of writing.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: Cow<'_, str>, escape: impl Fn(char) -> bool, write: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(&escape) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if escape(character) { write(&mut escaped, character) } else { escaped.push(character) }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_control_a_terminal_are_escaped() {
        assert_eq!(printable("a\u{1b}[31m\u{7}\r\nb\u{9b}\u{202e}c"), "a\\u{1b}[31m\\u{7}\\r\\nb\\u{9b}\\u{202e}c");
        assert_eq!(printable_lines("a\n\tb\u{7f}"), "a\n\tb\\u{7f}");
        assert_eq!(printable("Dr\u{e9} \u{65e5}\u{672c} \u{1f600}"), "Dr\u{e9} \u{65e5}\u{672c} \u{1f600}");
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({ "name": "a\u{9b}\u{202e}\u{7f}\nb" });
        let shown = printable_json(&serde_json::to_string_pretty(&value).unwrap()).into_owned();
        assert!(shown.chars().all(|character| character == '\n' || !is_control(character)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
