//! The rate that downloads share: all of them, or those of one connection.

use std::time::{Duration, Instant};

/// When the link is free again.
#[derive(Debug, Default)]
pub(crate) struct Link {
    free_at: Option<Instant>,
}

impl Link {
    /// Books `bytes` at a rate in bytes per second and says how long the sender waits for them to have passed.
    /// A rate of 0 sets no limit.
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
