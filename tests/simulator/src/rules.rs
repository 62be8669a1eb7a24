//! What can be switched in the simulated service. Every rule is listed in `RULES.md` with its source, or as a guess.

mod account;
mod drive;
mod photos;

use serde::{Deserialize, Serialize};

pub use account::{AccountRules, CodeAnswer, SrpProtocol, TrustedPhone};
pub use drive::{BatchGap, DetailsForm, DriveRules, ExistingFolder, MissingFolder, NameMatching, OverBatch, TakenName};
pub use photos::PhotosRules;

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
    /// iCloud Photos.
    pub photos: PhotosRules,
}

/// How long answers take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatencyProfile {
    /// [`TransportRules::latency_ms`] for every answer.
    #[default]
    Flat,
    /// By the kind of request, as Apple's service was measured.
    Measured,
}

/// Switches of the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct TransportRules {
    /// How long answers take.
    pub latency_profile: LatencyProfile,
    /// Milliseconds of each answer in the flat profile.
    pub latency_ms: u64,
    /// Factor on the times of the measured profile.
    pub latency_scale: f64,
    /// Rate of all content downloads together, in bytes per second; 0 sets no limit.
    pub content_rate: u64,
    /// Rate of the content downloads of one TCP connection, in bytes per second; 0 sets no limit.
    pub content_rate_per_connection: u64,
    /// Limits on the number of calls.
    pub throttle: ThrottleRules,
}

impl Default for TransportRules {
    fn default() -> Self {
        Self {
            latency_profile: LatencyProfile::Flat,
            latency_ms: 0,
            latency_scale: 1.0,
            content_rate: 0,
            content_rate_per_connection: 0,
            throttle: ThrottleRules::default(),
        }
    }
}

/// Limits on the number of calls to the hosts of Drive, content hosts apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ThrottleRules {
    /// Calls a second that are let pass; 0 sets no limit.
    pub calls_per_second: u32,
    /// Calls that are let pass at once after a rest.
    pub burst: u32,
    /// Status of the refusals: 429 or 503.
    pub status: u16,
    /// After a refusal, everything is refused for so long.
    pub penalty_ms: u64,
    /// The `Retry-After` of the refusals.
    pub retry_after_seconds: Option<u32>,
}

impl Default for ThrottleRules {
    fn default() -> Self {
        Self { calls_per_second: 0, burst: 30, status: 429, penalty_ms: 0, retry_after_seconds: None }
    }
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
