//! The program: as a connector when plakar starts it, else its own commands.

use std::{io, process::ExitCode};

use clap::Parser;
use plakar_icloud::{
    cli::{self, Cli},
    connector::{self, Role},
    log,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::runtime;

/// musl's own allocator is slow where threads pass memory to each other, as
/// content does on its way through gRPC; this one is not, on any libc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Passwords will be in memory, and a core dump would write them to a disk.
    // A system that refuses this has no core dumps either.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    let cli = Cli::parse();
    log::install();
    let result = match cli.role() {
        Some(role) => serve(role).map(|()| ExitCode::SUCCESS).map_err(|error| error.to_string()),
        None => run(cli),
    };
    result.unwrap_or_else(|error| {
        cli::tell(&format!("plakar-icloud: {error}"));
        ExitCode::FAILURE
    })
}

/// Runs a command that a person typed.
fn run(cli: Cli) -> Result<ExitCode, String> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let code = runtime.block_on(cli.run());
    runtime.shutdown_background();
    Ok(code)
}

fn serve(role: Role) -> io::Result<()> {
    // Before any other thread runs: no other code may ever see the real stdout.
    let pipes = connector::StdioPipes::take()?;
    // gRPC has one thread: plakar requests a few hundred bytes thousands of times, and each handover to another
    // thread costs a wakeup. Blocking work (reads, uploads, disk) has threads of its own.
    let mut builder = runtime::Builder::new_current_thread();
    if role == Role::Storage {
        pipes.busy_poll(&mut builder)?;
    }
    let runtime = builder.enable_all().build()?;
    let result = runtime.block_on(connector::serve(role, pipes));
    // Dropping the runtime would wait for blocking reads whose content is no longer wanted.
    runtime.shutdown_background();
    result.map_err(|error| {
        let advice = "plakar starts this command and speaks to it through pipes; see plakar-icloud --help";
        io::Error::new(error.kind(), format!("no connection to plakar: {error}; {advice}"))
    })
}
