//! A rate that downloads share: all of them, or those of one connection.

use std::time::{Duration, Instant};

/// A link with a limited rate.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// The time from which the link is free.
    free_at: Option<Instant>,
}

impl Link {
    /// Reserves the link for `bytes` at a rate in bytes per second, and returns how long the sender
    /// has to wait. A rate of 0 sets no limit.
    pub(crate) fn take(&mut self, bytes: u64, rate: u64) -> Duration {
        if rate == 0 {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let start = self.free_at.map_or(now, |free_at| free_at.max(now));
        let end = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        self.free_at = Some(end);
        end - now
    }
}
