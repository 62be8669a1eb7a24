//! Passwords: from a command, and which are of no use.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

use super::{Access, Error};
use crate::{rclone::Rclone, secret};

/// How long a command for the password may take.
const COMMAND_TIME: Duration = Duration::from_secs(60);

/// Runs a command for a password: the first line that it prints is it.
///
/// # Errors
/// If the command fails, prints nothing, or takes a minute.
pub async fn password_of(command: &str) -> Result<String, Error> {
    let failed = |why: String| Error::PasswordCommand(why);
    let run = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(COMMAND_TIME, run).await {
        Err(_) => return Err(failed(format!("it did not end within {} seconds", COMMAND_TIME.as_secs()))),
        Ok(output) => output.map_err(|error| failed(format!("it cannot be run: {error}")))?,
    };
    if !output.status.success() {
        return Err(failed(format!("it ended with {}", output.status)));
    }
    let text = String::from_utf8(output.stdout).map_err(|_| failed("what it printed is not UTF-8".to_owned()))?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(failed("it printed nothing".to_owned()));
    }
    secret::conceal(password);
    Ok(password.to_owned())
}

impl Access {
    /// The password from its command, if that is where it comes from, in
    /// rclone's obscured form.
    ///
    /// # Errors
    /// If the command gives none.
    pub async fn commanded_password(&self) -> Result<Option<String>, Error> {
        let Some(command) = &self.password_command else {
            return Ok(None);
        };
        let password = password_of(command).await?;
        let obscured = Rclone::start().obscure(&password).await;
        obscured.map(Some).map_err(|error| Error::PasswordCommand(error.text))
    }
}

/// Whether a text is of the form `xxxx-xxxx-xxxx-xxxx` that Apple gives
/// app-specific passwords. The web sign-in, and with it iCloud Drive, takes none.
pub fn is_app_specific(password: &str) -> bool {
    let groups: Vec<&str> = password.trim().split('-').collect();
    let group = |group: &&str| group.len() == 4 && group.bytes().all(|byte| byte.is_ascii_lowercase());
    groups.len() == 4 && groups.iter().all(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_specific_passwords_are_known_by_their_form() {
        assert!(is_app_specific("abcd-efgh-ijkl-mnop"));
        for other in
            ["correct horse", "abcd-efgh-ijkl", "Abcd-efgh-ijkl-mnop", "abcd-efgh-ijkl-mno1", "abcde-efgh-ijkl-mnop"]
        {
            assert!(!is_app_specific(other), "{other}");
        }
    }
}
