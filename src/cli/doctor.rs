//! The command `doctor`: finds the cause of a problem, and writes a report for developers.

use std::{
    env,
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{AccountArg, Error, ExitStatus, output};
use crate::{
    account::{StateFolder, advice},
    doctor::{self, Report},
    rclone::Rclone,
    secret,
};

/// Find what is wrong, and try a round trip.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    which: AccountArg,
    /// Skip the round trip: write nothing to iCloud
    #[arg(long)]
    read_only: bool,
    /// Write a report for developers, without secrets and without the Apple ID
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Doctor {
    /// Examines an account.
    pub async fn run(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        let name = self.which.name.as_deref();
        let report = doctor::examine(state, name, !self.read_only).await;
        let chosen =
            name.map(str::to_owned).or_else(|| state.choose(None).ok().map(|(name, _)| name)).unwrap_or_default();
        if let Some(file) = &self.bundle {
            write_bundle(file, &bundle(state, &report).await)?;
            output::note(&format!("Report written to {}; read it before you pass it on.", file.display()));
        }
        if self.json {
            let found = report.cause().map(|cause| {
                let advice = advice::for_cause(cause, &chosen);
                json!({ "cause": cause, "what": advice.problem, "next": advice.next })
            });
            output::print_json(&json!({ "checks": report.checks, "found": found }))?;
        } else {
            output::print(&shown(&report, &chosen))?;
        }
        Ok(match report.cause() {
            None => ExitStatus::Success,
            Some(cause) if advice::needs_login(cause) => ExitStatus::NeedsLogin,
            Some(_) => ExitStatus::Failure,
        })
    }
}

fn shown(report: &Report, name: &str) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let mark = if check.cause.is_some() { "FAILED" } else { "ok" };
        let time = check.milliseconds.map(|ms| format!(" ({ms} ms)")).unwrap_or_default();
        text += &output::row(&format!("{mark:<6}  {}", check.what), 21, &format!("{}{time}", check.seen));
    }
    text += "\n";
    match report.cause() {
        None => text += "All is well.\n",
        Some(cause) => {
            let advice = advice::for_cause(cause, name);
            text += &(output::row("Cause:", 6, advice.problem) + &output::row("Next:", 6, &advice.next));
        }
    }
    text
}

/// Returns the report, with the facts about the machine that a developer needs.
async fn bundle(state: &StateFolder, report: &Report) -> String {
    let system = rustix::system::uname();
    let mut accounts = Vec::new();
    let mut apple_ids = Vec::new();
    for (_, account) in state.accounts().unwrap_or_default() {
        let session_file = state.session_file(&account.apple_id, &account.client_id);
        let described = Rclone::start().describe(&session_file).await;
        accounts.push(match described {
            Err(error) => json!({ "error": error.text }),
            Ok(described) => json!({
                "has_trust": described.has_trust, "has_cookies": described.has_cookies,
                "trusted_at": described.trusted_at, "renewed_at": described.renewed_at,
                "sign_ins": described.sign_ins, "needs_login": described.needs_login, "reason": described.reason,
                "protected": described.protected, "password_kept": account.password().is_some(),
                "password_command": account.password_command.is_some(),
            }),
        });
        apple_ids.push(account.apple_id);
    }
    let set = |name: &str| env::var_os(name).is_some();
    let variables: Vec<&str> = [
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "XDG_STATE_HOME",
        "HOME",
        "TMPDIR",
    ]
    .into_iter()
    .filter(|name| set(name))
    .collect();
    let bundle = json!({
        "plakar_icloud": env!("CARGO_PKG_VERSION"),
        "rclone": Rclone::start().version().await.unwrap_or_default(),
        "plakar": doctor::plakar_version(),
        "system": format!("{} {} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy(), system.machine().to_string_lossy()),
        "variables_set": variables,
        "accounts": accounts,
        "checks": report.checks,
        "cause": report.cause(),
    });
    let mut text = serde_json::to_string_pretty(&bundle).unwrap_or_default() + "\n";
    for apple_id in apple_ids {
        text = text.replace(&apple_id, "(Apple ID)");
    }
    if let Some(home) = env::var_os("HOME").filter(|home| home.len() > 1) {
        text = text.replace(&*home.to_string_lossy(), "~");
    }
    secret::redact(&text).into_owned()
}

fn write_bundle(path: &Path, text: &str) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(Error::io(format!("the report cannot be written to {}", path.display())))
}
