//! What a kloset in iCloud costs, in requests, bytes, time and memory, beside restic.
//!
//! `cargo bench --bench kloset` with plakar on PATH; restic and rclone too, for
//! their rows. All use the same simulated iCloud, whose answers take 40 ms.
//! Counts come from the service's side, so they are over all processes. Fails
//! if a row is not what it should be, and prints the requests of such a row.
//!
//! - [`commands`]: commands of plakar
//! - [`restic`]: the same work by restic through rclone
//! - [`puts`]: a Put, by how many packfiles there are
//! - [`memory`]: one process under many Gets and Puts at once

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod commands;
mod memory;
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(run())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kloset: {error}");
            ExitCode::FAILURE
        }
    }
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
