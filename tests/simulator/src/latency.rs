//! The latency of responses.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::drive::item::ItemId;
use crate::kinds::RequestKind;
use crate::rules::{LatencyProfile, TransportRules};

/// The latency of the first listing of a folder after a write to it: 28 to 31 s (measured
/// write-phase-latency 09-30).
const LISTING_AFTER_WRITE_MS: u64 = 30_000;

/// The latency of every listing of the Trash: 29 to 32 s (cirrove's Trash probe).
const TRASH_LISTING_MS: u64 = 30_000;

/// The milliseconds until a response begins in the measured profile. `RULES.md` has the sources.
fn measured(kind: RequestKind) -> u64 {
    match kind {
        RequestKind::List => 650,
        RequestKind::ListDetails => 900,
        RequestKind::UpdateDocuments | RequestKind::CreateFolders => 1_500,
        RequestKind::Rename | RequestKind::Move | RequestKind::PutBack | RequestKind::Copy => 2_200,
        RequestKind::Trash | RequestKind::Delete => 20_000,
        // The requests for a content URL and for an upload URL were measured; the others are guesses.
        _ => 500,
    }
}

/// The times at which the listings of the folders that were written to are ready.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// `None` until the first request for a listing after the write.
    slow: HashMap<ItemId, Option<Instant>>,
}

/// What the latency of a request depends on.
pub(crate) struct Factors<'a> {
    pub(crate) kind: RequestKind,
    /// The folders whose listing is requested.
    pub(crate) listed: &'a [ItemId],
    /// Whether the listing of the Trash is requested.
    pub(crate) trash: bool,
}

impl Latency {
    /// Makes the next listing of a folder slow.
    pub(crate) fn written(&mut self, folder: ItemId) {
        self.slow.insert(folder, None);
    }

    /// Returns the latency of the response to a request that arrives now. Another request for a
    /// slow listing waits until the first one is ready.
    pub(crate) fn of(&mut self, rules: &TransportRules, request: &Factors<'_>, now: Instant) -> Duration {
        let scaled = |ms: u64| Duration::from_secs_f64(ms as f64 / 1000.0 * rules.latency_scale.max(0.0));
        match rules.latency_profile {
            LatencyProfile::Flat => Duration::from_millis(rules.latency_ms),
            LatencyProfile::Measured => {
                let mut longest = scaled(if request.trash { TRASH_LISTING_MS } else { measured(request.kind) });
                for folder in request.listed {
                    let Some(ready) = self.slow.get_mut(folder) else { continue };
                    let ready = *ready.get_or_insert(now + scaled(LISTING_AFTER_WRITE_MS));
                    if ready <= now {
                        self.slow.remove(folder);
                    } else {
                        longest = longest.max(ready - now);
                    }
                }
                longest
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn list(latency: &mut Latency, folder: usize, now: Instant) -> Duration {
        let rules = TransportRules { latency_profile: LatencyProfile::Measured, ..TransportRules::default() };
        let listed = [ItemId(folder)];
        latency.of(&rules, &Factors { kind: RequestKind::List, listed: &listed, trash: false }, now)
    }

    #[test]
    fn the_first_listing_after_a_write_is_slow_and_later_requests_wait_for_it() {
        let (mut latency, now) = (Latency::default(), Instant::now());
        let warm = Duration::from_millis(650);
        assert_eq!(list(&mut latency, 1, now), warm);
        latency.written(ItemId(1));
        assert_eq!(list(&mut latency, 2, now), warm, "another folder");
        assert_eq!(list(&mut latency, 1, now + SECOND), 30 * SECOND);
        assert_eq!(list(&mut latency, 1, now + 11 * SECOND), 20 * SECOND);
        assert_eq!(list(&mut latency, 1, now + 31 * SECOND), warm);
        latency.written(ItemId(1));
        assert_eq!(list(&mut latency, 1, now + 32 * SECOND), 30 * SECOND);
    }

    #[test]
    fn the_scale_applies_to_every_measured_latency_and_the_flat_profile_ignores_the_kind() {
        let (mut latency, now) = (Latency::default(), Instant::now());
        let mut rules = TransportRules { latency_profile: LatencyProfile::Measured, ..TransportRules::default() };
        rules.latency_scale = 0.01;
        let mut of =
            |rules: &TransportRules, kind, trash| latency.of(rules, &Factors { kind, listed: &[], trash }, now);
        assert_eq!(of(&rules, RequestKind::Trash, false), Duration::from_millis(200));
        assert_eq!(of(&rules, RequestKind::List, true), Duration::from_millis(300));
        rules = TransportRules { latency_ms: 40, ..TransportRules::default() };
        assert_eq!(of(&rules, RequestKind::Trash, false), Duration::from_millis(40));
    }
}
