//! What can be switched in the simulated service. Every rule is listed in `RULES.md` with its source, or as a guess.

mod account;
mod drive;

use serde::{Deserialize, Serialize};

pub use account::{AccountRules, CodeAnswer, SrpProtocol, TrustedPhone};
pub use drive::{BatchGap, DetailsForm, DriveRules, ExistingFolder, MissingFolder, NameMatching, OverBatch, TakenName};

/// All switches; a test changes them at any moment through [`crate::Simulator::rules`] or `POST /control/rules`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// The wire.
    pub transport: TransportRules,
    /// Sign-in and what the account is like.
    pub account: AccountRules,
    /// Web sessions and trust.
    pub session: SessionRules,
    /// iCloud Drive.
    pub drive: DriveRules,
}

/// Switches of the wire.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TransportRules {
    /// Added to every answer, in milliseconds.
    pub latency_ms: u64,
    /// Rate of all content downloads together, in bytes per second; 0 sets no limit.
    pub content_rate: u64,
}

/// Switches of web sessions and trust.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionRules {
    /// Life of a web session.
    pub lifetime_seconds: i64,
    /// Life of a trust token.
    pub trust_lifetime_seconds: i64,
    /// Status of a data request whose session has run out: 421, 401 or 423.
    pub ended_status: u16,
    /// Data requests after which each session ends by itself; 0 never.
    pub requests: u64,
}

impl Default for SessionRules {
    fn default() -> Self {
        Self { lifetime_seconds: 24 * 3600, trust_lifetime_seconds: 30 * 24 * 3600, ended_status: 421, requests: 0 }
    }
}
