//! The service's clock: the machine's time plus an offset that a test can change.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset_seconds: i64,
}

impl Clock {
    pub(crate) fn now_ms(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis());
        i64::try_from(since_epoch).unwrap_or(i64::MAX) + self.offset_seconds * 1000
    }

    pub(crate) fn now_seconds(&self) -> i64 {
        self.now_ms() / 1000
    }

    pub(crate) fn offset_seconds(&self) -> i64 {
        self.offset_seconds
    }

    pub(crate) fn set_offset_seconds(&mut self, offset: i64) {
        self.offset_seconds = offset;
    }
}

/// Formats a time as `2026-01-31T12:00:00Z`: the service's listings have whole seconds.
pub(crate) fn rfc3339_seconds(ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000))
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| String::from("1970-01-01T00:00:00Z"))
}
