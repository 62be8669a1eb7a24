//! A service that refuses calls because of its load.

use std::time::Duration;

use icloud_simulator::{LatencyProfile, RequestKind, SeedTree};

use super::{Cost, Failure, Table, plain::Bench};

const FILES: u64 = 600;
const MODIFIED: i64 = 1_700_000_000_000;

/// The limits of a service: calls per second, calls at once after a pause, the status of a refusal,
/// and how long refusals continue.
struct Limit {
    name: &'static str,
    rate: u32,
    burst: u32,
    status: u16,
    penalty: Duration,
}

pub async fn run(table: &mut Table) -> Result<(), Failure> {
    let limits = [
        Limit { name: "429 after 30 calls a second", rate: 30, burst: 30, status: 429, penalty: Duration::ZERO },
        Limit {
            name: "503 for a minute after a burst",
            rate: 60,
            burst: 60,
            status: 503,
            penalty: Duration::from_mins(1),
        },
    ];
    for limit in limits {
        let mut bench = Bench::new(LatencyProfile::Flat).await?;
        let tree =
            SeedTree { prefix: "docs".into(), files: FILES, folders: 30, size: 4096, seed: 1, modified_ms: MODIFIED };
        bench.service.simulator.seed(&tree);
        bench.service.simulator.rules(|rules| {
            let throttle = &mut rules.transport.throttle;
            (throttle.calls_per_second, throttle.burst, throttle.status) = (limit.rate, limit.burst, limit.status);
            throttle.penalty_ms = u64::try_from(limit.penalty.as_millis()).unwrap_or(u64::MAX);
        });
        let cost = bench.back_up("icloud:///docs").await?;
        let at_once = Duration::from_secs(10); // plakar's start, and the few calls of a backup
        row(&bench, &format!("back up, {}", limit.name), &limit, cost, at_once, table);
        let cost = bench.restore("icloud:///restored").await?;
        let calls = cost.requests - bench.service.simulator.counts().of(RequestKind::ContentPost);
        let at_the_rate = at_once + Duration::from_secs(calls / u64::from(limit.rate));
        row(&bench, &format!("restore, {}", limit.name), &limit, cost, at_the_rate, table);
    }
    Ok(())
}

/// Prints the cost of some work. `needed` is the time that the work takes at the rate of the limit.
/// The penalty may be paid once.
fn row(bench: &Bench, name: &str, limit: &Limit, cost: Cost, needed: Duration, table: &mut Table) {
    let refused = bench.service.simulator.requests().iter().filter(|entry| entry.status == Some(limit.status)).count();
    let share = refused as f64 / cost.requests as f64;
    table.row(name, &cost.figures(), true);
    table.row("", &format!("{:.1} % refused (at most 2 %)", share * 100.0), share <= 0.02);
    let allowed = (needed + limit.penalty).mul_f64(1.3);
    table.row("", &format!("at most {:.0} s", allowed.as_secs_f64()), cost.took <= allowed);
}
