//! The dialogue of a sign-in, from the password to the command lines for plakar.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use serde_json::json;

use super::Login;
use crate::{
    account::{Account, StateFolder, advice},
    cli::{Error, ExitStatus, Section, output, plakar, prompt},
    doctor,
    log::to_stderr,
    rclone::{
        Cause, Rclone,
        account::{Password, Question, Step},
    },
    secret,
};

/// How long to wait for an approval on a device, in seconds.
const APPROVAL_TIME: u64 = 5 * 60;
/// The interval between requests whether the approval was given, in seconds.
const APPROVAL_POLL: u64 = 5;

/// A sign-in in progress.
pub struct SignIn<'a> {
    /// The name of the account.
    pub name: String,
    /// The state folder to store it in.
    pub state: &'a StateFolder,
    /// The command line options.
    pub login: &'a Login,
    /// The account to be stored.
    pub account: Account,
}

impl SignIn<'_> {
    /// Asks for the password and proves it to Apple, which then sends a code.
    pub async fn begin(&mut self, known: Option<Account>) -> Result<Step, Error> {
        let login = self.login;
        if login.code.is_some() {
            return Ok(Step::stopped(Cause::NoChallenge, "there is no such account"));
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
        // Fails early if the session could not be stored, so that no code is sent in vain.
        Rclone::start().describe(self.account.identity(self.state).session_file.as_ref()).await?;
        let command = login.password_command.clone().or_else(|| known.and_then(|known| known.password_command));
        let command = command.filter(|_| !login.password_stdin);
        let typed = match &command {
            Some(_) => String::new(),
            None if login.password_stdin => prompt::password_from_stdin()?,
            None => prompt::password(&format!("Password of {} (not shown): ", self.account.apple_id))?,
        };
        if command.is_none() && typed.is_empty() {
            return Err(Error::Usage("no password was given; nothing was sent to Apple".to_owned()));
        }
        if !login.json {
            output::note("Signing in...");
        }
        let rclone = Rclone::start();
        let password = command.as_deref().map_or(Password::Typed(&typed), Password::Command);
        let delivery = login.delivery().map(|(way, place)| format!("{way} {place}")).unwrap_or_default();
        let step = rclone.sign_in(&self.name, &self.account.identity(self.state), password, &delivery).await?;
        // The password is stored once Apple has accepted it, which is before the code.
        if !matches!(step, Step::Stopped { .. }) || has_accepted_password(&step) {
            match command {
                Some(command) => self.account.password_command = Some(command),
                None if login.no_store_password => {}
                None => self.account.set_password(rclone.obscure(&typed).await?),
            }
            self.state.save(&self.name, &self.account)?;
        }
        if matches!(step, Step::Code(_)) && !login.no_wait && !login.json {
            let session_file = self.state.session_file(&self.account.apple_id, &self.account.client_id);
            if let Some(till) = rclone.describe(&session_file).await?.waits_until {
                output::note(&format!("The code can be entered until {}.", output::minute(&till)));
            }
        }
        Ok(step)
    }

    /// Enters a code, or chooses another way to deliver it.
    pub async fn answer(&self, answer: &str) -> Result<Step, Error> {
        if answer.bytes().any(|byte| byte.is_ascii_digit()) {
            secret::conceal(answer);
        }
        let step = Rclone::start().answer_code(&self.name, &self.account.identity(self.state), answer).await?;
        if let (Step::Code(question), true) = (&step, answer.is_empty() && self.login.code.is_none())
            && let Some(way) = self.login.alternative(question)?
        {
            return Ok(Rclone::start().answer_code(&self.name, &self.account.identity(self.state), &way).await?);
        }
        Ok(step)
    }

    /// Continues until there is no further question.
    pub async fn converse(self, mut step: Step) -> Result<ExitStatus, Error> {
        loop {
            step = match step {
                Step::Code(question) if self.login.no_wait || self.login.code.is_some() || self.login.json => {
                    return self.exit_before_code(&question);
                }
                Step::Code(question) => {
                    let answer = ask(&question)?;
                    self.answer(&answer).await?
                }
                Step::Approval => match self.wait_for_approval().await? {
                    Some(step) => step,
                    None => Step::stopped(Cause::AdpNotApproved, "the access was not approved in time"),
                },
                Step::Stopped { cause, text, retry_after } => return self.stopped(cause, &text, retry_after),
                Step::Done => return self.done().await,
            }
        }
    }

    /// Prints how to enter the code, and ends the command before the code is entered.
    fn exit_before_code(&self, question: &Question) -> Result<ExitStatus, Error> {
        let alternatives = question.alternatives.iter();
        let ways: Vec<_> = alternatives.map(|(answer, text)| json!({ "answer": answer, "does": text })).collect();
        if self.login.json {
            output::print_json(&json!({
                "account": self.name, "state": "code", "said": question.problem, "how": question.delivery, "ways": ways,
            }))?;
        } else {
            print_question(question);
            output::note(&format!("Enter the code within 15 minutes: plakar-icloud login {} --code CODE", self.name));
        }
        Ok(ExitStatus::NeedsLogin)
    }

    /// Waits for an approval of the access on a device. Ctrl-C ends the wait.
    async fn wait_for_approval(&self) -> Result<Option<Step>, Error> {
        output::note("Advanced Data Protection is on: approve the access on one of your devices.");
        output::note("If no request appears there: Settings > your name > iCloud > Access iCloud Data on the Web.");
        let shows_time = io::stderr().is_terminal() && !self.login.json;
        for left in (0..APPROVAL_TIME).rev() {
            if shows_time {
                let (minutes, seconds) = (left / 60, left % 60);
                to_stderr(format_args!("\rWaiting for your approval, {minutes}:{seconds:02} left (Ctrl-C ends it) "));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if left % APPROVAL_POLL == 0 {
                let step = Rclone::start().check_approval(&self.name, &self.account.identity(self.state)).await?;
                if !matches!(
                    step,
                    Step::Approval | Step::Stopped { cause: Cause::NoNetwork | Cause::ServiceTrouble, .. }
                ) {
                    if shows_time {
                        to_stderr("\n");
                    }
                    return Ok(Some(step));
                }
            }
        }
        if shows_time {
            to_stderr("\n");
        }
        Ok(None)
    }

    fn stopped(&self, cause: Cause, text: &str, retry_after: Option<u64>) -> Result<ExitStatus, Error> {
        let advice = advice::for_cause(cause, &self.name);
        if self.login.json {
            let value = json!({
                "account": self.name, "state": "failed", "cause": cause, "what": advice.problem, "next": advice.next,
                "said": text, "retry_after": retry_after,
            });
            output::print_json(&value)?;
        } else {
            let whose = if self.account.apple_id.is_empty() { &self.name } else { &self.account.apple_id };
            output::note(&format!("Not signed in as {whose}. {}", advice.line(text)));
        }
        // After a wrong or missing code, the sign-in can still be continued.
        Ok(if advice::needs_login(cause) { ExitStatus::NeedsLogin } else { ExitStatus::Failure })
    }

    /// Prints the next steps, after a check that iCloud Drive responds: a sign-in may succeed for
    /// an account whose data is not accessible.
    async fn done(&self) -> Result<ExitStatus, Error> {
        if let Err((cause, text)) = doctor::list_top(self.state, &self.name, &self.account).await {
            return self.stopped(cause, &text, None);
        }
        let lines: Vec<Vec<String>> = [Section::Source, Section::Destination, Section::Store]
            .map(|section| plakar::line(section, &self.name, self.state))
            .into();
        let session = self.state.session_file(&self.account.apple_id, &self.account.client_id);
        self.state.remove_marks_of(&session);
        let shown: Vec<String> = lines.iter().map(|line| plakar::shown(line)).collect();
        if self.login.json {
            output::print_json(&json!({ "account": self.name, "state": "signed-in", "plakar": shown }))?;
        } else {
            output::note(&format!("Signed in as {}; the account is called {}.", self.account.apple_id, self.name));
        }
        if self.login.add {
            let add = |(line, shown): (&Vec<String>, &String)| {
                output::note(shown);
                plakar::run(line)
            };
            // If one of them exists already, the others are still added.
            let added: Vec<_> = lines.iter().zip(&shown).map(add).collect();
            added.into_iter().collect::<Result<(), Error>>()?;
        } else if !self.login.json {
            output::note("To use it with plakar, as source, destination or store:");
            output::print(&(shown.join("\n") + "\n"))?;
        }
        Ok(ExitStatus::Success)
    }
}

/// Reports whether Apple has accepted the password although the sign-in stopped, for a reason that
/// the user can resolve with Apple.
fn has_accepted_password(step: &Step) -> bool {
    matches!(step, Step::Stopped { cause: Cause::TermsPending | Cause::WebAccessOff | Cause::AdpNotApproved, .. })
}

/// Prints what was wrong with the previous answer, and how the code is delivered.
fn print_question(question: &Question) {
    if let Some(problem) = &question.problem {
        output::note(&format!("{problem}."));
    }
    output::note(&format!("{}.", question.delivery));
}

/// Asks for the code.
fn ask(question: &Question) -> Result<String, Error> {
    print_question(question);
    for (number, (_, does)) in question.alternatives.iter().enumerate() {
        output::note(&format!("  {}: {does}", letter(number)));
    }
    loop {
        let answer = prompt::line("Code, or a letter from above: ")?;
        if answer.is_empty() {
            return Err(Error::Usage(
                "no code was given; the sign-in waits for it: run plakar-icloud login again".to_owned(),
            ));
        }
        let chosen = question
            .alternatives
            .iter()
            .enumerate()
            .find(|(number, _)| letter(*number).to_string().eq_ignore_ascii_case(&answer));
        match chosen {
            Some((_, (alternative, _))) => return Ok(alternative.clone()),
            None if answer.bytes().any(|byte| byte.is_ascii_digit()) => return Ok(answer),
            None => output::note("A code has six digits."),
        }
    }
}

/// Returns the letter of a choice. Choices have letters because a code has digits.
fn letter(number: usize) -> char {
    char::from(b'a' + u8::try_from(number % 26).unwrap_or_default())
}
