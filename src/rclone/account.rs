//! Sign-ins and sessions of Apple Accounts, as rclone gives them.
//!
//! The session file belongs to the Go side (package icloud): here it is a path.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Cause, Error, Rclone, call, call_plain,
    methods::{Method, Nothing, method},
};
use crate::secret;

/// The backend whose configuration signs in.
const BACKEND: &str = "icloud";

/// Who signs in, and where the session goes.
#[derive(Debug, Clone, Serialize)]
pub struct Identity {
    /// The Apple ID.
    pub apple_id: String,
    /// The client id, empty for the one of icloud.com.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    /// The session file, in UTF-8.
    pub session_file: String,
}

/// What a sign-in needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A code, or another way to get one.
    Code(Question),
    /// The approval of a person on one of the account's devices.
    Approval,
    /// Nothing: the session is stored.
    Done,
    /// Nothing helps: the sign-in has failed.
    Stopped {
        /// What is wrong.
        cause: Cause,
        /// What Apple said, one line.
        text: String,
        /// For how long Apple asked to be left alone, in seconds.
        retry_after: Option<u64>,
    },
}

impl Step {
    /// An end that arises on this side.
    pub fn stopped(cause: Cause, text: &str) -> Self {
        Self::Stopped { cause, text: text.to_owned(), retry_after: None }
    }
}

/// How the password of a sign-in is had.
#[derive(Clone, Copy)]
pub enum Password<'a> {
    /// It is this.
    Typed(&'a str),
    /// A shell command prints it.
    Command(&'a str),
}

/// The question for a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What was wrong with the answer before, or with the sending.
    pub said: Option<String>,
    /// How the code comes.
    pub how: String,
    /// What can be answered in its place: the word and what it does.
    pub ways: Vec<(String, String)>,
}

/// rclone's `fs.ConfigOut`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigOut {
    state: String,
    option: Option<ConfigOption>,
    error: String,
    result: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigOption {
    help: String,
    examples: Option<Vec<ConfigExample>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigExample {
    value: String,
    help: String,
}

impl From<ConfigOut> for Step {
    fn from(out: ConfigOut) -> Self {
        let (state, cause) = out.state.split_once(' ').unwrap_or((&out.state, ""));
        match (state, out.option) {
            ("", _) => Self::Done,
            ("approve", _) => Self::Approval,
            ("code", Some(option)) => Self::Code(Question {
                said: (!out.error.is_empty()).then_some(out.error),
                how: option.help,
                ways: option.examples.unwrap_or_default().into_iter().map(|way| (way.value, way.help)).collect(),
            }),
            _ => Self::Stopped {
                cause: serde_json::from_value(cause.into()).unwrap_or(Cause::Other),
                text: secret::redact(&out.error).into_owned(),
                retry_after: out.result.parse().ok(),
            },
        }
    }
}

#[derive(Serialize)]
struct Configure<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    backend: &'static str,
    parameters: BTreeMap<&'static str, &'a str>,
    opt: Options<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Options<'a> {
    non_interactive: bool,
    obscure: bool,
    state: &'a str,
    result: &'a str,
}

/// A session as it is stored; nothing is asked of Apple.
#[derive(Debug, Clone, Deserialize)]
pub struct Description {
    /// Whether a trust token is there.
    pub has_trust: bool,
    /// Whether a session is there, alive or not.
    pub has_cookies: bool,
    /// When a code was last entered, RFC 3339.
    pub trusted_at: Option<String>,
    /// When Apple is expected to ask for a code again, RFC 3339.
    pub trust_until: Option<String>,
    /// Seconds until then, 0 when it is over; none if not known.
    pub trust_left: Option<u64>,
    /// When the cookies were last renewed, RFC 3339.
    pub renewed_at: Option<String>,
    /// Sign-ins with the present trust.
    pub sign_ins: u64,
    /// Whether Advanced Data Protection is on.
    pub protected: bool,
    /// When the access to protected data ends that a device has consented to,
    /// RFC 3339.
    pub consent_until: Option<String>,
    /// Whether a person has to sign in.
    pub needs_login: bool,
    /// Why, in words.
    #[serde(default)]
    pub reason: String,
    cause: Option<Cause>,
    /// Until when a sign-in waits for its code, RFC 3339.
    pub waits_till: Option<String>,
}

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

impl Description {
    /// Why a person has to sign in.
    pub fn cause(&self) -> Cause {
        self.cause.unwrap_or(Cause::SessionOver)
    }

    /// Days of trust left, a begun one counted; none if that is not known.
    pub fn days_left(&self) -> Option<u64> {
        self.trust_left.map(|left| left.div_ceil(DAY))
    }

    /// Whether the trust is known to end within so many days.
    pub fn ends_within(&self, days: u64) -> bool {
        self.trust_left.is_some_and(|left| left < days.saturating_mul(DAY))
    }
}

/// The way to Apple's hosts.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Reached {
    /// For all hosts.
    pub milliseconds: u64,
    /// By how many seconds this machine's clock is ahead of Apple's.
    pub clock_ahead: Option<i64>,
}

/// What iCloud says about an account.
#[derive(Debug, Clone, Deserialize)]
pub struct Available {
    /// "alive", or the cause why it is not.
    pub session: String,
    /// By name, what each service is: "active", "none" or a word of Apple's.
    pub services: BTreeMap<String, String>,
    /// Changed terms wait for the account's owner.
    pub terms_pending: bool,
    /// Advanced Data Protection is on.
    pub protected: bool,
    /// Access to iCloud data on the web is off.
    pub web_access_off: bool,
}

/// A session in the form of rclone's backend iclouddrive. It is all secret.
#[derive(Clone, Deserialize)]
pub struct Exported {
    /// Spares the code at a sign-in.
    pub trust_token: String,
    /// As a `Cookie` header has them.
    pub cookies: String,
}

/// Tells the state of a session, without the network.
#[derive(Serialize)]
struct Describe {
    session_file: PathBuf,
}
method!("account/describe", Describe, Description);

/// Stores a session that rclone began.
#[derive(Serialize)]
struct Adopt {
    #[serde(flatten)]
    who: Identity,
    trust_token: String,
    cookies: String,
}
method!("account/adopt", Adopt, Nothing);

/// Gives a session as rclone's backend iclouddrive keeps it.
#[derive(Serialize)]
struct Export {
    session_file: PathBuf,
}
method!("account/export", Export, Exported);

/// Removes a session.
#[derive(Serialize)]
struct Forget {
    session_file: PathBuf,
}
method!("account/forget", Forget, Nothing);

/// Reaches Apple's hosts, without an account.
#[derive(Serialize)]
struct Reach {}
method!("account/reach", Reach, Reached);

/// Asks iCloud what an account may use.
#[derive(Serialize)]
struct Services {
    session_file: PathBuf,
}
method!("account/services", Services, Available);

impl Rclone {
    /// Begins a sign-in: proves the password, once, and has a code sent, by
    /// `wish`: empty, or "sms" or "voice" and the place of a phone in the list.
    ///
    /// # Errors
    /// If rclone cannot ask; what Apple refuses is a [`Step::Stopped`].
    pub async fn sign_in(self, name: &str, who: &Identity, password: Password<'_>, wish: &str) -> Result<Step, Error> {
        let options = Options { non_interactive: true, obscure: true, result: wish, ..Options::default() };
        self.configure(name, who, Some(password), options).await
    }

    /// Goes on with a sign-in, also one that another process began: the answer
    /// is a code or one of the question's ways; empty asks again.
    ///
    /// # Errors
    /// As [`Self::sign_in`].
    pub async fn answer_code(self, name: &str, who: &Identity, answer: &str) -> Result<Step, Error> {
        let options = Options { non_interactive: true, state: "code", result: answer, ..Options::default() };
        self.configure(name, who, None, options).await
    }

    /// Looks whether the approval on a device was given.
    ///
    /// # Errors
    /// As [`Self::sign_in`].
    pub async fn look_for_approval(self, name: &str, who: &Identity) -> Result<Step, Error> {
        let options = Options { non_interactive: true, state: "approve", ..Options::default() };
        self.configure(name, who, None, options).await
    }

    async fn configure(
        self,
        name: &str,
        who: &Identity,
        password: Option<Password<'_>>,
        opt: Options<'_>,
    ) -> Result<Step, Error> {
        let mut parameters =
            BTreeMap::from([("apple_id", who.apple_id.as_str()), ("session_file", who.session_file.as_str())]);
        if !who.client_id.is_empty() {
            parameters.insert("client_id", &who.client_id);
        }
        match password {
            Some(Password::Typed(password)) => drop(parameters.insert("password", password)),
            Some(Password::Command(command)) => drop(parameters.insert("password_command", command)),
            None => {}
        }
        // Without "continue", which wants a section that this process made: what
        // a sign-in needs to go on is in the file beside the session.
        let out: ConfigOut =
            call_plain("config/create", &Configure { name, backend: BACKEND, parameters, opt }).await?;
        Ok(out.into())
    }

    /// rclone's form of a password, which hides it from a passing eye only.
    ///
    /// # Errors
    /// If the password holds a NUL.
    pub async fn obscure(self, password: &str) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Obscured {
            obscured: String,
        }
        let Obscured { obscured } = call_plain("core/obscure", &BTreeMap::from([("clear", password)])).await?;
        Ok(obscured)
    }

    /// The version of rclone in this program.
    ///
    /// # Errors
    /// If rclone does not say.
    pub async fn version(self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        let Version { version } = call_plain("core/version", &BTreeMap::<&str, &str>::new()).await?;
        Ok(version)
    }

    /// The state of a session; no network is used.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn describe(self, session_file: &Path) -> Result<Description, Error> {
        call(Describe { session_file: session_file.to_owned() }).await
    }

    /// Stores a session that rclone began.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn adopt(self, who: &Identity, trust_token: &str, cookies: &str) -> Result<(), Error> {
        let request = Adopt { who: who.clone(), trust_token: trust_token.to_owned(), cookies: cookies.to_owned() };
        call(request).await.map(|Nothing {}| ())
    }

    /// Gives the secrets of a session.
    ///
    /// # Errors
    /// If there is none.
    pub async fn export(self, session_file: &Path) -> Result<Exported, Error> {
        call(Export { session_file: session_file.to_owned() }).await
    }

    /// Removes a session.
    ///
    /// # Errors
    /// If its file cannot be removed.
    pub async fn forget(self, session_file: &Path) -> Result<(), Error> {
        call(Forget { session_file: session_file.to_owned() }).await.map(|Nothing {}| ())
    }

    /// Asks Apple's hosts for an answer, without an account.
    ///
    /// # Errors
    /// With the cause: network, proxy or certificate.
    pub async fn reach(self) -> Result<Reached, Error> {
        call(Reach {}).await
    }

    /// Asks iCloud about an account, with the session as it is.
    ///
    /// # Errors
    /// If nobody has signed in or iCloud does not answer.
    pub async fn services(self, session_file: &Path) -> Result<Available, Error> {
        call(Services { session_file: session_file.to_owned() }).await
    }
}
