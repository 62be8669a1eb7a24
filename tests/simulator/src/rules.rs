//! The rules of the simulated service that a test can change. `RULES.md` lists every rule with its
//! source, or marks it as a guess.

mod account;
mod drive;
mod photos;

use serde::{Deserialize, Serialize};

pub use account::{AccountRules, CodeAnswer, SrpProtocol, TrustedPhone};
pub use drive::{BatchGap, DetailsForm, DriveRules, ExistingFolder, MissingFolder, NameMatching, OverBatch, TakenName};
pub use photos::PhotosRules;

/// All rules; a test can change them at any time through [`crate::Simulator::rules`] or `POST
/// /control/rules`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Connections.
    pub transport: TransportRules,
    /// Sign-in and the account.
    pub account: AccountRules,
    /// Web sessions and trust.
    pub session: SessionRules,
    /// iCloud Drive.
    pub drive: DriveRules,
    /// iCloud Photos.
    pub photos: PhotosRules,
}

/// The latency of responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatencyProfile {
    /// [`TransportRules::latency_ms`] for every response.
    #[default]
    Flat,
    /// The latencies that were measured at Apple's service, which depend on the kind of request.
    Measured,
}

/// Rules of connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct TransportRules {
    /// The latency of responses.
    pub latency_profile: LatencyProfile,
    /// The latency of every response in the flat profile, in milliseconds.
    pub latency_ms: u64,
    /// A factor for the latencies of the measured profile.
    pub latency_scale: f64,
    /// The rate of all content downloads together, in bytes per second; 0 for no limit.
    pub content_rate: u64,
    /// The rate of the content downloads of each TCP connection, in bytes per second; 0 for no
    /// limit.
    pub content_rate_per_connection: u64,
    /// Limits on the number of requests.
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

/// Limits on the number of requests to the hosts of Drive other than the content hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ThrottleRules {
    /// The number of requests per second that pass; 0 for no limit.
    pub calls_per_second: u32,
    /// The number of requests that pass at once after a pause.
    pub burst: u32,
    /// The status of a refusal: 429 or 503.
    pub status: u16,
    /// The time after a refusal during which every request is refused, in milliseconds.
    pub penalty_ms: u64,
    /// The `Retry-After` of a refusal.
    pub retry_after_seconds: Option<u32>,
}

impl Default for ThrottleRules {
    fn default() -> Self {
        Self { calls_per_second: 0, burst: 30, status: 429, penalty_ms: 0, retry_after_seconds: None }
    }
}

/// Rules of web sessions and trust.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionRules {
    /// The lifetime of a web session.
    pub lifetime_seconds: i64,
    /// The lifetime of a trust token.
    pub trust_lifetime_seconds: i64,
    /// The status of the response to a data request whose session has expired: 421, 401 or 423.
    pub ended_status: u16,
    /// The number of data requests after which a session ends; 0 for no limit.
    pub requests: u64,
}

impl Default for SessionRules {
    fn default() -> Self {
        Self { lifetime_seconds: 24 * 3600, trust_lifetime_seconds: 30 * 24 * 3600, ended_status: 421, requests: 0 }
    }
}
