//! The cost of plakar with this program, compared with other programs in the same run, at a service
//! with the measured times of Apple's and at one whose responses all take 40 ms.
//!
//! Run `cargo bench --bench service` with plakar and rclone on PATH, and with restic and icloudpd for
//! their rows.
//! `PLAKAR_RCLONE_PLUGIN` names the folder of the executables of plakar's Go plugin, for its row.
//! Arguments select the parts to run: `files`, `large`, `memory`, `photos`, `kloset`, `throttling`. Fails if
//! a row exceeds its limit. The service counts the requests, so the counts cover all processes.
//!
//! - [`files`]: backups and restores of 600 small files
//! - [`large`]: the backup of one file of 1 GB over a link, and memory
//! - [`photos`]: a large photo library
//! - [`store`]: commands on a kloset
//! - [`throttling`]: a service that refuses calls because of its load

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod files;
mod large;
#[path = "../kloset/outcome.rs"]
mod outcome;
mod photos;
mod plain;
#[path = "../kloset/restic.rs"]
mod restic;
#[path = "../kloset/service.rs"]
mod service;
mod store;
#[path = "../kloset/table.rs"]
mod table;
mod throttling;

use std::process::ExitCode;

use table::{Cost, MIB, Table};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    outcome::of("service", run())
}

async fn run() -> Result<bool, Failure> {
    // cargo adds an argument that begins with a dash.
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_selected = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    let mut table = Table::default();
    if is_selected("files") {
        files::run(&mut table).await?;
    }
    if is_selected("large") {
        large::run(&mut table).await?;
    }
    if is_selected("memory") {
        large::memory(&mut table).await?;
    }
    if is_selected("photos") {
        photos::run(&mut table).await?;
    }
    if is_selected("kloset") {
        store::run(&mut table).await?;
    }
    if is_selected("throttling") {
        throttling::run(&mut table).await?;
    }
    Ok(table.holds)
}
