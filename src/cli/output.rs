//! The one place that writes to stdout.

use std::io::{self, Write};

use serde::Serialize;

use super::Error;
use crate::secret;

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

/// Tells a person something that is no result, on stderr.
pub fn tell(text: &str) {
    eprintln!("{}", secret::redact(text));
}

/// The day of an RFC 3339 time.
pub fn day(time: &str) -> &str {
    time.get(..10).unwrap_or(time)
}

/// The day and the minute of an RFC 3339 time.
pub fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ") + " UTC"
}
