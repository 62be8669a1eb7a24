//! Retries of operations.

use std::time::Duration;

use crate::rclone::Error;

/// How often an operation is attempted before its error is returned.
const MAX_ATTEMPTS: u32 = 5;
/// The pause before the second attempt. It doubles before each further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest wait that a service may request. If it requests a longer one, the operation fails,
/// so that the user can run the command later.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The shortest pause that is logged as a warning, because a user may be waiting.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// A counter of the attempts at an operation.
#[derive(Debug)]
pub struct Attempts {
    failed: u32,
    most: u32,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { failed: 0, most: MAX_ATTEMPTS }
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
    use std::cell::{Cell, RefCell};

    use super::*;

    /// Returns an error that a retry may fix, at once.
    fn temporary() -> Error {
        Error { retry: true, retry_after: Some(Duration::ZERO), ..Error::unexpected("temporary") }
    }

    #[test]
    fn pauses_double_until_no_attempt_is_left() {
        let error = Error { retry_after: None, ..temporary() };
        let mut attempts = Attempts::default();
        let pauses: Vec<u128> =
            std::iter::from_fn(|| attempts.pause_after(&error)).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000]);
        let mut one = Attempts::ONE;
        assert_eq!(one.pause_after(&error), None);
    }

    #[test]
    fn the_service_may_request_a_pause_of_limited_length() {
        for (seconds, waits) in [(7, true), (300, true), (301, false)] {
            let asked = Duration::from_secs(seconds);
            let pause = Attempts::default().pause_after(&Error { retry_after: Some(asked), ..temporary() });
            assert_eq!(pause, waits.then_some(asked));
        }
        assert_eq!(Attempts::default().pause_after(&Error { retry: false, ..temporary() }), None);
    }

    #[tokio::test]
    async fn an_operation_is_retried_until_it_succeeds_or_no_attempt_is_left() {
        for (failures, made, succeeds) in [(0, 1, true), (4, 5, true), (5, 5, false)] {
            let calls = Cell::new(0);
            let operation = || {
                calls.set(calls.get() + 1);
                std::future::ready(if calls.get() > failures { Ok(()) } else { Err(temporary()) })
            };
            assert_eq!(retried(Attempts::default(), operation).await.is_ok(), succeeds);
            assert_eq!(calls.get(), made);
        }
    }

    /// Of several items, only those with a temporary error are retried. A failed call counts for all.
    #[tokio::test]
    async fn only_items_with_temporary_errors_are_retried() {
        let calls = RefCell::new(Vec::new());
        let operation = |left: &[usize]| {
            calls.borrow_mut().push(left.to_vec());
            let of = |&item: &usize| match item {
                0 => Ok(item),
                1 => Err(Error::unexpected("permanent")),
                _ if calls.borrow().len() > 3 => Ok(item),
                _ => Err(temporary()),
            };
            let call_fails = calls.borrow().len() == 1;
            std::future::ready(if call_fails { Err(temporary()) } else { Ok(left.iter().map(of).collect()) })
        };
        let results = retried_each(Attempts::default(), 3, operation).await;
        let texts: Vec<_> = results.iter().map(|result| result.as_ref().map_err(|error| error.text.as_str())).collect();
        assert_eq!(texts, [Ok(&0), Err("permanent"), Ok(&2)]);
        assert_eq!(*calls.borrow(), [vec![0, 1, 2], vec![0, 1, 2], vec![2], vec![2]]);
    }

    #[test]
    fn long_pauses_are_logged_as_warnings() {
        assert_eq!(level(Duration::from_secs(8)), log::Level::Info);
        assert_eq!(level(Duration::from_secs(60)), log::Level::Warn);
    }
}
