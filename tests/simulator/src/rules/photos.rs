//! Rules of iCloud Photos.

use serde::{Deserialize, Serialize};

/// Rules of iCloud Photos.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct PhotosRules {
    /// The state that `CheckIndexingState` reports.
    pub indexing_state: String,
    /// The maximum number of records in one page, even if a request asks for more.
    pub page_records: usize,
    /// The maximum number of records in one `records/lookup`; a request for more gets status 400.
    pub lookup_max: usize,
    /// Whether the indexes of assets without their masters can be queried.
    pub asset_only_queries: bool,
    /// Whether sync tokens are accepted; otherwise they get `BAD_REQUEST`.
    pub accepts_tokens: bool,
    /// Every n-th page of a query comes without its records, unless it did before; 0 for none.
    pub empty_pages: u64,
    /// The error of the counts that the service's lookup of counts returns.
    pub miscount: i64,
    /// The same error of the counts of albums, in place of `miscount`.
    pub album_miscount: i64,
    /// The limit of a page of a shared album is the position at which it ends; else it is a number of records.
    pub shared_limit_is_position: bool,
    /// Whether a request without the PCS cookie of Photos, with Advanced Data Protection, gets status 423 as from
    /// Drive; else it gets `ACCESS_DENIED`.
    pub protected_is_locked: bool,
    /// The lifetime of a content URL.
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
            album_miscount: 0,
            shared_limit_is_position: true,
            protected_is_locked: false,
            url_lifetime_seconds: 3600,
        }
    }
}
