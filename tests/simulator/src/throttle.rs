//! Refusal of requests from clients that send too many.

use std::time::{Duration, Instant};

use crate::rules::ThrottleRules;
use crate::transport::message::Response;

/// A token bucket for the requests to the hosts of Drive.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// The number of tokens at a time.
    filled: Option<(f64, Instant)>,
    refused_until: Option<Instant>,
}

impl Throttle {
    /// Takes a token for one request, or returns the refusal.
    pub(crate) fn admit(&mut self, rules: &ThrottleRules, now: Instant) -> Result<(), Response> {
        if rules.calls_per_second == 0 {
            return Ok(());
        }
        if self.refused_until.is_some_and(|until| now < until) {
            return Err(refusal(rules));
        }
        let rate = f64::from(rules.calls_per_second);
        let most = f64::from(rules.burst.max(1));
        let tokens = match self.filled {
            Some((tokens, at)) => (tokens + now.duration_since(at).as_secs_f64() * rate).min(most),
            None => most,
        };
        if tokens < 1.0 {
            self.filled = Some((tokens, now));
            self.refused_until = (rules.penalty_ms > 0).then(|| now + Duration::from_millis(rules.penalty_ms));
            return Err(refusal(rules));
        }
        self.filled = Some((tokens - 1.0, now));
        Ok(())
    }
}

fn refusal(rules: &ThrottleRules) -> Response {
    let response = Response::cloudkit_error(rules.status, "THROTTLED", "Request throttled");
    match rules.retry_after_seconds {
        Some(seconds) => response.with_header("retry-after", seconds.to_string()),
        None => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(throttle: &mut Throttle, rules: &ThrottleRules, calls: usize, now: Instant) -> usize {
        (0..calls).filter(|_| throttle.admit(rules, now).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_and_then_only_requests_at_the_rate() {
        let rules = ThrottleRules { calls_per_second: 10, burst: 5, ..ThrottleRules::default() };
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(admitted(&mut throttle, &rules, 20, now), 5);
        assert_eq!(admitted(&mut throttle, &rules, 20, now + Duration::from_millis(300)), 3);
        assert_eq!(admitted(&mut throttle, &rules, 20, now + Duration::from_secs(60)), 5);
    }

    #[test]
    fn a_refusal_starts_the_penalty_during_which_every_request_is_refused() {
        let rules = ThrottleRules { calls_per_second: 10, burst: 5, penalty_ms: 60_000, ..ThrottleRules::default() };
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(admitted(&mut throttle, &rules, 6, now), 5);
        assert_eq!(admitted(&mut throttle, &rules, 1, now + Duration::from_secs(59)), 0);
        assert_eq!(admitted(&mut throttle, &rules, 6, now + Duration::from_secs(61)), 5);
    }
}
