//! The command `login`: chooses the account, and starts or continues a sign-in.

mod conversation;

use clap::Args;

use super::{Error, ExitStatus, output};
use crate::{
    account::{self, Account, StateFolder},
    rclone::{Rclone, account::Question},
};
use conversation::SignIn;

/// The default name of the first account.
const FIRST_NAME: &str = "icloud";

/// Sign in to an Apple Account, and name the account.
///
/// Asks for everything that is not given: the Apple ID, the password, and the code that Apple then
/// sends. A script signs in with two calls: the first with --no-wait, which exits with 10 when the
/// code has been sent, and the second with --code, within a quarter of an hour.
#[derive(Debug, Args)]
pub struct Login {
    /// Name of the account [default: the only one, or icloud]
    name: Option<String>,
    /// The Apple ID
    #[arg(long, value_name = "ID")]
    apple_id: Option<String>,
    /// Read the password from the first line of stdin
    #[arg(long, conflicts_with = "password_command")]
    password_stdin: bool,
    /// Get the password from a shell command, now and whenever it is needed
    #[arg(long, value_name = "COMMAND")]
    password_command: Option<String>,
    /// Do not store the password: the session ends when it cannot be renewed without it
    #[arg(long)]
    no_store_password: bool,
    /// Exit with code 10 when the code has been sent
    #[arg(long, conflicts_with = "code")]
    no_wait: bool,
    /// Enter the code for a sign-in that is waiting for it
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Have the code sent again
    #[arg(long, conflicts_with_all = ["code", "sms", "call"])]
    resend: bool,
    /// Have the code sent by SMS
    #[arg(long, conflicts_with_all = ["code", "call"])]
    sms: bool,
    /// Have the code read out in a phone call
    #[arg(long, conflicts_with = "code")]
    call: bool,
    /// Number in the list of trusted phones, with --sms or --call [default: the first]
    #[arg(long, value_name = "N")]
    phone: Option<usize>,
    /// Start a new sign-in, even if one is waiting for its code
    #[arg(long)]
    restart: bool,
    /// Add a source, a destination and a store to plakar's configuration
    #[arg(long)]
    add: bool,
    /// Print the progress as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Login {
    /// Signs in.
    pub async fn run(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        let (name, known) = self.account(state)?;
        state.check_writable()?;
        let mut sign_in = SignIn { name, state, login: &self, account: Account::new("", "") };
        let step = match known {
            Some(account) if self.continues(state, &account).await? => {
                sign_in.account = account;
                let answer = self.code.clone().unwrap_or_default();
                sign_in.answer(&answer).await?
            }
            known => sign_in.begin(known).await?,
        };
        sign_in.converse(step).await
    }

    fn account(&self, state: &StateFolder) -> Result<(String, Option<Account>), Error> {
        let (name, known) = match (&self.name, state.choose(None)) {
            (Some(name), _) => match state.account(name) {
                Ok(account) => (name.clone(), Some(account)),
                Err(account::Error::Unknown { .. }) => (name.clone(), None),
                Err(error) => return Err(error.into()),
            },
            (None, Ok((name, account))) => (name, Some(account)),
            (None, Err(account::Error::NoAccount(_))) => (FIRST_NAME.to_owned(), None),
            (None, Err(error)) => return Err(error.into()),
        };
        let other =
            |known: &Account| self.apple_id.as_ref().is_some_and(|id| !id.trim().eq_ignore_ascii_case(&known.apple_id));
        match known {
            Some(known) if other(&known) => Err(Error::Usage(format!(
                "account {name} has another Apple ID, {}: choose another name for the new account, as in plakar-icloud \
                 login work, or remove the old one: plakar-icloud logout {name}",
                known.apple_id
            ))),
            known => Ok((name, known)),
        }
    }

    /// Reports whether this call continues a sign-in that another call began. A new sign-in would
    /// invalidate the pending code, so it is started only on request.
    async fn continues(&self, state: &StateFolder, account: &Account) -> Result<bool, Error> {
        if self.code.is_some() {
            return Ok(true);
        }
        if self.restart || self.password_stdin || self.password_command.is_some() {
            return Ok(false);
        }
        let identity = account.identity(state);
        let waits = Rclone::start().describe(identity.session_file.as_ref()).await?.waits_until;
        if let Some(till) = &waits {
            output::note(&format!(
                "A sign-in is waiting for its code until {} (--restart begins a new one).",
                output::minute(till)
            ));
        }
        Ok(waits.is_some())
    }

    /// Returns how the code is to be delivered, if the flags choose it: the word for the method and the
    /// index of the phone.
    fn delivery(&self) -> Option<(&'static str, usize)> {
        let word = if self.call { "voice" } else { "sms" };
        let wanted = self.sms || self.call || self.phone.is_some();
        wanted.then(|| (word, self.phone.unwrap_or(1)))
    }

    /// Returns the alternative of a question that the flags select, if they select one.
    fn alternative(&self, question: &Question) -> Result<Option<String>, Error> {
        let Some((word, place)) = self.delivery() else {
            return Ok(self.resend.then(|| "resend".to_owned()));
        };
        let alternatives = question.alternatives.iter();
        let phones: Vec<_> = alternatives.filter(|(answer, _)| answer.split(' ').next() == Some(word)).collect();
        match place.checked_sub(1).and_then(|index| phones.get(index)) {
            Some((answer, _)) => Ok(Some(answer.clone())),
            None => {
                Err(Error::Usage(format!("Apple lists {} trusted phones; there is no number {place}", phones.len())))
            }
        }
    }
}
