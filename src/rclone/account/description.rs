//! The stored state of a session.

use serde::Deserialize;

use crate::rclone::{Cause, Collection};

/// The stored state of a session, which is read without a request to Apple.
#[derive(Debug, Clone, Deserialize)]
pub struct Description {
    /// The domain of the account's iCloud, `icloud.com` or `icloud.com.cn`.
    pub domain: String,
    /// Whether there is a trust token.
    pub has_trust: bool,
    /// Whether there are cookies of a session, valid or not.
    pub has_cookies: bool,
    /// When a code was last entered, RFC 3339.
    pub trusted_at: Option<String>,
    /// When Apple is expected to ask for a code again, RFC 3339.
    pub trust_until: Option<String>,
    /// The seconds until then: 0 if the time has passed, none if it is unknown.
    pub trust_left: Option<u64>,
    /// When the cookies were last renewed, RFC 3339.
    pub renewed_at: Option<String>,
    /// The number of sign-ins with the current trust.
    pub sign_ins: u64,
    /// Whether Advanced Data Protection is on.
    pub protected: bool,
    /// When the access to protected data ends, which a device has approved, RFC 3339.
    pub consent_until: Option<String>,
    /// Whether the session has had access to the photo library with Advanced Data Protection.
    pub photos_approved: bool,
    /// Whether a person has to sign in.
    pub needs_login: bool,
    /// The reason, as text.
    #[serde(default)]
    pub reason: String,
    cause: Option<Cause>,
    /// Until when a sign-in waits for its code, RFC 3339.
    #[serde(rename = "waits_till")]
    pub waits_until: Option<String>,
    /// The photo libraries, if a backup or a scan has listed them.
    pub photos: Option<Photos>,
}

/// What the last backup or scan of the photo libraries has counted.
#[derive(Debug, Clone, Deserialize)]
pub struct Photos {
    /// When, RFC 3339.
    pub counted: String,
    /// The libraries.
    pub collections: Vec<Collection>,
}

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

impl Description {
    /// Returns why a person has to sign in.
    pub fn cause(&self) -> Cause {
        self.cause.unwrap_or(Cause::SessionOver)
    }

    /// Returns the days of trust left, rounded up, or none if they are unknown.
    pub fn days_left(&self) -> Option<u64> {
        self.trust_left.map(|left| left.div_ceil(DAY))
    }

    /// Reports whether the trust is known to end within this many days.
    pub fn ends_within(&self, days: u64) -> bool {
        self.trust_left.is_some_and(|left| left < days.saturating_mul(DAY))
    }
}
