//! The command line: its grammar, and the commands for users.
//!
//! Results are written to stdout (`output`), questions to the terminal itself (`prompt`), and
//! everything else to stderr.

mod accounts;
mod config;
mod doctor;
mod last;
mod libraries;
mod location;
mod login;
mod output;
mod ping;
mod plakar;
mod plan;
mod progress;
mod prompt;
mod reference;
mod scan;
mod schema;
mod status;

use std::{io, path::PathBuf, process::ExitCode, sync::LazyLock};

use clap::{Args, Parser, Subcommand, ValueEnum};

use serde_json::json;

use location::Location;
pub use output::note;

use crate::{
    account::{self, StateFolder},
    connector::Role,
    drive, rclone,
};

/// Plakar backs up, restores and stores in iCloud.
#[derive(Debug, Parser)]
#[command(
    name = "plakar-icloud",
    version = VERSION.as_str(),
    about,
    long_about = None,
    arg_required_else_help = true,
    after_help = EXIT_CODES
)]
pub struct Cli {
    /// Folder of the accounts and sessions [default: $XDG_STATE_HOME/plakar-icloud]
    #[arg(
        long,
        global = true,
        env = account::STATE_VARIABLE,
        value_name = "FOLDER",
        hide_env_values = true,
        display_order = 100
    )]
    state_dir: Option<PathBuf>,
    /// The command to run.
    #[command(subcommand)]
    command: Command,
}

/// The versions of this program and of rclone. Whether a sign-in is possible depends on the latter.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut lines = include_str!("../vendor/librclone/go.mod").lines();
    let rclone = lines.find_map(|line| line.trim().strip_prefix("github.com/rclone/rclone v")).unwrap_or("?");
    format!("{} (rclone {rclone})", env!("CARGO_PKG_VERSION"))
});

const EXIT_CODES: &str = "Exit codes: 0 success, 1 failure, 2 invalid usage, \
    10 a sign-in or a code is needed, 11 the trust ends soon";

/// A command.
#[derive(Debug, Subcommand)]
enum Command {
    Login(login::Login),
    Accounts(accounts::Accounts),
    Status(status::Status),
    Last(last::Last),
    Scan(scan::Scan),
    Plan(plan::Command),
    Logout(accounts::Logout),
    Config(config::Config),
    Doctor(doctor::Doctor),
    NotifyTest(status::NotifyTest),
    Completions(reference::Completions),
    /// Print the manual page
    Man,
    /// Send a ping to the monitor of ping_url (a connector starts this)
    #[command(hide = true)]
    Ping,
    /// Serve plakar as a source of backups (plakar starts this)
    Importer,
    /// Serve plakar as a destination of restores (plakar starts this)
    Exporter,
    /// Serve plakar as a store (plakar starts this)
    Storage,
}

/// The choice of an account.
#[derive(Debug, Args)]
struct AccountArg {
    /// Name of the account; optional if there is only one
    name: Option<String>,
}

/// A connector, as in `plakar source`, `plakar destination`, `plakar store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Where backups come from
    Source,
    /// Where restores go
    Destination,
    /// Where klosets are stored
    Store,
}

impl Section {
    fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Store => "store",
        }
    }
}

/// The outcome of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Success.
    Success,
    /// The requested check has failed.
    Failure,
    /// A person has to sign in or to enter a code.
    NeedsLogin,
    /// The trust ends soon.
    ExpiresSoon,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Success => 0,
            ExitStatus::Failure => 1,
            ExitStatus::NeedsLogin => 10,
            ExitStatus::ExpiresSoon => 11,
        })
    }
}

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The error concerns an account.
    #[error(transparent)]
    Account(#[from] account::Error),
    /// The error is from a drive.
    #[error(transparent)]
    Drive(#[from] drive::Error),
    /// The error is from rclone.
    #[error(transparent)]
    Rclone(#[from] rclone::Error),
    /// The terminal or a named file cannot be used.
    #[error("{operation}: {error}")]
    Io {
        /// The operation that failed, and the file.
        operation: String,
        /// The cause.
        error: io::Error,
    },
    /// Arguments are invalid or missing.
    #[error("{0}")]
    Usage(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        |error| Self::Io { operation, error }
    }

    fn is_usage(&self) -> bool {
        matches!(self, Self::Usage(_) | Self::Account(account::Error::Name(_) | account::Error::Several(_)))
    }

    /// Prints the error on stderr and, if `json` is set, as JSON on stdout. Returns the exit code.
    fn print(&self, json: bool) -> ExitCode {
        if json {
            let cause = match self {
                Self::Rclone(error) => error.cause,
                Self::Drive(error) => error.cause().cause,
                _ => None,
            };
            let error = json!({ "state": "failed", "error": self.to_string(), "cause": cause });
            // The error is on stderr as well.
            let _ = output::print_json(&error);
        }
        output::note(&format!("plakar-icloud: {self}"));
        ExitCode::from(if self.is_usage() { 2 } else { 1 })
    }
}

impl Cli {
    /// Returns the connector that the command serves, or none for a command for users.
    pub fn role(&self) -> Option<Role> {
        match self.command {
            Command::Importer => Some(Role::Importer),
            Command::Exporter => Some(Role::Exporter),
            Command::Storage => Some(Role::Storage),
            _ => None,
        }
    }

    /// Runs a command for users and prints its error if it fails.
    pub async fn run(self) -> ExitCode {
        let json = self.prints_json();
        match self.execute().await {
            Ok(status) => status.into(),
            Err(error) => error.print(json),
        }
    }

    fn prints_json(&self) -> bool {
        match &self.command {
            Command::Login(login) => login.json,
            Command::Accounts(accounts) => accounts.json,
            Command::Status(status) => status.json,
            Command::Last(last) => last.json,
            Command::Scan(scan) => scan.json,
            Command::Plan(plan) => plan.json,
            Command::Doctor(doctor) => doctor.json,
            _ => false,
        }
    }

    async fn execute(self) -> Result<ExitStatus, Error> {
        let state = || StateFolder::locate(self.state_dir.as_deref());
        match self.command {
            Command::Login(login) => login.run(&state()?).await,
            Command::Accounts(accounts) => accounts.run(&state()?).await,
            Command::Status(status) => status.run(&state()?).await,
            Command::Last(last) => last.run(&state()?),
            Command::Scan(scan) => scan.run(&state()?).await,
            Command::Plan(plan) => plan.run(&state()?).await,
            Command::Logout(logout) => logout.run(&state()?).await,
            Command::Config(config) => config.run(&state()?).await,
            Command::Doctor(doctor) => doctor.run(&state()?).await,
            Command::NotifyTest(test) => test.run(&state()?),
            Command::Completions(completions) => completions.run(),
            Command::Man => reference::man(),
            Command::Ping => ping::run().await,
            Command::Importer | Command::Exporter | Command::Storage => Ok(ExitStatus::Success),
        }
    }
}
