//! Sign-ins and sessions of Apple Accounts through rclone.
//!
//! The Go side (package session) owns the session file. This module only passes its path.

mod description;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Cause, Error, Rclone,
    call::{call, call_plain},
    methods::{Method, Nothing, method},
};
use crate::secret;

pub use description::Description;

/// The backend whose configuration signs in.
const BACKEND: &str = "icloud";

/// The Apple ID to sign in with, and its session file.
#[derive(Debug, Clone, Serialize)]
pub struct Identity {
    /// The Apple ID.
    pub apple_id: String,
    /// The client id. An empty one stands for that of icloud.com.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    /// The path of the session file, in UTF-8.
    pub session_file: String,
}

/// What a sign-in needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A code, or another way to get one.
    Code(Question),
    /// The approval of the access on a device of the account.
    Approval,
    /// Nothing, because the session is stored.
    Done,
    /// Nothing, because the sign-in has failed.
    Stopped {
        /// The cause.
        cause: Cause,
        /// Apple's message, on one line.
        text: String,
        /// The wait that Apple requested, in seconds.
        retry_after: Option<u64>,
    },
}

impl Step {
    /// Returns a failure that arises in this program.
    pub fn stopped(cause: Cause, text: &str) -> Self {
        Self::Stopped { cause, text: text.to_owned(), retry_after: None }
    }
}

/// The source of the password of a sign-in.
#[derive(Clone, Copy)]
pub enum Password<'a> {
    /// The password itself.
    Typed(&'a str),
    /// A shell command that prints the password.
    Command(&'a str),
}

/// The question for a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What was wrong with the previous answer, or with the delivery of the code.
    pub problem: Option<String>,
    /// How the code is delivered.
    pub delivery: String,
    /// The alternatives to a code: the word to answer, and what it does.
    pub alternatives: Vec<(String, String)>,
}

/// rclone's `fs.ConfigOut`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ConfigOut {
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
                problem: (!out.error.is_empty()).then_some(out.error),
                delivery: option.help,
                alternatives: option
                    .examples
                    .unwrap_or_default()
                    .into_iter()
                    .map(|example| (example.value, example.help))
                    .collect(),
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

/// The result of a check that Apple's hosts can be reached.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Reached {
    /// The time for all hosts, in milliseconds.
    pub milliseconds: u64,
    /// The seconds by which this machine's clock is ahead of Apple's.
    pub clock_ahead: Option<i64>,
}

/// What iCloud reports about an account.
#[derive(Debug, Clone, Deserialize)]
pub struct Available {
    /// "alive", or the cause for which the session is not alive.
    pub session: String,
    /// The state of each service by name: "active", "none" or another value of Apple's.
    pub services: BTreeMap<String, String>,
    /// Whether the owner of the account has to accept changed terms.
    pub terms_pending: bool,
    /// Whether Advanced Data Protection is on.
    pub protected: bool,
    /// Whether access to iCloud data on the web is off.
    pub web_access_off: bool,
}

/// A session in the form of rclone's backend iclouddrive. All of it is secret.
#[derive(Clone, Deserialize)]
pub struct Exported {
    /// The token with which a sign-in needs no code.
    pub trust_token: String,
    /// The cookies in the form of a `Cookie` header.
    pub cookies: String,
}

/// Returns the state of a session, without the network.
#[derive(Serialize)]
struct Describe {
    session_file: PathBuf,
}
method!("account/describe", Describe, Description);

/// Stores a session that was created in rclone.
#[derive(Serialize)]
struct Adopt {
    #[serde(flatten)]
    identity: Identity,
    trust_token: String,
    cookies: String,
}
method!("account/adopt", Adopt, Nothing);

/// Returns a session as rclone's backend iclouddrive stores it.
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

/// Checks that Apple's hosts can be reached, without signing in.
#[derive(Serialize)]
struct Reach {
    session_file: PathBuf,
}
method!("account/reach", Reach, Reached);

/// Asks iCloud which services an account may use.
#[derive(Serialize)]
struct Services {
    session_file: PathBuf,
}
method!("account/services", Services, Available);

impl Rclone {
    /// Begins a sign-in: proves the password once and has a code sent. `via` is how the code is
    /// sent: empty for Apple's choice, or "sms" or "voice" and the index of a phone in the list.
    ///
    /// # Errors
    /// Fails if the call cannot be made. A refusal by Apple is a [`Step::Stopped`].
    pub async fn sign_in(
        self,
        name: &str,
        identity: &Identity,
        password: Password<'_>,
        via: &str,
    ) -> Result<Step, Error> {
        let options = Options { non_interactive: true, obscure: true, result: via, ..Options::default() };
        self.configure(name, identity, Some(password), options).await
    }

    /// Continues a sign-in, even one that another process began. The answer is a code or one of the
    /// question's alternatives. An empty answer asks again.
    ///
    /// # Errors
    /// Fails as [`Self::sign_in`] does.
    pub async fn answer_code(self, name: &str, identity: &Identity, answer: &str) -> Result<Step, Error> {
        let options = Options { non_interactive: true, state: "code", result: answer, ..Options::default() };
        self.configure(name, identity, None, options).await
    }

    /// Checks whether the access was approved on a device.
    ///
    /// # Errors
    /// Fails as [`Self::sign_in`] does.
    pub async fn check_approval(self, name: &str, identity: &Identity) -> Result<Step, Error> {
        let options = Options { non_interactive: true, state: "approve", ..Options::default() };
        self.configure(name, identity, None, options).await
    }

    async fn configure(
        self,
        name: &str,
        identity: &Identity,
        password: Option<Password<'_>>,
        opt: Options<'_>,
    ) -> Result<Step, Error> {
        let mut parameters = BTreeMap::from([
            ("apple_id", identity.apple_id.as_str()),
            ("session_file", identity.session_file.as_str()),
        ]);
        if !identity.client_id.is_empty() {
            parameters.insert("client_id", &identity.client_id);
        }
        match password {
            Some(Password::Typed(password)) => parameters.insert("password", password),
            Some(Password::Command(command)) => parameters.insert("password_command", command),
            None => None,
        };
        // "continue" is not set, because it requires a section that this process created. The state
        // of the sign-in is in the file beside the session.
        let out: ConfigOut =
            call_plain("config/create", &Configure { name, backend: BACKEND, parameters, opt }).await?;
        Ok(out.into())
    }

    /// Obscures a password as rclone does, which protects it only from a casual look.
    ///
    /// # Errors
    /// Fails if the password contains a NUL.
    pub async fn obscure(self, password: &str) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Obscured {
            obscured: String,
        }
        let Obscured { obscured } = call_plain("core/obscure", &BTreeMap::from([("clear", password)])).await?;
        Ok(obscured)
    }

    /// Returns the version of rclone in this program.
    ///
    /// # Errors
    /// Fails if rclone does not report it.
    pub async fn version(self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        let Version { version } = call_plain("core/version", &BTreeMap::<&str, &str>::new()).await?;
        Ok(version)
    }

    /// Returns the state of a session. Uses no network.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub async fn describe(self, session_file: &Path) -> Result<Description, Error> {
        call(Describe { session_file: session_file.to_owned() }).await
    }

    /// Stores a session that was created in rclone.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub async fn adopt(self, identity: &Identity, trust_token: &str, cookies: &str) -> Result<(), Error> {
        let request =
            Adopt { identity: identity.clone(), trust_token: trust_token.to_owned(), cookies: cookies.to_owned() };
        call(request).await.map(|Nothing {}| ())
    }

    /// Returns the secrets of a session.
    ///
    /// # Errors
    /// Fails if there is no session.
    pub async fn export(self, session_file: &Path) -> Result<Exported, Error> {
        call(Export { session_file: session_file.to_owned() }).await
    }

    /// Removes a session.
    ///
    /// # Errors
    /// Fails if its file cannot be removed.
    pub async fn forget(self, session_file: &Path) -> Result<(), Error> {
        call(Forget { session_file: session_file.to_owned() }).await.map(|Nothing {}| ())
    }

    /// Checks that Apple's hosts respond, without signing in. The hosts are those of the domain of a
    /// session, if the file exists.
    ///
    /// # Errors
    /// Fails with the cause: the network, the proxy or a certificate.
    pub async fn reach(self, session_file: &Path) -> Result<Reached, Error> {
        call(Reach { session_file: session_file.to_owned() }).await
    }

    /// Asks iCloud about an account, with the session as it is.
    ///
    /// # Errors
    /// Fails if there is no session or iCloud does not respond.
    pub async fn services(self, session_file: &Path) -> Result<Available, Error> {
        call(Services { session_file: session_file.to_owned() }).await
    }
}
