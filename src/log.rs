//! The log: lines on stderr, without secrets.
//!
//! plakar passes its own stderr to a connector, so a user sees these lines among plakar's.
//! Therefore only warnings and errors are logged by default.

use std::{
    env,
    fmt::Display,
    io::{self, Write},
};

use log::{LevelFilter, Log, Metadata, Record};

use crate::message;

/// The variable that enables the complete log.
pub const VARIABLE: &str = "PLAKAR_ICLOUD_LOG";

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Everything, including each request of rclone.
    Complete,
}

impl Verbosity {
    /// Returns the verbosity that the environment selects: `PLAKAR_ICLOUD_LOG=debug` selects
    /// everything.
    pub fn from_env() -> Self {
        if env::var_os(VARIABLE).is_some_and(|value| value == "debug") { Self::Complete } else { Self::Quiet }
    }
}

/// Writes to stderr, for the whole program. Errors are ignored, as on a full disk: plakar's stderr
/// is often a file.
pub fn to_stderr(text: impl Display) {
    let _ = io::stderr().lock().write_all(text.to_string().as_bytes());
}

/// Writes a line for the user to stderr, regardless of the verbosity.
pub fn notice(text: impl Display) {
    to_stderr(format_args!("plakar-icloud: {}\n", message::printable(&text.to_string())));
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        // The debug lines of the transport would hide those of rclone.
        let is_shown = record.target().starts_with("plakar_icloud") || record.target() == "rclone";
        if !is_shown || !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        let level = record.level().as_str().to_ascii_lowercase();
        // Debug texts of rclone may have several lines. In a warning, a line break can only come
        // from a name and is escaped.
        if record.level() >= log::Level::Info {
            for line in message::printable_lines(&text).lines() {
                to_stderr(format_args!("plakar-icloud: {level}: {line}\n"));
            }
        } else {
            to_stderr(format_args!("plakar-icloud: {level}: {}\n", message::printable(text.trim_end())));
        }
    }

    fn flush(&self) {}
}

/// Installs the log, once in a process.
pub fn install() {
    log::set_max_level(match Verbosity::from_env() {
        Verbosity::Quiet => LevelFilter::Warn,
        Verbosity::Complete => LevelFilter::Debug,
    });
    // Fails only if this log is already installed.
    let _ = log::set_logger(&Stderr);
}
