//! Errors of rclone, with a kind that a program can act on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret;

/// The kind of an error, by what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The file or folder does not exist.
    NotFound,
    /// The name is in use.
    Exists,
    /// The folder to be removed is not empty.
    NotEmpty,
    /// The account or key lacks the permission.
    Denied,
    /// A person has to sign in.
    NeedsLogin,
    /// The storage is full.
    Quota,
    /// The service limits the number of requests.
    Throttled,
    /// The service was not reached, or the connection broke.
    Network,
    /// The received content is incomplete or not as announced.
    Damaged,
    /// The item has changed since it was listed.
    Changed,
    /// The configuration is invalid.
    BadConfig,
    /// The backend does not support the operation.
    Unsupported,
    /// The service does not accept the name.
    RefusedName,
    /// The service does not store the archive as a package.
    RefusedPackage,
    /// The caller cancelled the operation.
    Cancelled,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// What is wrong with an account or the connection to it, if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(strum::VariantArray))]
pub enum Cause {
    /// Not signed in.
    NotSignedIn,
    /// No sign-in is waiting for a code, or it has waited too long.
    NoChallenge,
    /// The session has ended and cannot be renewed.
    SessionOver,
    /// Apple no longer trusts this device and requires a code.
    TrustOver,
    /// The password was rejected.
    WrongPassword,
    /// The session has ended, and there is no password for a new one.
    NoPassword,
    /// Proofs of the password were sent whose outcome is unknown.
    SignInUnclear,
    /// The password is an app-specific one, which iCloud Drive does not accept.
    AppSpecificPassword,
    /// The account is locked.
    Locked,
    /// Advanced Data Protection requires an approval on a device.
    AdpNotApproved,
    /// Access to iCloud data on the web is off.
    WebAccessOff,
    /// Changed terms have to be accepted.
    TermsPending,
    /// The second factor is a security key.
    SecurityKeys,
    /// The account belongs to the other domain of iCloud, at which a person has to sign in.
    OtherDomain,
    /// Apple refers the account to a domain that cannot be used.
    UnknownDomain,
    /// Apple limits the number of requests.
    Throttled,
    /// Apple's service has a failure.
    ServiceTrouble,
    /// Apple's hosts cannot be reached.
    NoNetwork,
    /// The proxy does not work.
    Proxy,
    /// A certificate is not accepted.
    Certificate,
    /// The clock of this machine is wrong.
    Clock,
    /// The code is wrong.
    WrongCode,
    /// Too many wrong codes were entered.
    TooManyCodes,
    /// The state folder cannot be used.
    StateFolder,
    /// The session file cannot be used.
    SessionFile,
    /// The version of plakar is not supported.
    PlakarVersion,
    /// The account has no iCloud Drive.
    NoDrive,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// A failed operation. Its text contains no secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// What can be done about it.
    pub kind: Kind,
    /// The cause, more specific than the kind, if the backend reports it.
    pub cause: Option<Cause>,
    /// The message for a person, on one line.
    pub text: String,
    /// Whether the same call may succeed later.
    pub retry: bool,
    /// Whether content that was read before is damaged, so that it cannot be continued.
    pub start_over: bool,
    /// Whether the backend reports that no other operation can succeed either.
    pub fatal: bool,
    /// How long the service asked to wait before a retry.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// Returns an error that arises in this program.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, cause: None, text: text.into(), retry: false, start_over: false, fatal: false, retry_after: None }
    }

    /// Reports whether the cause may be an outage of the service, in general or for this account,
    /// rather than the item.
    pub fn may_be_outage(&self) -> bool {
        let is_temporary = self.kind == Kind::Other && self.retry;
        self.fatal || is_temporary || matches!(self.kind, Kind::Network | Kind::Throttled | Kind::NeedsLogin)
    }

    /// Returns the error for a bug in this program or in rclone.
    pub fn unexpected(text: impl Into<String>) -> Self {
        Self::new(Kind::Other, text)
    }
}

/// A failure as the Go side writes it (`remote.Failure`).
#[derive(Deserialize)]
pub struct Failure {
    kind: Kind,
    cause: Option<Cause>,
    text: String,
    #[serde(default)]
    retry: bool,
    #[serde(default)]
    start_over: bool,
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
            start_over: failure.start_over,
            fatal: failure.fatal,
            retry_after: (failure.retry_after_ms > 0).then(|| Duration::from_millis(failure.retry_after_ms)),
        }
    }
}

/// rclone's response to a call that it could not make. Its other members echo the input, including
/// passwords, and are not read.
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
