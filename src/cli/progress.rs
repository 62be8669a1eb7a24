//! The progress of a command on stderr.

use std::{
    cell::Cell,
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::output;

/// The number of items after which a line is printed if stderr is not a terminal.
const ITEMS_PER_LINE: u64 = 50_000;

/// The progress on stderr: a line that changes on a terminal, and a few lines elsewhere.
pub enum Progress {
    /// The changing line.
    Bar(ProgressBar),
    /// The number of items at which the next line is printed.
    Lines(Cell<u64>),
}

impl Progress {
    /// Returns the progress of a command that begins now.
    pub fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines(Cell::new(ITEMS_PER_LINE));
        }
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::Bar(bar)
    }

    /// Shows a text after a number of items.
    pub fn show(&self, items: u64, text: impl FnOnce() -> String) {
        match self {
            Self::Bar(bar) => bar.set_message(text()),
            Self::Lines(next) if items >= next.get() => {
                output::note(&format!("{} so far", text()));
                next.set(items + ITEMS_PER_LINE);
            }
            Self::Lines(_) => {}
        }
    }

    /// Removes the changing line.
    pub fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
