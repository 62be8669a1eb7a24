//! The cost of a kloset in iCloud in requests, bytes, time and memory, compared with restic.
//!
//! Run `cargo bench --bench kloset` with plakar on PATH, and with restic and rclone for their rows.
//! All use the same simulated iCloud, whose responses take 40 ms. The service counts the requests,
//! so the counts cover all processes. Fails if a row exceeds its limit, and prints the requests of
//! that row.
//!
//! - [`commands`]: commands of plakar
//! - [`restic`]: the same work by restic through rclone
//! - [`puts`]: a Put, by the number of existing packfiles
//! - [`memory`]: one process under many concurrent Gets and Puts

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod commands;
mod memory;
mod outcome;
mod process;
mod puts;
mod restic;
mod service;
mod table;

use std::process::ExitCode;

use plakar_host::Plakar;
use table::{Cost, MIB, Table};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    outcome::of("kloset", run())
}

async fn run() -> Result<bool, Failure> {
    let Some(executable) = Plakar::on_path() else {
        return Err("plakar is not on PATH".into());
    };
    let mut table = Table::default();
    commands::run(&executable, &mut table).await?;
    puts::run(&mut table).await?;
    memory::run(&mut table).await?;
    Ok(table.holds)
}
