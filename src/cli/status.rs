//! The commands `status` and `notify-test`.

use clap::Args;
use serde_json::json;

use super::{AccountArg, Error, ExitStatus, libraries, output};
use crate::{
    account::{self, StateFolder, advice},
    config::WARN_DAYS,
    doctor,
    rclone::{
        Cause, Rclone,
        account::{Available, Description},
    },
};

/// Show the state of a session, and what the services report.
///
/// Sends requests to iCloud, and renews the session if necessary. Never has a code sent. Exit
/// codes: 0 success, 1 failure, 10 a sign-in is needed, 11 the trust ends within --warn-days.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    which: AccountArg,
    /// Days of trust below which the exit code is 11
    #[arg(long, value_name = "N", default_value_t = u64::from(WARN_DAYS))]
    warn_days: u64,
    /// Show the stored state, without a request to iCloud
    #[arg(long)]
    offline: bool,
    /// Print one line, for a monitor that reads it and the exit code
    #[arg(long, conflicts_with = "json")]
    check: bool,
    /// Print the state as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The response of iCloud.
enum Response {
    NotRequested,
    Listed(Option<Available>),
    Refused(Cause, String),
}

impl Status {
    /// Prints the state of an account. For a monitor, an error is a line on stdout, too.
    pub async fn run(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        let check = self.check;
        let result = self.print(state).await;
        if let (true, Err(error)) = (check, &result) {
            output::print(&format!("critical: {error}\n"))?;
        }
        result
    }

    async fn print(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        let (name, account) = state.choose(self.which.name.as_deref())?;
        let session_file = state.session_file(&account.apple_id, &account.client_id);
        let rclone = Rclone::start();
        let before = rclone.describe(&session_file).await?;
        let response = if self.offline || before.needs_login {
            Response::NotRequested
        } else {
            match doctor::list_top(state, &name, &account).await {
                Ok(_) => Response::Listed(rclone.services(&session_file).await.ok()),
                Err((cause, text)) => Response::Refused(cause, text),
            }
        };
        let described = rclone.describe(&session_file).await?;
        let days_left = described.days_left();
        let status = match &response {
            _ if described.needs_login => ExitStatus::NeedsLogin,
            Response::Refused(cause, _) if advice::needs_login(*cause) => ExitStatus::NeedsLogin,
            Response::Refused(..) => ExitStatus::Failure,
            _ if described.ends_within(self.warn_days) => ExitStatus::ExpiresSoon,
            _ => ExitStatus::Success,
        };
        if self.json {
            let (services, refused) = match &response {
                Response::Listed(Some(available)) => (Some(&available.services), None),
                Response::Refused(cause, text) => (None, Some(json!({ "cause": cause, "text": text }))),
                _ => (None, None),
            };
            output::print_json(&json!({
                "account": name, "apple_id": account.apple_id,
                "state": match status {
                    ExitStatus::Success => "ok",
                    ExitStatus::NeedsLogin => "needs-login",
                    ExitStatus::ExpiresSoon => "expires-soon",
                    ExitStatus::Failure => "failed",
                },
                "reason": described.reason, "days_left": days_left, "trust_until": described.trust_until,
                "trusted_at": described.trusted_at, "renewed_at": described.renewed_at, "sign_ins": described.sign_ins,
                "domain": described.domain, "protected": described.protected, "consent_until": described.consent_until,
                "photos_approved": described.photos_approved, "services": services, "refused": refused,
                "libraries": described.photos.as_ref().map(|photos| libraries::values(&photos.collections)),
                "libraries_counted_at": described.photos.as_ref().map(|photos| &photos.counted),
            }))?;
        } else if self.check {
            output::print(&(checked(&name, status, &described, &response) + "\n"))?;
        } else {
            output::print(&shown(&name, &account.apple_id, &described, &response))?;
        }
        Ok(status)
    }
}

/// Returns the line for a monitor, which begins with `ok`, `warning` or `critical`.
fn checked(name: &str, status: ExitStatus, described: &Description, response: &Response) -> String {
    let trust = match described.days_left() {
        Some(days) => format!("{days} days of trust left"),
        None => "the days of trust left are unknown".to_owned(),
    };
    let cause = match response {
        Response::Refused(cause, _) => *cause,
        _ => described.cause(),
    };
    let advice = || {
        let advice = advice::for_cause(cause, name);
        format!("{} Next: {}", advice.problem, advice.next)
    };
    match status {
        ExitStatus::Success => format!("ok: account {name}: {trust}"),
        ExitStatus::ExpiresSoon => format!("warning: account {name}: {trust}. Next: run plakar-icloud login {name}"),
        ExitStatus::NeedsLogin | ExitStatus::Failure => format!("critical: account {name}: {}", advice()),
    }
}

/// Returns the lines for a person.
fn shown(name: &str, apple_id: &str, described: &Description, response: &Response) -> String {
    let mut lines = vec![("account", format!("{name} ({apple_id}) at {}", described.domain))];
    // The advice replaces the message of the backend, which has its own advice.
    let needs_login = |cause| {
        let advice = advice::for_cause(cause, name);
        format!("needs login. {} Next: {}", advice.problem, advice.next)
    };
    let session = match response {
        _ if described.needs_login => needs_login(described.cause()),
        Response::NotRequested => "present (no request was sent to iCloud)".to_owned(),
        Response::Listed(_) => "alive".to_owned(),
        Response::Refused(cause, _) if advice::needs_login(*cause) => needs_login(*cause),
        Response::Refused(cause, text) => advice::for_cause(*cause, name).line(text),
    };
    lines.push(("session", session));
    let trust = match (&described.trust_until, described.days_left()) {
        (Some(_), Some(0)) => "over".to_owned(),
        (Some(until), Some(days)) => format!("{days} days left, until about {}", output::day(until)),
        _ => "the end is unknown".to_owned(),
    };
    lines.push(("trust", trust));
    if let Some(renewed) = &described.renewed_at {
        lines.push((
            "renewed",
            format!("{}, by sign-in number {} of this trust", output::minute(renewed), described.sign_ins),
        ));
    }
    if described.protected {
        lines.push(("protection", protection(described)));
    }
    if !described.needs_login && !described.reason.is_empty() {
        lines.push(("note", described.reason.clone()));
    }
    if let Some(till) = &described.waits_until {
        lines.push(("sign-in", format!("waits for its code until {}", output::minute(till))));
    }
    if let Response::Listed(Some(available)) = response {
        let services = available.services.iter().map(|(name, state)| format!("{name} {state}"));
        let services = services.collect::<Vec<_>>().join(", ");
        lines.push(("services", if services.is_empty() { "unknown".to_owned() } else { services }));
        if available.terms_pending {
            lines.push(("terms", advice::for_cause(Cause::TermsPending, name).problem.to_owned()));
        }
    }
    if let Some(photos) = &described.photos {
        lines.extend(libraries::lines(&photos.collections).map(|line| ("library", line)));
        lines.push(("", format!("the libraries were counted on {}", output::minute(&photos.counted))));
    }
    lines.into_iter().map(|(label, text)| output::row(label, 11, &text)).collect()
}

/// Returns the state of the consent that Advanced Data Protection requires.
fn protection(described: &Description) -> String {
    let consent = match &described.consent_until {
        Some(until) => format!("; a device has consented to the access until {}", output::minute(until)),
        None => String::new(),
    };
    let photos = if described.photos_approved {
        "was approved before (an approval lasts about an hour)"
    } else {
        "is requested by the first backup of them"
    };
    format!("Advanced Data Protection is on{consent}; the access to photos {photos}")
}

/// Run a command as on_event would.
///
/// The command gets PLAKAR_ICLOUD_EVENT (test), PLAKAR_ICLOUD_ACCOUNT, PLAKAR_ICLOUD_REASON,
/// PLAKAR_ICLOUD_DAYS_LEFT, PLAKAR_ICLOUD_FILES and PLAKAR_ICLOUD_FAILED. The README lists the
/// events.
#[derive(Debug, Args)]
pub struct NotifyTest {
    /// Command, as in on_event= of plakar's configuration
    #[arg(value_name = "COMMAND")]
    command: String,
    /// Name of the account to pass to it
    #[arg(long, value_name = "NAME", default_value = "")]
    account: String,
}

impl NotifyTest {
    /// Runs the command once.
    pub fn run(self, _: &StateFolder) -> Result<ExitStatus, Error> {
        let status =
            account::test_command(&self.command, &self.account).map_err(Error::io("the command cannot be run"))?;
        output::note(&format!("The command ended with {status}."));
        Ok(if status.success() { ExitStatus::Success } else { ExitStatus::Failure })
    }
}
