//! Switches of iCloud Photos.

use serde::{Deserialize, Serialize};

/// Switches of iCloud Photos.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct PhotosRules {
    /// The state that `CheckIndexingState` reports.
    pub indexing_state: String,
    /// The most records of one page, whatever is asked for.
    pub page_records: usize,
    /// The most records of one `records/lookup`; more get 400.
    pub lookup_max: usize,
    /// The indexes of assets without their masters can be queried.
    pub asset_only_queries: bool,
    /// Sync tokens are accepted; else they get `BAD_REQUEST`.
    pub accepts_tokens: bool,
    /// How often a page of a query comes without its records: every n-th; 0 means never.
    pub empty_pages: u64,
    /// What the counts are off by, in the service's own lookup of counts.
    pub miscount: i64,
    /// The limit of a page of a shared album is the position at which it ends; else it is a number of records.
    pub shared_limit_is_position: bool,
    /// Life of the URL of a content, in seconds.
    pub url_lifetime_seconds: i64,
}

impl Default for PhotosRules {
    fn default() -> Self {
        Self {
            indexing_state: String::from("FINISHED"),
            page_records: 200,
            lookup_max: 200,
            asset_only_queries: true,
            accepts_tokens: true,
            empty_pages: 0,
            miscount: 0,
            shared_limit_is_position: true,
            url_lifetime_seconds: 3600,
        }
    }
}
