//! Trying again, where that can help.

use std::time::Duration;

use crate::rclone::Error;

/// How often an operation is tried before its error counts.
const ATTEMPTS: u32 = 5;
/// Before the second attempt; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest that a service may ask us to wait while a user looks on. What
/// asks for more has failed: a later run is the better retry.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// A pause from which on a user is told why nothing happens.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// Counts the attempts at one operation.
#[derive(Debug, Default)]
pub struct Attempts {
    failed: u32,
}

impl Attempts {
    /// How long to wait before the next attempt; none if there is to be none.
    pub fn pause_after(&mut self, error: &Error) -> Option<Duration> {
        self.failed += 1;
        if !error.retry || self.failed >= ATTEMPTS {
            return None;
        }
        let pause = error.retry_after.unwrap_or(FIRST_PAUSE * 2_u32.pow(self.failed - 1));
        if pause > LONGEST_PAUSE {
            return None;
        }
        log::log!(level(pause), "trying again in {} s after: {error}", pause.as_secs_f32());
        Some(pause)
    }
}

fn level(pause: Duration) -> log::Level {
    if pause < LONG_PAUSE { log::Level::Info } else { log::Level::Warn }
}

/// Runs `operation` until it succeeds or its error will not go away.
///
/// # Errors
/// The last one.
pub async fn retried<T, F>(mut operation: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut attempts = Attempts::default();
    loop {
        match operation().await {
            Ok(value) => return Ok(value),
            Err(error) => match attempts.pause_after(&error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_told() {
        assert_eq!(level(Duration::from_secs(8)), log::Level::Info);
        assert_eq!(level(Duration::from_secs(60)), log::Level::Warn);
    }
}
