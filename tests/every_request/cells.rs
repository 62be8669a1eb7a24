//! The cells of the table: each is a fault at one request.

use std::collections::BTreeMap;

use icloud_simulator::{Counts, FaultAction, FaultRule, HoldAt, RequestKind};

/// Statuses with which services respond to failures.
const STATUSES: [u16; 10] = [400, 401, 403, 409, 412, 421, 429, 500, 502, 503];

/// A fault at one request of a run.
#[derive(Clone)]
pub struct Cell {
    kind: RequestKind,
    /// How many requests of the kind precede the fault.
    nth: u64,
    fault: String,
    action: FaultAction,
}

impl Cell {
    pub fn name(&self) -> String {
        format!("{:?} {}: {}", self.kind, self.nth, self.fault)
    }

    pub fn rule(&self) -> FaultRule {
        FaultRule::new(self.kind, self.action.clone()).skip(self.nth).times(1)
    }
}

/// Returns each fault at each request of a run with these counts.
pub fn cells(requests: &Counts) -> Vec<Cell> {
    let faults = faults();
    let mut cells = Vec::new();
    for (kind, count) in &requests.kinds {
        for nth in 0..count.requests {
            for (fault, action) in &faults {
                cells.push(Cell { kind: *kind, nth, fault: fault.clone(), action: action.clone() });
            }
        }
    }
    cells
}

fn faults() -> Vec<(String, FaultAction)> {
    let mut faults = vec![
        (String::from("reset"), FaultAction::ResetBefore),
        (String::from("lost response"), FaultAction::ResetAfter),
        (String::from("stall"), FaultAction::Stall { at: HoldAt::Arrival }),
    ];
    for status in STATUSES {
        let body = format!(r#"{{"errorReason":"simulated","errorCode":{status}}}"#);
        let response = |body: String| FaultAction::Status { status, body, headers: BTreeMap::new() };
        faults.push((format!("{status} JSON"), response(body)));
        faults.push((format!("{status} HTML"), FaultAction::HtmlPage { status }));
        faults.push((format!("{status} empty"), response(String::new())));
    }
    faults
}
