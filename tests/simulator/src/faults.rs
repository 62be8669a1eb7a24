//! Faults: rules that make chosen requests fail or their responses wrong.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::drive::odd::OddListing;
use crate::kinds::RequestKind;

/// A fault, and the requests that it applies to. Rules are tried in the order in which they were
/// added. Only the first one that applies has an effect, but after a [`FaultAction::Hold`] a later
/// rule can apply too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultRule {
    /// The kind of request that the rule applies to; `None` for any kind.
    #[serde(default)]
    pub kind: Option<RequestKind>,
    /// The rule applies only if an id, path or name in the request contains this text.
    #[serde(default)]
    pub matching: Option<String>,
    /// The number of matching requests that pass before the rule applies.
    #[serde(default)]
    pub skip: u64,
    /// How often the rule applies; `None` for no limit.
    #[serde(default)]
    pub times: Option<u64>,
    /// The probability that the rule applies to a matching request, drawn from the simulator's
    /// seed; `None` for 1.
    #[serde(default)]
    pub probability: Option<f64>,
    /// What happens to the request.
    pub action: FaultAction,
}

impl FaultRule {
    /// A rule for every request of a kind.
    #[must_use]
    pub fn new(kind: RequestKind, action: FaultAction) -> Self {
        Self { kind: Some(kind), action, ..Self::any(FaultAction::ResetBefore) }
    }

    /// A rule for every request.
    #[must_use]
    pub fn any(action: FaultAction) -> Self {
        Self { kind: None, matching: None, skip: 0, times: None, probability: None, action }
    }

    /// Applies the rule only to requests with an id, path or name that contains this text.
    #[must_use]
    pub fn matching(mut self, text: impl Into<String>) -> Self {
        self.matching = Some(text.into());
        self
    }

    /// Lets this number of matching requests pass first.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Applies the rule this number of times, and then never again.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Applies the rule with this probability, from 0 to 1.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }
}

/// What happens to a request that a rule applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum FaultAction {
    /// This is the response; the request has no effect.
    Status {
        /// The HTTP status.
        status: u16,
        /// The body, with the content type of JSON.
        #[serde(default)]
        body: String,
        /// Headers such as `retry-after`.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// The TCP connection is reset; the request has no effect.
    ResetBefore,
    /// The request takes effect, then the TCP connection is reset without a response.
    ResetAfter,
    /// Only this request's HTTP/2 stream is reset (over HTTP/1.1, its connection is closed); the
    /// request has no effect.
    ResetStream,
    /// The response's body stops early.
    Truncate {
        /// The number of bytes that are sent.
        bytes: u64,
        /// Whether the headers announce the short length; otherwise the connection breaks within
        /// the body.
        #[serde(default)]
        clean: bool,
    },
    /// The response's body is too long, and the headers announce that length.
    Overlong {
        /// The number of bytes after the true end.
        bytes: u64,
    },
    /// One byte of the response's body is inverted.
    WrongByte {
        /// The offset of the byte, from 0.
        offset: u64,
    },
    /// The request waits until [`crate::Simulator::release`] opens a gate.
    Hold {
        /// The name of the gate, which the test chooses.
        gate: String,
        /// Where the request waits.
        #[serde(default)]
        at: HoldAt,
    },
    /// The response is an HTML page; the request has no effect.
    HtmlPage {
        /// The HTTP status.
        #[serde(default = "ok")]
        status: u16,
    },
    /// There is no response, or the rest of it is missing, until the client disconnects.
    Stall {
        /// Where the request stops.
        #[serde(default)]
        at: HoldAt,
    },
    /// The response's body is sent slowly.
    Drip {
        /// The rate, at least 1.
        bytes_per_second: u64,
    },
    /// The listings in the response are malformed.
    OddListing {
        /// The path of the listed folder; `None` for all listings.
        #[serde(default)]
        folder: Option<String>,
        /// What is wrong with the listing.
        odd: OddListing,
    },
    /// The response has another body, and status 200.
    Replace {
        /// The body.
        text: String,
        /// Whether the request takes effect first.
        #[serde(default)]
        effect: bool,
    },
}

fn ok() -> u16 {
    200
}

/// Where a held request waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldAt {
    /// Before it takes effect.
    #[default]
    Arrival,
    /// After it took effect, before the response.
    Answer,
    /// After this number of bytes of the response's body.
    Body(u64),
}

/// The faults of one request.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) holds: Vec<(String, HoldAt)>,
    pub(crate) action: Option<FaultAction>,
}

struct Active {
    id: u64,
    rule: FaultRule,
    matched: u64,
    applied: u64,
}

pub(crate) struct Faults {
    rules: Vec<Active>,
    next_id: u64,
    random: ChaCha8Rng,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), next_id: 1, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    pub(crate) fn add(&mut self, rule: FaultRule) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.rules.push(Active { id, rule, matched: 0, applied: 0 });
        id
    }

    pub(crate) fn remove(&mut self, id: u64) {
        self.rules.retain(|active| active.id != id);
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Returns how often each rule has applied, by rule id.
    pub(crate) fn applied(&self) -> BTreeMap<u64, u64> {
        self.rules.iter().map(|active| (active.id, active.applied)).collect()
    }

    pub(crate) fn decide(&mut self, kind: RequestKind, subjects: &[String]) -> Plan {
        let mut plan = Plan::default();
        for active in &mut self.rules {
            if !active.rule.covers(kind, subjects) {
                continue;
            }
            active.matched += 1;
            let spent = active.rule.times.is_some_and(|times| active.applied >= times);
            if active.matched <= active.rule.skip || spent {
                continue;
            }
            if let Some(probability) = active.rule.probability {
                let drawn = f64::from(self.random.next_u32()) / f64::from(u32::MAX);
                if drawn >= probability {
                    continue;
                }
            }
            active.applied += 1;
            match &active.rule.action {
                FaultAction::Hold { gate, at } => plan.holds.push((gate.clone(), *at)),
                action => {
                    plan.action = Some(action.clone());
                    return plan;
                }
            }
        }
        plan
    }
}

impl FaultRule {
    fn covers(&self, kind: RequestKind, subjects: &[String]) -> bool {
        let kind_fits = self.kind.is_none_or(|wanted| wanted == kind);
        let subject_fits =
            self.matching.as_ref().is_none_or(|text| subjects.iter().any(|subject| subject.contains(text.as_str())));
        kind_fits && subject_fits
    }
}
