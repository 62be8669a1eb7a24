//! All output to stdout.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;
use textwrap::{Options, WordSeparator, WordSplitter};

use super::Error;
use crate::{log::to_stderr, message, secret};

/// Prints a result of one or more lines.
pub fn print(text: &str) -> Result<(), Error> {
    write(&message::printable_lines(text))
}

/// Writes to stdout. A closed pipe is not an error.
fn write(text: &str) -> Result<(), Error> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("stdout cannot be written")(error)),
        _ => Ok(()),
    }
}

/// Prints a result as JSON, without secrets.
pub fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let mut value = serde_json::to_value(value).map_err(|error| not_json(&error))?;
    redact(&mut value);
    print_json_with_secrets(&value)
}

/// Prints a result as JSON, including secrets.
pub fn print_json_with_secrets(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| not_json(&error))? + "\n";
    write(&message::printable_json(&text))
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::Failed(format!("the result cannot be written as JSON: {error}"))
}

/// Redacts every string of a result.
fn redact(value: &mut Value) {
    match value {
        Value::String(text) => *text = secret::redact(text).into_owned(),
        Value::Array(values) => values.iter_mut().for_each(redact),
        Value::Object(members) => members.values_mut().for_each(redact),
        _ => {}
    }
}

/// Prints a message on stderr. It is one line, which is wrapped between words on a terminal.
pub fn note(text: &str) {
    let text = message::printable(text);
    if io::stderr().is_terminal() {
        to_stderr(textwrap::fill(&text, wrap_options("")) + "\n");
    } else {
        to_stderr(format_args!("{text}\n"));
    }
}

/// Returns a row of a table: a label, and a text that is wrapped within its column.
pub fn row(label: &str, width: usize, text: &str) -> String {
    let line = format!("{label:<width$} {}", message::printable(text));
    let line =
        if io::stdout().is_terminal() { textwrap::fill(&line, wrap_options(&" ".repeat(width + 1))) } else { line };
    line + "\n"
}

/// Returns the options for wrapping to the width of the terminal. Words are not broken, so that
/// commands and addresses stay intact.
fn wrap_options(indent: &str) -> Options<'_> {
    Options::with_termwidth()
        .subsequent_indent(indent)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
}

/// Returns the day of an RFC 3339 time.
pub fn day(time: &str) -> &str {
    time.get(..10).unwrap_or(time)
}

/// Returns the day and the minute of an RFC 3339 time.
pub fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ") + " UTC"
}
