//! Failures of rclone, of a kind that a program can act on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret;

/// What went wrong, by what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// No such file or folder.
    NotFound,
    /// The name is taken.
    Exists,
    /// A folder that was to be removed has something in it.
    NotEmpty,
    /// The account or key may not do this.
    Denied,
    /// Somebody has to sign in.
    NeedsLogin,
    /// No room left.
    Quota,
    /// The service asks for fewer requests.
    Throttled,
    /// The service was not reached or the connection broke.
    Network,
    /// Content arrived incomplete or otherwise than announced.
    Damaged,
    /// The item is no longer what the listing said.
    Changed,
    /// The configuration cannot work.
    BadConfig,
    /// The backend cannot do this.
    Unsupported,
    /// The service does not take this name.
    RefusedName,
    /// The caller gave up.
    Cancelled,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// What is wrong with an account or the way to it, where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Nobody has signed in.
    NotSignedIn,
    /// No sign-in waits for a code, or it waited too long.
    NoChallenge,
    /// The session is over and cannot be renewed.
    SessionOver,
    /// Apple no longer trusts this device and wants a code.
    TrustOver,
    /// The password was turned down.
    WrongPassword,
    /// The session is over and no password is stored to begin another.
    NoPassword,
    /// Proofs of the password were sent whose outcome is not known.
    SignInUnclear,
    /// An app-specific password, which iCloud Drive does not take.
    AppSpecificPassword,
    /// The account is locked.
    Locked,
    /// Advanced Data Protection waits for an approval on a device.
    AdpNotApproved,
    /// Access to iCloud data on the web is off.
    WebAccessOff,
    /// Changed terms have to be accepted.
    TermsPending,
    /// The second factor is a security key.
    SecurityKeys,
    /// An account of mainland China, whose iCloud is another service.
    MainlandChina,
    /// Apple asks to come back later.
    Throttled,
    /// Apple's service itself is in trouble.
    ServiceTrouble,
    /// Apple's hosts are not reached.
    NoNetwork,
    /// The proxy does not work.
    Proxy,
    /// A certificate is not accepted.
    Certificate,
    /// This machine's clock is wrong.
    Clock,
    /// The code is not the right one.
    WrongCode,
    /// Too many wrong codes.
    TooManyCodes,
    /// The state folder cannot be used.
    StateFolder,
    /// The file of the session cannot be used.
    SessionFile,
    /// plakar is of a version that this program does not go with.
    PlakarVersion,
    /// The account has no iCloud Drive.
    NoDrive,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// A failed operation. The text holds no secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// What can be done about it.
    pub kind: Kind,
    /// Finer than the kind, where the backend tells it.
    pub cause: Option<Cause>,
    /// For a person, one line.
    pub text: String,
    /// Whether the same call may succeed later.
    pub retry: bool,
    /// Whether the backend says that no other operation can succeed either.
    pub fatal: bool,
    /// How long the service asked to wait before that.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An error that arises on this side.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, cause: None, text: text.into(), retry: false, fatal: false, retry_after: None }
    }

    /// Reports whether the error may come from a service that is gone, or gone for
    /// this account, and not from the item.
    pub fn may_be_outage(&self) -> bool {
        let is_passing_elsewhere = self.kind == Kind::Other && self.retry;
        self.fatal || is_passing_elsewhere || matches!(self.kind, Kind::Network | Kind::Throttled | Kind::NeedsLogin)
    }

    /// A failure of ours or of rclone that should not happen.
    pub fn unexpected(text: impl Into<String>) -> Self {
        Self::new(Kind::Other, text)
    }
}

/// How the Go side writes a failure (`remote.Failure`).
#[derive(Deserialize)]
pub struct Failure {
    kind: Kind,
    cause: Option<Cause>,
    text: String,
    #[serde(default)]
    retry: bool,
    #[serde(default)]
    fatal: bool,
    #[serde(default)]
    retry_after_ms: u64,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let one_line = failure.text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            kind: failure.kind,
            cause: failure.cause,
            text: secret::redact(&one_line).into_owned(),
            retry: failure.retry,
            fatal: failure.fatal,
            retry_after: (failure.retry_after_ms > 0).then(|| Duration::from_millis(failure.retry_after_ms)),
        }
    }
}

/// How rclone answers a call that it could not make. Its other members echo the
/// input, passwords included, and are not read.
#[derive(Deserialize)]
pub struct RefusedCall {
    error: String,
}

impl From<RefusedCall> for Error {
    fn from(call: RefusedCall) -> Self {
        let first_line = call.error.lines().next().unwrap_or_default();
        Self::unexpected(secret::redact(first_line).into_owned())
    }
}
