//! Faults: rules that spoil chosen requests.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::drive::odd::OddListing;
use crate::kinds::RequestKind;

/// Which requests are spoiled, and how. Rules are tried in the order in which they were added; the first that applies
/// decides, except that [`FaultAction::Hold`] lets a later rule decide too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultRule {
    /// `None` is any kind.
    #[serde(default)]
    pub kind: Option<RequestKind>,
    /// The rule applies only when an id, path or name of the request contains this.
    #[serde(default)]
    pub matching: Option<String>,
    /// Matching requests that pass before the rule applies.
    #[serde(default)]
    pub skip: u64,
    /// How often the rule applies; `None` is always.
    #[serde(default)]
    pub times: Option<u64>,
    /// Chance that the rule applies to a matching request, from the simulator's seed; `None` is 1.
    #[serde(default)]
    pub probability: Option<f64>,
    /// What happens then.
    pub action: FaultAction,
}

impl FaultRule {
    /// A rule for each request of a kind.
    #[must_use]
    pub fn new(kind: RequestKind, action: FaultAction) -> Self {
        Self { kind: Some(kind), action, ..Self::any(FaultAction::ResetBefore) }
    }

    /// A rule for each request.
    #[must_use]
    pub fn any(action: FaultAction) -> Self {
        Self { kind: None, matching: None, skip: 0, times: None, probability: None, action }
    }

    /// Only requests that speak of this text.
    #[must_use]
    pub fn matching(mut self, text: impl Into<String>) -> Self {
        self.matching = Some(text.into());
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Applies so often, then no more.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Applies with this chance, from 0 to 1.
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
    /// This answer instead; the request has no effect.
    Status {
        /// HTTP status.
        status: u16,
        /// Sent as JSON.
        #[serde(default)]
        body: String,
        /// Such as `retry-after`.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// The TCP connection is reset; the request has no effect.
    ResetBefore,
    /// The request takes effect, then the TCP connection is reset without an answer.
    ResetAfter,
    /// Only this request's HTTP/2 stream is reset (over HTTP/1.1, its connection is closed); it has no effect.
    ResetStream,
    /// The answer's body stops early.
    Truncate {
        /// Bytes that are still sent.
        bytes: u64,
        /// The short length is announced; else the connection breaks in mid-body.
        #[serde(default)]
        clean: bool,
    },
    /// The answer's body is longer than the truth, and announced so.
    Overlong {
        /// Bytes behind the true end.
        bytes: u64,
    },
    /// One byte of the answer's body is inverted.
    WrongByte {
        /// Which, from 0.
        offset: u64,
    },
    /// The answer waits until [`crate::Simulator::release`] opens a gate.
    Hold {
        /// The gate's name, of the test's choice.
        gate: String,
        /// Where the request waits.
        #[serde(default)]
        at: HoldAt,
    },
    /// An HTML page; the request has no effect.
    HtmlPage {
        /// HTTP status.
        #[serde(default = "ok")]
        status: u16,
    },
    /// No answer, until the client gives up.
    Stall {
        /// Where it stops.
        #[serde(default)]
        at: HoldAt,
    },
    /// The answer's body comes slowly.
    Drip {
        /// Its rate, from 1.
        bytes_per_second: u64,
    },
    /// The listings of the answer are not what they should be.
    OddListing {
        /// The listed folder's path; `None` is each.
        #[serde(default)]
        folder: Option<String>,
        /// What is wrong.
        odd: OddListing,
    },
    /// Another body, with status 200.
    Replace {
        /// The body.
        text: String,
        /// The request is carried out first.
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
    /// After it took effect, before the answer.
    Answer,
    /// After so many bytes of the answer's body.
    Body(u64),
}

/// What was decided for one request.
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

    /// How often each rule has applied, by rule id.
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
