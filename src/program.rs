//! The program: a connector if plakar starts it, otherwise a command for users.

use std::{io, process::ExitCode};

use clap::Parser;
use rustix::{
    process::{Resource, Rlimit, setrlimit},
    thread::disable_transparent_huge_pages,
};
use tokio::runtime;

use crate::{
    cli::{self, Cli},
    connector::{self, Role, Socket},
    log, rclone,
};

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    // The memory will contain passwords, and a core dump would write them to a disk. A system that
    // does not support the limit has no core dumps.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    // Where the kernel gives every process pages of 2 MiB, each arena of malloc and each thread would
    // keep whole pages for a few small allocations. A kernel without the setting has no such pages.
    // Children inherit the setting.
    let _ = disable_transparent_huge_pages(true);
    rclone::limit_arenas();
    let cli = Cli::parse();
    log::install();
    let result = match cli.role() {
        Some(role) => serve(role).map(|()| ExitCode::SUCCESS).map_err(|error| error.to_string()),
        None => run(cli),
    };
    result.unwrap_or_else(|error| {
        cli::note(&format!("plakar-icloud: {error}"));
        ExitCode::FAILURE
    })
}

/// Runs a command for users.
fn run(cli: Cli) -> Result<ExitCode, String> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let code = runtime.block_on(cli.run());
    runtime.shutdown_background();
    Ok(code)
}

/// Serves a connector in a container, where stdout goes to the container's log.
fn serve_socket(role: Role, socket: &Socket) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(connector::serve_socket(role, socket));
    runtime.shutdown_background();
    result
}

/// Serves a connector over stdin and stdout.
fn serve(role: Role) -> io::Result<()> {
    if let Some(socket) = Socket::from_env()? {
        return serve_socket(role, &socket);
    }
    // The pipes are taken before any other thread runs, so that no other code ever uses the real
    // stdout.
    let pipes = connector::StdioPipes::take()?;
    // gRPC has one thread: plakar makes thousands of requests of a few hundred bytes, and each
    // handover to another thread costs a wakeup. Blocking work (reads, uploads, disk) has its own
    // threads.
    let mut builder = runtime::Builder::new_current_thread();
    if role == Role::Storage {
        pipes.busy_poll(&mut builder)?;
    }
    let runtime = builder.enable_all().build()?;
    let result = runtime.block_on(connector::serve(role, pipes));
    // Dropping the runtime would wait for blocking reads whose content is no longer needed.
    runtime.shutdown_background();
    result.map_err(|error| {
        let advice = "this command is started by plakar, which connects to it with pipes; see plakar-icloud --help";
        io::Error::new(error.kind(), format!("no connection to plakar: {error}; {advice}"))
    })
}
