//! Checks an account and the connection to it, and finds the first problem.
//!
//! The checks proceed from this machine outward, and each relies on those before it. The first
//! check that fails shows the cause: later checks would fail for the same reason.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Serialize;

use crate::account::{self, Account, Error as AccountError, Patience, StateFolder};
use crate::rclone::{
    Cause, Deletion, Error, File, Form, Item, Kind, Rclone, Region, Remote, Replacement, Scope, Time, Version,
    account::{Available, Description, Reached},
};

/// The tolerated error of the clock, in seconds. Apple's limit is unknown. Its signed addresses and
/// TLS certificates are valid for longer.
const CLOCK_TOLERANCE: u64 = 300;

/// The time limit of a check that only needs a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);
/// The time limit of a listing and of a move to the Trash. Apple was measured to take up to 32 s for
/// a listing after a write, and 20 s for a move to the Trash.
const SLOW_TIMEOUT: Duration = Duration::from_secs(45);
/// The time limit of an upload and of a download of the small file. Apple was measured to take 3 s
/// for all requests of an upload.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(20);

/// The content of the file of the round trip.
const TRIAL_CONTENT: &[u8] = b"plakar-icloud doctor writes this file, reads it back and removes it.\n";

/// A check and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub what: &'static str,
    /// What was found.
    pub seen: String,
    /// How long it took, if it sent requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
    /// The cause, if the check failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// The checks that were made, up to the one that failed.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The checks in the order in which they were made.
    pub checks: Vec<Check>,
}

impl Report {
    /// Returns the cause, if a check failed.
    pub fn cause(&self) -> Option<Cause> {
        self.checks.iter().find_map(|check| check.cause)
    }

    fn good(&mut self, what: &'static str, seen: impl Into<String>) {
        self.checks.push(Check { what, seen: seen.into(), milliseconds: None, cause: None });
    }

    fn timed(&mut self, what: &'static str, seen: impl Into<String>, begun: Instant) {
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).ok();
        self.checks.push(Check { what, seen: seen.into(), milliseconds, cause: None });
    }

    fn bad(&mut self, what: &'static str, seen: impl Into<String>, cause: Cause) {
        self.checks.push(Check { what, seen: seen.into(), milliseconds: None, cause: Some(cause) });
    }
}

/// Examines an account and the connection to it. If `trip` is set, the last check writes a file,
/// reads it back and removes it.
pub async fn examine(state: &StateFolder, name: Option<&str>, trip: bool) -> Report {
    let mut report = Report::default();
    let account = state.choose(name);
    let session_file = |account: &Account| state.session_file(&account.apple_id, &account.client_id);
    let stored = account.as_ref().map(|(_, account)| session_file(account)).unwrap_or_default();
    if !machine(&mut report, state)
        || !network(&mut report, within(RESPONSE_TIMEOUT, Rclone::start().reach(&stored)).await)
    {
        return report;
    }
    let (name, account) = match account {
        Ok(found) => found,
        Err(error @ (AccountError::NoAccount(_) | AccountError::Unknown { .. })) => {
            report.bad("account", error.to_string(), Cause::NotSignedIn);
            return report;
        }
        Err(error) => {
            report.bad("account", error.to_string(), Cause::Other);
            return report;
        }
    };
    report.good("account", name.clone());
    let described = Rclone::start().describe(&session_file(&account)).await;
    if !session(&mut report, described) {
        return report;
    }
    let begun = Instant::now();
    let remote = match list_top(state, &name, &account).await {
        Ok((remote, entries)) => {
            report.timed("list", format!("{entries} entries in the top folder"), begun);
            remote
        }
        Err((cause, text)) => {
            report.bad("list", text, cause);
            return report;
        }
    };
    if trip {
        round_trip(&mut report, remote).await;
    }
    report
}

/// Opens an account and lists its top folder, which renews the session if necessary. Returns the
/// remote and the number of entries.
///
/// # Errors
/// Returns the cause and the message.
pub async fn list_top(state: &StateFolder, name: &str, account: &Account) -> Result<(Remote, usize), (Cause, String)> {
    let (section, sections) =
        account::sections(state, name, Patience::Diagnosis).map_err(|error| (Cause::Other, error.to_string()))?;
    let rclone = Rclone::start();
    let listing = async {
        let remote = rclone.open(section, "", sections, None).await?;
        remote.list(vec![String::new()], None).await.map(|listed| (remote, listed))
    };
    let listed = within(SLOW_TIMEOUT, listing).await;
    let listed = listed.and_then(|(remote, mut listed)| Ok((remote, listed.swap_remove(0)?.entries.len())));
    match listed {
        Ok(found) => Ok(found),
        Err(error) => {
            let session_file = state.session_file(&account.apple_id, &account.client_id);
            let available = within(RESPONSE_TIMEOUT, rclone.services(&session_file)).await.ok();
            Err((cause_of(&error, available.as_ref()), error.text))
        }
    }
}

/// Waits for the result of a check, up to a limit. The check is cancelled at the limit.
async fn within<T>(limit: Duration, check: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = || {
        let text = format!("no response within {} s, which is longer than Apple usually takes", limit.as_secs());
        Error::new(Kind::Network, text)
    };
    tokio::time::timeout(limit, check).await.unwrap_or_else(|_| Err(late()))
}

fn machine(report: &mut Report, state: &StateFolder) -> bool {
    if let Err(error) = state.check_writable() {
        report.bad("state folder", error.to_string(), Cause::StateFolder);
        return false;
    }
    report.good("state folder", state.path().display().to_string());
    match plakar_version() {
        None => report.good("plakar", "not on PATH, so not checked"),
        Some(version) if is_supported(&version) => report.good("plakar", version),
        Some(version) => {
            report.bad("plakar", version, Cause::PlakarVersion);
            return false;
        }
    }
    true
}

/// Returns the first line of `plakar version`, if plakar is installed.
pub fn plakar_version() -> Option<String> {
    let run = Command::new("plakar").arg("version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// Reports whether a version of plakar is supported. The protocol of connectors is that of plakar
/// 1.1. plakar 1.0 does not find plugins of this API version.
fn is_supported(version: &str) -> bool {
    let numbers = version.trim_start_matches("plakar/").trim_start_matches('v');
    let mut numbers = numbers.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => major == 1 && minor >= 1,
        // A development version without a number.
        _ => true,
    }
}

fn network(report: &mut Report, reached: Result<Reached, Error>) -> bool {
    let reached = match reached {
        Err(error) => {
            report.bad("network", error.text.clone(), error.cause.unwrap_or(Cause::NoNetwork));
            return false;
        }
        Ok(reached) => reached,
    };
    report.good("network", format!("Apple's hosts respond within {} ms", reached.milliseconds));
    match reached.clock_ahead {
        None => report.good("clock", "Apple's response has no time"),
        Some(ahead) if ahead.unsigned_abs() <= CLOCK_TOLERANCE => report.good("clock", "correct"),
        Some(ahead) => {
            let way = if ahead > 0 { "ahead of" } else { "behind" };
            report.bad("clock", format!("{} seconds {way} Apple's", ahead.unsigned_abs()), Cause::Clock);
            return false;
        }
    }
    true
}

fn session(report: &mut Report, described: Result<Description, Error>) -> bool {
    match described {
        Err(error) => report.bad("session", error.text, Cause::SessionFile),
        Ok(described) if described.needs_login => {
            let cause = described.cause();
            report.bad("session", described.reason, cause);
        }
        Ok(described) => {
            let until =
                described.trust_until.as_deref().map_or("an unknown time", |until| &until[..until.len().min(10)]);
            report.good("session", format!("present at {}, trusted until {until}", described.domain));
            return true;
        }
    }
    false
}

/// Returns the cause of a failed operation. What iCloud reports about the account makes it more
/// precise, because a session may be refused for several reasons.
fn cause_of(error: &Error, available: Option<&Available>) -> Cause {
    let vague = matches!(
        error.cause,
        None | Some(
            Cause::SessionOver | Cause::NotSignedIn | Cause::AdpNotApproved | Cause::WebAccessOff | Cause::Other
        )
    );
    if let (true, Kind::NeedsLogin | Kind::Denied, Some(available)) = (vague, error.kind, available) {
        if available.web_access_off {
            return Cause::WebAccessOff;
        }
        if available.terms_pending {
            return Cause::TermsPending;
        }
        if available.protected && available.session == "alive" {
            return Cause::AdpNotApproved;
        }
    }
    error.cause.unwrap_or(match error.kind {
        Kind::NeedsLogin => Cause::SessionOver,
        Kind::Throttled => Cause::Throttled,
        Kind::Network => Cause::ServiceTrouble,
        _ => Cause::Other,
    })
}

async fn round_trip(report: &mut Report, remote: Remote) {
    let path = format!("plakar-icloud doctor {}.txt", std::process::id());
    let begun = Instant::now();
    let content = Arc::new(Region::Memory(Bytes::from_static(TRIAL_CONTENT)));
    let file =
        match within(TRANSFER_TIMEOUT, remote.upload(&path, Time::now(), content, Replacement::Awaited, Form::File))
            .await
        {
            Err(error) => return report.bad("write", error.text.clone(), cause_of(&error, None)),
            Ok(entry) => match entry.item {
                Item::File(file) => file,
                Item::Folder | Item::Link(_) => {
                    return report.bad("write", "the service stored something else than a file", Cause::Other);
                }
            },
        };
    report.timed("write", format!("{} bytes as {path:?}", TRIAL_CONTENT.len()), begun);
    let begun = Instant::now();
    match within(TRANSFER_TIMEOUT, read_back(file.clone())).await {
        Ok(content) if content == TRIAL_CONTENT => report.timed("read", "the same bytes", begun),
        Ok(content) => report.bad("read", format!("{} bytes, which differ", content.len()), Cause::Other),
        Err(error) => report.bad("read", error.text.clone(), cause_of(&error, None)),
    }
    let begun = Instant::now();
    let deleted = within(SLOW_TIMEOUT, remote.delete(&[(&path, Some(&file))], Deletion::Recoverable)).await;
    match deleted.and_then(|mut outcomes| outcomes.swap_remove(0)) {
        Ok(()) => report.timed("remove", "removed (it is in the Trash of iCloud Drive)", begun),
        Err(error) => report.bad("remove", error.text.clone(), cause_of(&error, None)),
    }
}

async fn read_back(file: File) -> Result<Vec<u8>, Error> {
    let read = move || {
        let scope = Scope::of(&file);
        let (mut reader, _) = file.open(0, None, Version::Listed, scope.id())?;
        let mut content = bytes::BytesMut::with_capacity(TRIAL_CONTENT.len() + 1);
        reader.read(&mut content)?;
        Ok(content.to_vec())
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(Error::unexpected(format!("the task that reads the file failed: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plakar_is_supported_from_version_1_1_on() {
        for version in ["plakar/v1.1.4", "plakar/v1.2.0-beta.1", "v1.1.0", "plakar/devel"] {
            assert!(is_supported(version), "{version}");
        }
        for version in ["plakar/v1.0.6", "plakar/v2.0.0", "v0.9.1"] {
            assert!(!is_supported(version), "{version}");
        }
    }
}
