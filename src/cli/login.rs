//! `login`: the conversation of a sign-in.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;
use serde_json::json;

use super::{Ending, Error, Section, output, plakar, prompt};
use crate::{
    account::{self, Account, State, advice},
    rclone::{
        Cause, Rclone,
        account::{Question, Step},
    },
    secret,
};

/// The name of the first account.
const FIRST_NAME: &str = "icloud";
/// How long an approval on a device is waited for.
const APPROVAL_TIME: u64 = 5 * 60;
/// How often Apple is asked whether it was given, in seconds.
const APPROVAL_POLL: u64 = 5;

/// Sign in to an Apple Account, and give the sign-in a name.
///
/// Asks for what is not given. A script signs in by two calls: one with
/// --no-wait, which exits with 10 once the code is under way, and one with
/// --code, within a quarter of an hour.
#[derive(Debug, Args)]
pub struct Login {
    /// Name of the account [default: the only one, else icloud]
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
    /// Keep no password: the session ends when it can no longer be renewed without
    #[arg(long)]
    no_store_password: bool,
    /// End with exit code 10 when the code is under way
    #[arg(long, conflicts_with = "code")]
    no_wait: bool,
    /// The code, for a sign-in that waits for it
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Have the code sent again
    #[arg(long, conflicts_with_all = ["code", "sms", "call"])]
    resend: bool,
    /// Have the code sent by SMS
    #[arg(long, conflicts_with_all = ["code", "call"])]
    sms: bool,
    /// Have the code said by a call
    #[arg(long, conflicts_with = "code")]
    call: bool,
    /// Number in the list of trusted phones, with --sms or --call [default: the first]
    #[arg(long, value_name = "N")]
    phone: Option<usize>,
    /// Begin anew, even if a sign-in waits for its code
    #[arg(long)]
    restart: bool,
    /// Add a source, a destination and a store to plakar's configuration
    #[arg(long)]
    add: bool,
    /// Print what happens as JSON
    #[arg(long)]
    json: bool,
}

impl Login {
    /// Signs in.
    pub async fn run(self, state: &State) -> Result<Ending, Error> {
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

    fn account(&self, state: &State) -> Result<(String, Option<Account>), Error> {
        let (name, known) = match (&self.name, state.choose(None)) {
            (Some(name), _) => match state.account(name) {
                Ok(account) => (name.clone(), Some(account)),
                Err(account::Error::Unknown { .. }) => (name.clone(), None),
                Err(error) => return Err(error.into()),
            },
            (None, Ok((name, account))) => (name, Some(account)),
            (None, Err(account::Error::None(_))) => (FIRST_NAME.to_owned(), None),
            (None, Err(error)) => return Err(error.into()),
        };
        let other =
            |known: &Account| self.apple_id.as_ref().is_some_and(|id| !id.trim().eq_ignore_ascii_case(&known.apple_id));
        if self.name.is_none() && known.as_ref().is_some_and(other) {
            let text =
                "there is an account of another Apple ID: give the new one a name, as in plakar-icloud login work";
            return Err(Error::Usage(text.to_owned()));
        }
        Ok((name, known.filter(|known| !other(known))))
    }

    /// Whether this goes on with a sign-in that another call began. A code that
    /// is pending is not made void by a new one unless somebody says so.
    async fn continues(&self, state: &State, account: &Account) -> Result<bool, Error> {
        if self.code.is_some() {
            return Ok(true);
        }
        if self.restart || self.password_stdin || self.password_command.is_some() {
            return Ok(false);
        }
        let identity = account.identity(state);
        let waits = Rclone::start().describe(identity.session_file.as_ref()).await?.waits_till;
        if let Some(till) = &waits {
            output::tell(&format!(
                "A sign-in waits for its code until {} (--restart begins a new one).",
                output::minute(till)
            ));
        }
        Ok(waits.is_some())
    }

    /// The way that the flags ask the code to come.
    fn way(&self, question: &Question) -> Option<String> {
        let word = match (self.resend, self.sms, self.call) {
            (true, ..) => return Some("resend".to_owned()),
            (_, true, _) => "sms",
            (_, _, true) => "voice",
            _ if self.phone.is_some() => "sms",
            _ => return None,
        };
        let mut ways = question.ways.iter().filter(|(way, _)| way.split(' ').next() == Some(word));
        Some(ways.nth(self.phone.unwrap_or(1).max(1) - 1).map_or_else(|| format!("{word} ?"), |(way, _)| way.clone()))
    }
}

struct SignIn<'a> {
    name: String,
    state: &'a State,
    login: &'a Login,
    account: Account,
}

impl SignIn<'_> {
    async fn begin(&mut self, known: Option<Account>) -> Result<Step, Error> {
        let login = self.login;
        if login.code.is_some() {
            return Ok(Step::Stopped { cause: Cause::NoChallenge, text: "no such account".to_owned() });
        }
        let apple_id = match (&login.apple_id, &known) {
            (Some(id), _) => id.clone(),
            (None, Some(known)) => known.apple_id.clone(),
            (None, None) => prompt::line("Apple ID: ")?,
        };
        if apple_id.trim().is_empty() {
            return Err(Error::Usage(
                "an Apple ID is needed: it is the e-mail address or phone number that you sign in with".to_owned(),
            ));
        }
        let client_id = known.as_ref().map(|known| known.client_id.clone()).unwrap_or_default();
        self.account = Account::new(&apple_id, &client_id);
        let command = login.password_command.clone().or_else(|| known.and_then(|known| known.password_command));
        let password = if login.password_stdin {
            prompt::password_of_stdin()?
        } else if let Some(command) = &command {
            account::password_of(command).await?
        } else {
            prompt::password(&format!("Password of {} (does not show): ", self.account.apple_id))?
        };
        if account::is_app_specific(&password) {
            return Ok(Step::Stopped {
                cause: Cause::AppSpecificPassword,
                text: "nothing was sent to Apple".to_owned(),
            });
        }
        if password.is_empty() {
            return Err(Error::Usage("a password is needed".to_owned()));
        }
        if !login.json {
            output::tell("Signing in...");
        }
        let rclone = Rclone::start();
        let step = rclone.sign_in(&self.name, &self.account.identity(self.state), &password).await?;
        // Kept once Apple has accepted it, which is before the code.
        if !matches!(step, Step::Stopped { .. }) || stored_anyway(&step) {
            match (command, login.no_store_password) {
                (Some(command), _) if !login.password_stdin => self.account.password_command = Some(command),
                (_, true) => {}
                (_, false) => self.account.keep_password(rclone.obscure(&password).await?),
            }
            self.state.save(&self.name, &self.account)?;
        }
        match &step {
            Step::Code(question) => match login.way(question) {
                Some(way) => self.answer(&way).await,
                None => Ok(step),
            },
            _ => Ok(step),
        }
    }

    async fn answer(&self, answer: &str) -> Result<Step, Error> {
        if answer.bytes().any(|byte| byte.is_ascii_digit()) {
            secret::conceal(answer);
        }
        let step = Rclone::start().answer_code(&self.name, &self.account.identity(self.state), answer).await?;
        match &step {
            Step::Code(question) if answer.is_empty() && self.login.code.is_none() => match self.login.way(question) {
                Some(way) => {
                    Ok(Rclone::start().answer_code(&self.name, &self.account.identity(self.state), &way).await?)
                }
                None => Ok(step),
            },
            _ => Ok(step),
        }
    }

    async fn converse(self, mut step: Step) -> Result<Ending, Error> {
        loop {
            step = match step {
                Step::Code(question) if self.login.no_wait || self.login.code.is_some() || self.login.json => {
                    return self.leave(&question);
                }
                Step::Code(question) => {
                    let answer = ask(&question)?;
                    self.answer(&answer).await?
                }
                Step::Approval => match self.wait_for_approval().await? {
                    Some(step) => step,
                    None => Step::Stopped { cause: Cause::AdpNotApproved, text: "no approval came in time".to_owned() },
                },
                Step::Stopped { cause, text } => return self.stopped(cause, &text),
                Step::Done => return self.done(),
            }
        }
    }

    /// Ends while the code is under way.
    fn leave(&self, question: &Question) -> Result<Ending, Error> {
        let ways: Vec<_> = question.ways.iter().map(|(way, text)| json!({ "answer": way, "does": text })).collect();
        if self.login.json {
            output::print_json(&json!({
                "account": self.name, "state": "code", "said": question.said, "how": question.how, "ways": ways,
            }))?;
        } else {
            if let Some(said) = &question.said {
                output::tell(&format!("{said}."));
            }
            output::tell(&format!("{}.", question.how));
            output::tell(&format!("Give the code with: plakar-icloud login {} --code CODE", self.name));
        }
        Ok(Ending::NeedsLogin)
    }

    /// Waits for somebody to approve the access on a device. Ctrl-C ends it.
    async fn wait_for_approval(&self) -> Result<Option<Step>, Error> {
        output::tell("Advanced Data Protection is on: the access has to be approved on one of your devices.");
        output::tell("If no request shows up there: Settings > your name > iCloud > Access iCloud Data on the Web.");
        let shows_time = prompt::can_ask() && !self.login.json;
        for left in (0..APPROVAL_TIME).rev() {
            if shows_time {
                eprint!("\rWaiting for your approval, {}:{:02} left (Ctrl-C ends it) ", left / 60, left % 60);
                let _ = io::stderr().flush(); // it is a mere display
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if left % APPROVAL_POLL == 0 {
                let step = Rclone::start().look_for_approval(&self.name, &self.account.identity(self.state)).await?;
                if step != Step::Approval {
                    if shows_time {
                        eprintln!();
                    }
                    return Ok(Some(step));
                }
            }
        }
        if shows_time {
            eprintln!();
        }
        Ok(None)
    }

    fn stopped(&self, cause: Cause, text: &str) -> Result<Ending, Error> {
        let advice = advice::of(cause, &self.name);
        if self.login.json {
            let value = json!({
                "account": self.name, "state": "failed", "cause": cause, "what": advice.what, "next": advice.next,
                "said": secret::redact(text),
            });
            output::print_json(&value)?;
        } else {
            output::tell(&format!("{} ({text})", advice.what));
            output::tell(&format!("Next: {}.", advice.next.trim_end_matches('.')));
        }
        // A code that was wrong or is still missing is not the end of it.
        Ok(if advice::needs_login(cause) { Ending::NeedsLogin } else { Ending::Unwell })
    }

    fn done(&self) -> Result<Ending, Error> {
        let lines: Vec<Vec<String>> = [Section::Source, Section::Destination, Section::Store]
            .map(|section| plakar::line(section, &self.name, self.state))
            .into();
        let session = self.state.session_file(&self.account.apple_id, &self.account.client_id);
        self.state.forget_marks_of(&session);
        let shown: Vec<String> = lines.iter().map(|line| plakar::shown(line)).collect();
        if self.login.json {
            output::print_json(&json!({ "account": self.name, "state": "signed-in", "plakar": shown }))?;
        } else {
            output::tell(&format!("Signed in as {}; the account is called {}.", self.account.apple_id, self.name));
        }
        if self.login.add {
            for (line, shown) in lines.iter().zip(&shown) {
                output::tell(shown);
                plakar::run(line)?;
            }
        } else if !self.login.json {
            output::tell("To use it with plakar, as source, destination or store:");
            output::print(&(shown.join("\n") + "\n"))?;
        }
        Ok(Ending::Well)
    }
}

/// Whether the password was accepted although the sign-in stopped: what stopped
/// it is something that a person clears up at Apple.
fn stored_anyway(step: &Step) -> bool {
    matches!(step, Step::Stopped { cause: Cause::TermsPending | Cause::WebAccessOff | Cause::AdpNotApproved, .. })
}

/// Asks for the code.
fn ask(question: &Question) -> Result<String, Error> {
    if let Some(said) = &question.said {
        output::tell(&format!("{said}."));
    }
    output::tell(&format!("{}.", question.how));
    let others = question.ways.iter().enumerate();
    for (number, (_, does)) in others {
        output::tell(&format!("  {}: {does}", letter(number)));
    }
    loop {
        let answer = prompt::line("Code, or a letter from above: ")?;
        if answer.is_empty() {
            return Err(Error::Usage(
                "no code was given; the sign-in waits for it: plakar-icloud login --code CODE".to_owned(),
            ));
        }
        let chosen = question
            .ways
            .iter()
            .enumerate()
            .find(|(number, _)| letter(*number).to_string().eq_ignore_ascii_case(&answer));
        match chosen {
            Some((_, (way, _))) => return Ok(way.clone()),
            None if answer.bytes().any(|byte| byte.is_ascii_digit()) => return Ok(answer),
            None => output::tell("A code has six digits."),
        }
    }
}

/// A letter for a choice: digits are codes.
fn letter(number: usize) -> char {
    char::from(b'a' + u8::try_from(number % 26).unwrap_or_default())
}
