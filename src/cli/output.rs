//! The one place that writes to stdout.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use textwrap::{Options, WordSeparator, WordSplitter};

use super::Error;
use crate::{log::to_stderr, secret};

/// Prints a result. That nobody reads any more is no failure.
pub fn print(text: &str) -> Result<(), Error> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("stdout cannot be written")(error)),
        _ => Ok(()),
    }
}

/// Prints a result as JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Usage(format!("the result cannot be written as JSON: {error}")))?;
    print(&(text + "\n"))
}

/// Tells a person something that is no result, on stderr: one line, which a
/// terminal gets broken between words.
pub fn tell(text: &str) {
    let text = secret::redact(text);
    if io::stderr().is_terminal() {
        to_stderr(textwrap::fill(&text, between_words("")) + "\n");
    } else {
        to_stderr(format_args!("{text}\n"));
    }
}

/// A line of a table: a label, and a text that stays in its column.
pub fn row(label: &str, width: usize, text: &str) -> String {
    let line = format!("{label:<width$} {text}");
    let line =
        if io::stdout().is_terminal() { textwrap::fill(&line, between_words(&" ".repeat(width + 1))) } else { line };
    line + "\n"
}

/// Lines of the terminal's width. No word is broken: commands and addresses stay
/// what they are.
fn between_words(indent: &str) -> Options<'_> {
    Options::with_termwidth()
        .subsequent_indent(indent)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
}

/// The day of an RFC 3339 time.
pub fn day(time: &str) -> &str {
    time.get(..10).unwrap_or(time)
}

/// The day and the minute of an RFC 3339 time.
pub fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ") + " UTC"
}
