//! The command of `on_event`: the events that it runs for, and its environment.

use std::{
    fmt, fs, io,
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

use super::StateFolder;
use crate::message;

/// Equal events of one configuration within this time belong to the same run, even if plakar's
/// cache daemon has started one of the processes.
const SAME_RUN: Duration = Duration::from_secs(30);

/// A run that failed in part or in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunEvent {
    /// The snapshot was kept without some of the files.
    BackupPartial,
    /// No snapshot was kept.
    BackupFailed,
    /// Some or all of the files were not restored.
    RestoreFailed,
    /// The store could not be used.
    StoreFailed,
}

impl RunEvent {
    /// Returns the value of `PLAKAR_ICLOUD_EVENT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BackupPartial => "backup-partial",
            Self::BackupFailed => "backup-failed",
            Self::RestoreFailed => "restore-failed",
            Self::StoreFailed => "store-failed",
        }
    }
}

/// The number of files of a run, and the number of those that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All known files of the run.
    pub files: u64,
    /// The files that were not saved or not restored.
    pub failed: u64,
}

/// The values that are passed to the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub name: &'static str,
    pub reason: String,
    pub days_left: Option<u64>,
    pub counts: Option<Counts>,
}

impl Event {
    fn command(&self, command: &str, account: &str) -> Command {
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let mut run = Command::new("/bin/sh");
        run.args(["-c", command])
            .env("PLAKAR_ICLOUD_EVENT", self.name)
            .env("PLAKAR_ICLOUD_ACCOUNT", account)
            .env("PLAKAR_ICLOUD_REASON", &self.reason)
            .env("PLAKAR_ICLOUD_DAYS_LEFT", number(self.days_left))
            .env("PLAKAR_ICLOUD_FILES", number(self.counts.map(|counts| counts.files)))
            .env("PLAKAR_ICLOUD_FAILED", number(self.counts.map(|counts| counts.failed)))
            .stdin(Stdio::null())
            // stdout may be plakar's connection.
            .stdout(Stdio::null());
        run
    }
}

/// The command of `on_event` for one configuration.
#[derive(Clone, Default)]
pub struct OnEvent {
    command: Option<String>,
    account: String,
    state: Option<StateFolder>,
    key: String,
}

impl fmt::Debug for OnEvent {
    /// Omits the command, which may contain a secret, for example the address of a web hook.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OnEvent").field("account", &self.account).finish_non_exhaustive()
    }
}

impl OnEvent {
    /// Returns the command of a configuration. `account` is the value of `PLAKAR_ICLOUD_ACCOUNT`,
    /// `state` stores which events were reported, and `key` distinguishes configurations.
    pub fn new(command: Option<String>, account: &str, state: Option<StateFolder>, key: &str) -> Self {
        let key = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(key.as_bytes()));
        Self { command: command.filter(|command| !command.is_empty()), account: account.to_owned(), state, key }
    }

    /// Runs the command, if there is one, for a run that failed or left files out. Runs it only
    /// once for each run: plakar starts several processes for a command, and each of them may see
    /// the same failure. Does not wait for it.
    pub fn run_ended(&self, event: RunEvent, reason: &str, counts: Option<Counts>) {
        if self.command.is_none() || self.was_reported(event) {
            return;
        }
        let reason = message::printable(reason.trim()).into_owned();
        self.spawn(&Event { name: event.name(), reason, days_left: None, counts });
    }

    /// Reports whether an event was already reported for this run, and records it as reported.
    fn was_reported(&self, event: RunEvent) -> bool {
        static REPORTED: Mutex<Vec<RunEvent>> = Mutex::new(Vec::new());
        let mut reported = REPORTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if reported.contains(&event) {
            return true;
        }
        reported.push(event);
        let mark = |state: &StateFolder| {
            state.mark_of_run(&format!("{}-{}", self.key, event.name()), &plakar_process(), SAME_RUN)
        };
        self.state.as_ref().is_some_and(|state| !mark(state))
    }

    /// Starts the command without waiting for it, because it may take longer than a backup. Its
    /// stderr goes to a file: a child that holds plakar's stderr would keep `plakar ... 2>&1 | tee`
    /// open.
    pub(super) fn spawn(&self, event: &Event) {
        let Some(command) = &self.command else {
            return;
        };
        let log = self.state.as_ref().and_then(|state| state.log_of_events().ok());
        let mut run = event.command(command, &self.account);
        // In a process group of its own, the command is not ended by Ctrl-C in plakar's terminal.
        run.process_group(0).stderr(log.map_or_else(Stdio::null, Stdio::from));
        if let Err(error) = run.spawn() {
            log::warn!("on_event cannot be run: {error}");
        }
    }

    /// Reports whether there is a command.
    pub fn is_set(&self) -> bool {
        self.command.is_some()
    }
}

/// Identifies the plakar process that started this process, by its process number and start time.
/// Returns an empty string if they are unknown.
fn plakar_process() -> String {
    let id = rustix::process::getppid().map_or(0, |id| id.as_raw_nonzero().get());
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The process name, in parentheses, may contain spaces (proc_pid_stat(5)). The start time is
    // the 20th field after it.
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    started.map(|started| format!("{id}-{started}")).unwrap_or_default()
}

/// Runs a command as an event would, and waits for it.
///
/// # Errors
/// Fails if the command cannot be run.
pub fn test_command(command: &str, account: &str) -> io::Result<ExitStatus> {
    let event = Event { name: "test", reason: "this is a test".to_owned(), days_left: None, counts: None };
    event.command(command, account).status()
}
