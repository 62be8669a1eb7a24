//! The commands `accounts` and `logout`.

use clap::Args;
use serde_json::json;

use super::{AccountArg, Error, ExitStatus, output};
use crate::{
    account::{self, StateFolder},
    rclone::Rclone,
};

/// List the accounts.
#[derive(Debug, Args)]
pub struct Accounts {
    /// Print the accounts as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Accounts {
    /// Prints the accounts, and their states as stored on this machine.
    pub async fn run(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        let mut listed = Vec::new();
        for (name, account) in state.accounts()? {
            let session_file = state.session_file(&account.apple_id, &account.client_id);
            let described = Rclone::start().describe(&session_file).await?;
            listed.push((name, account, described));
        }
        if self.json {
            let accounts = listed.iter().map(|(name, account, described)| {
                json!({
                    "name": name, "apple_id": account.apple_id, "needs_login": described.needs_login,
                    "trust_until": described.trust_until, "password_kept": account.password().is_some(),
                    "password_command": account.password_command.is_some(),
                })
            });
            output::print_json(&accounts.collect::<Vec<_>>())?;
        } else if listed.is_empty() {
            output::note("There is no account yet: run plakar-icloud login");
        } else {
            let width = listed.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
            for (name, account, described) in &listed {
                let state = match &described.trust_until {
                    _ if described.needs_login => "needs login".to_owned(),
                    Some(until) => format!("trusted until {}", output::day(until)),
                    None => "signed in".to_owned(),
                };
                output::print(&format!("{name:<width$}  {}  {state}\n", account.apple_id))?;
            }
        }
        Ok(ExitStatus::Success)
    }
}

/// Remove an account with its session and password.
///
/// Apple still lists this computer as a trusted browser. To remove it there, use
/// https://account.apple.com.
#[derive(Debug, Args)]
pub struct Logout {
    #[command(flatten)]
    which: AccountArg,
}

impl Logout {
    /// Removes the account and its session.
    pub async fn run(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        let (name, account) = match state.choose(self.which.name.as_deref()) {
            Ok(found) => found,
            // A file that cannot be read can still be removed.
            Err(error) => match (&self.which.name, &error) {
                (Some(name), account::Error::Damaged { .. } | account::Error::File { .. }) => {
                    state.remove(name)?;
                    return Err(Error::Failed(format!(
                        "account {name} was removed, but its session was not found, because its file could not be \
                         read ({error}): if {} has its session, remove that file, too",
                        state.path().join("sessions").display()
                    )));
                }
                _ => return Err(error.into()),
            },
        };
        let session_file = state.session_file(&account.apple_id, &account.client_id);
        // Another account may have the same Apple ID. Accounts that cannot be read are ignored, so
        // that the session is removed in any case.
        let others = state.accounts().unwrap_or_default();
        let shared = others
            .iter()
            .filter(|(other, _)| *other != name)
            .any(|(_, other)| state.session_file(&other.apple_id, &other.client_id) == session_file);
        // Both files contain secrets. If one cannot be removed, the other still is.
        let removed = if shared { Ok(()) } else { Rclone::start().forget(&session_file).await };
        state.remove(&name)?;
        removed?;
        if !shared {
            state.remove_marks_of(&session_file);
            state.runs(&session_file).remove().map_err(Error::io("the last runs cannot be removed"))?;
        }
        output::note(&format!("Removed account {name}; plakar's configuration may still refer to it."));
        Ok(ExitStatus::Success)
    }
}
