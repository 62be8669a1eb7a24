//! Pings: requests that inform a monitor, such as healthchecks.io, of the start and end of runs.

use std::{
    env, fmt, io,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use crate::{message, secret};

/// The variable with the address, for the process that sends a ping.
pub const URL_VARIABLE: &str = "PLAKAR_ICLOUD_PING_URL";
/// The variable with the text.
pub const TEXT_VARIABLE: &str = "PLAKAR_ICLOUD_PING_TEXT";

/// A check at a monitor.
#[derive(Clone)]
pub struct Ping {
    /// The address. It is a secret, because everybody with the address can send pings.
    url: String,
}

impl fmt::Debug for Ping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ping").finish_non_exhaustive()
    }
}

/// The meaning of a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A run has begun.
    Start,
    /// A run has ended, and nothing failed.
    Success,
    /// A run has failed, or lacks items.
    Failure,
}

impl Ping {
    /// Returns the check with an address.
    pub fn new(url: String) -> Self {
        secret::conceal(&url);
        Self { url }
    }

    /// Sends a signal and a text, without waiting. A separate process sends them, because plakar
    /// kills this process when a backup fails.
    pub fn send(&self, signal: Signal, text: &str) {
        let sent = env::current_exe().and_then(|program| self.spawn(Command::new(program), signal, text));
        if let Err(error) = sent {
            log::warn!("the monitor of ping_url cannot be informed: {error}");
        }
    }

    fn spawn(&self, mut command: Command, signal: Signal, text: &str) -> io::Result<()> {
        command.arg("ping").env(URL_VARIABLE, self.address(signal));
        command.env(TEXT_VARIABLE, message::printable(text).as_ref());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn().map(drop)
    }

    /// Returns the address of a signal, as healthchecks.io and similar monitors define it.
    fn address(&self, signal: Signal) -> String {
        let ending = match signal {
            Signal::Start => "/start",
            Signal::Success => "",
            Signal::Failure => "/fail",
        };
        let (path, query) = self.url.split_at(self.url.find('?').unwrap_or(self.url.len()));
        format!("{}{ending}{query}", path.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_is_appended_to_the_path() {
        let ping = Ping::new("https://monitor.example/check?create=1".to_owned());
        assert_eq!(ping.address(Signal::Start), "https://monitor.example/check/start?create=1");
        assert_eq!(ping.address(Signal::Success), "https://monitor.example/check?create=1");
        assert_eq!(Ping::new("https://m.example/a/".to_owned()).address(Signal::Failure), "https://m.example/a/fail");
        assert!(!format!("{ping:?}").contains("monitor.example"));
    }
}
