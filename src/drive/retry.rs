//! Retries of operations.

use std::time::Duration;

use crate::rclone::Error;

/// How often an operation is attempted before its error is returned.
const ATTEMPTS: u32 = 5;
/// The pause before the second attempt. It doubles before each further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest wait that a service may request. If it requests a longer one, the operation fails,
/// so that the user can run the command later.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The shortest pause that is logged as a warning, so that the user sees why nothing happens.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// A counter of the attempts at an operation.
#[derive(Debug)]
pub struct Attempts {
    failed: u32,
    most: u32,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { failed: 0, most: ATTEMPTS }
    }
}

impl Attempts {
    /// A single attempt.
    pub const ONE: Self = Self { failed: 0, most: 1 };

    /// Returns how long to wait before the next attempt, or none if there is no further attempt.
    pub fn pause_after(&mut self, error: &Error) -> Option<Duration> {
        self.failed += 1;
        if !error.retry || self.failed >= self.most {
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

/// Runs `operation` until it succeeds, fails with an error that a retry cannot fix, or has no
/// attempts left.
///
/// # Errors
/// Returns the error of the last attempt.
pub async fn retried<T, F>(mut attempts: Attempts, mut operation: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
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

/// Runs `operation` on a number of items, as [`retried`] does, until none has to be tried again.
/// `operation` gets the indices of the items that are left and returns one result for each, in
/// order.
pub async fn retried_each<T, F>(
    mut attempts: Attempts,
    items: usize,
    mut operation: impl FnMut(&[usize]) -> F,
) -> Vec<Result<T, Error>>
where
    F: Future<Output = Result<Vec<Result<T, Error>>, Error>>,
{
    let mut results: Vec<Result<T, Error>> = Vec::new();
    results.resize_with(items, || Err(Error { retry: true, ..Error::unexpected("it was not requested") }));
    loop {
        let is_left = |result: &Result<T, Error>| result.as_ref().is_err_and(|error| error.retry);
        let left: Vec<usize> = (0..items).filter(|&i| is_left(&results[i])).collect();
        match operation(&left).await {
            Ok(outcomes) => left.iter().zip(outcomes).for_each(|(&i, outcome)| results[i] = outcome),
            Err(error) => left.iter().for_each(|&i| results[i] = Err(error.clone())),
        }
        let failures = results.iter().filter_map(|result| result.as_ref().err());
        // The pause is the longest one that the errors request.
        let retryable = failures.filter(|error| error.retry).max_by_key(|error| error.retry_after);
        match retryable.and_then(|error| attempts.pause_after(error)) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return results,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_pauses_are_logged_as_warnings() {
        assert_eq!(level(Duration::from_secs(8)), log::Level::Info);
        assert_eq!(level(Duration::from_secs(60)), log::Level::Warn);
    }
}
