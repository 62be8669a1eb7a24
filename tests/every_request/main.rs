//! A fault at every single request of a backup, a restore and a backup into a kloset, including the
//! sign-in. After any fault, everything is saved or the failed items are reported as errors, and
//! existing data is unchanged.
//!
//! `cargo test` runs a fixed sample. `PLAKAR_ICLOUD_EVERY_FAULT=1` runs each fault at each request,
//! which takes twenty minutes. Any other value selects the cells whose names contain it.

mod cells;
#[path = "../main/icloud.rs"]
#[expect(dead_code, reason = "these tests use a part of it")]
mod icloud;
mod work;

use futures_util::{StreamExt, stream};

use cells::{Cell, cells};
use work::Work;

/// The number of cells that run concurrently. They mostly wait.
const AT_ONCE: usize = 6;

/// The number of cells of each work that `cargo test` runs.
const SAMPLE: usize = 14;

#[tokio::test]
async fn a_backup_survives_or_reports_every_fault() {
    try_all(Work::Backup).await;
}

#[tokio::test]
async fn a_restore_survives_or_reports_every_fault() {
    try_all(Work::Restore).await;
}

#[tokio::test]
async fn a_backup_into_a_kloset_survives_or_reports_every_fault() {
    try_all(Work::Kloset).await;
}

#[expect(clippy::print_stderr, reason = "the table of what failed")]
async fn try_all(work: Work) {
    let requests = work.requests().await;
    let all = cells(&requests);
    let chosen = match std::env::var("PLAKAR_ICLOUD_EVERY_FAULT").ok().as_deref() {
        None | Some("") => sample(all),
        Some("1") => all,
        Some(part) => all.into_iter().filter(|cell| cell.name().contains(part)).collect(),
    };
    let mut outcomes =
        stream::iter(&chosen).map(async |cell| (cell.name(), work.run(cell).await)).buffer_unordered(AT_ONCE);
    let (mut tried, mut failed) = (0, Vec::new());
    while let Some((name, outcome)) = outcomes.next().await {
        tried += 1;
        if let Err(reason) = outcome {
            eprintln!("{work:?}: {name}: {reason}");
            failed.push(name);
        }
    }
    failed.sort();
    assert!(tried > 0, "no cell was tried");
    assert!(failed.is_empty(), "{work:?}: {} of {tried} cells failed: {failed:#?}", failed.len());
}

/// Selects the same cells each time, spread over the whole table.
fn sample(all: Vec<Cell>) -> Vec<Cell> {
    let stride = (all.len() / SAMPLE).max(1) | 1;
    all.into_iter().step_by(stride).collect()
}
