//! The result of a run as a document, in a file of the user and in the state folder.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Destinations, Summary, counted};
use crate::{message, rclone::Rclone};

/// The version of the document that is written.
const VERSION: u32 = 1;

/// The maximum number of causes in the document.
const MAX_CAUSES: usize = 20;

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A backup of a drive.
    Backup,
    /// A restore into a drive.
    Restore,
    /// A command that writes to a store.
    Store,
}

impl Kind {
    /// Returns the name, as in the document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Store => "store",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing failed.
    Complete,
    /// The result lacks items.
    Partial,
    /// There is no result.
    Failed,
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    version: u32,
    /// What the run did.
    pub kind: Kind,
    /// How it ended.
    pub result: Outcome,
    /// Why there is no result.
    #[serde(default)]
    pub reason: Option<String>,
    /// The name of the account, or the Apple ID or server.
    pub account: String,
    /// The folder or file that the location names.
    pub location: String,
    /// When the run began, in the format of RFC 3339.
    pub began: String,
    /// When it ended, in the same format.
    pub ended: String,
    /// How long it took.
    pub seconds: f64,
    /// The number of requests to the service, if they are counted.
    #[serde(default)]
    pub requests: Option<u64>,
    /// The number of times that the run waited before it repeated a request.
    #[serde(default)]
    pub waits: Option<u64>,
    /// How long it waited in total.
    #[serde(default)]
    pub waited_seconds: Option<f64>,
    /// What happened to its items.
    #[serde(flatten)]
    pub summary: Summary,
}

impl Run {
    /// Returns the document of a run that ends now. `reason` is why it has no result.
    pub(super) fn new(
        kind: Kind,
        to: &Destinations,
        began: SystemTime,
        summary: &Summary,
        reason: Option<&str>,
    ) -> Self {
        let now = SystemTime::now();
        let traffic = Rclone::traffic();
        let summary = Summary { causes: most_frequent(&summary.causes), ..summary.clone() };
        Self {
            version: VERSION,
            kind,
            result: match reason {
                Some(_) => Outcome::Failed,
                None if summary.failed > 0 => Outcome::Partial,
                None => Outcome::Complete,
            },
            reason: reason.map(printable),
            account: to.account.clone(),
            location: to.location.clone(),
            began: rfc3339(began),
            ended: rfc3339(now),
            seconds: rounded(now.duration_since(began).unwrap_or_default()),
            requests: traffic.map(|traffic| traffic.requests),
            waits: traffic.map(|traffic| traffic.waits),
            waited_seconds: traffic.map(|traffic| rounded(traffic.waited)),
            summary,
        }
    }

    /// Parses a document. Returns none if it is malformed or of a later version.
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(text).ok().filter(|run| run.version <= VERSION)
    }

    /// Returns the document as JSON.
    pub(super) fn to_json(&self) -> String {
        // Numbers and strings only, so this cannot fail.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        message::printable_json(&text).into_owned() + "\n"
    }

    /// Returns the time that the run took, and its requests if they are counted.
    pub fn effort(&self) -> String {
        let mut text = String::new();
        if let Some(requests) = self.requests {
            text += &format!("{} in ", counted(requests, "request"));
        }
        text += &format!("{} s", self.seconds);
        if let (Some(waits @ 1..), Some(waited)) = (self.waits, self.waited_seconds) {
            text += &format!(", {} of {waited} s in total", counted(waits, "wait"));
        }
        text
    }
}

/// Returns the most frequent causes, and the number of all others. The document must stay small, and
/// causes can contain numbers and names.
fn most_frequent(causes: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut sorted: Vec<(&String, u64)> = causes.iter().map(|(cause, &count)| (cause, count)).collect();
    sorted.sort_by_key(|&(_, count)| Reverse(count));
    let others: u64 = sorted.iter().skip(MAX_CAUSES).map(|&(_, count)| count).sum();
    let mut kept: BTreeMap<String, u64> =
        sorted.iter().take(MAX_CAUSES).map(|&(cause, count)| (printable(cause), count)).collect();
    if others > 0 {
        kept.insert("other causes".to_owned(), others);
    }
    kept
}

/// Redacts and escapes a text, which may contain names of files.
fn printable(text: impl AsRef<str>) -> String {
    message::printable(text.as_ref()).into_owned()
}

fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}

/// Returns seconds with one decimal place.
fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}
