//! The cost of some work, and the table of it.

use std::time::Duration;

pub const MIB: u64 = 1024 * 1024;

/// The printed rows.
pub struct Table {
    /// Whether all rows so far are within their limits.
    pub holds: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self { holds: true }
    }
}

impl Table {
    /// Prints a row. `holds` is whether the row is within its limits.
    pub fn row(&mut self, name: &str, figures: &str, holds: bool) {
        self.holds &= holds;
        println!("{name:<36} {figures}{}", if holds { "" } else { "  TOO MUCH" });
    }
}

/// The cost of some work.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub requests: u64,
    /// Bytes received from the service, and bytes sent to it.
    pub down: u64,
    pub up: u64,
    pub took: Duration,
}

impl Cost {
    pub fn figures(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / MIB as f64;
        let (down, up, took) = (mib(self.down), mib(self.up), self.took.as_secs_f64());
        format!("{:>5} requests {down:>8.2} MiB down {up:>8.2} MiB up {took:>7.2} s", self.requests)
    }
}
