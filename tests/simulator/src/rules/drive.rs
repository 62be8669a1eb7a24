//! Rules of iCloud Drive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::drive::names::NameRule;

/// The response to a listing of more folders than [`DriveRules::max_batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverBatch {
    /// Status 400.
    Refuse,
    /// Only the first folder.
    FirstOnly,
}

/// The response to a listing of an id that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingFolder {
    /// An entry with the status `ID_INVALID`.
    IdInvalid,
    /// Status 404 for the whole request.
    NotFound,
}

/// The result of `createFolders` for a name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExistingFolder {
    /// The status `UNKNOWN` and no item.
    Unknown,
    /// The status `ALREADY_EXISTS` and no item.
    AlreadyExists,
    /// A new folder `name 2`.
    Bounce,
}

/// What a rename or a move onto a taken name does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakenName {
    /// The item becomes `name 2`.
    Bounce,
    /// The status `ALREADY_EXISTS`; the item stays as it was.
    Refuse,
}

/// Which names in a folder count as equal. Names that differ only in their composition (NFC, NFD)
/// always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameMatching {
    /// `A` and `a` are equal.
    IgnoringCase,
    /// `A` and `a` are different.
    CaseSensitive,
}

/// The only form of request that `retrieveItemDetails` accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetailsForm {
    /// `{"items": […]}`; the response is an object like this too.
    Object,
    /// `[{"items": […]}]`; the response is an array of items.
    Array,
}

/// The result of `download/batch` for a document that has no content to download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchGap {
    /// An element without a token.
    WithoutToken,
    /// No element; the elements after it move up.
    Omitted,
    /// Status 404 for the whole request.
    NotFound,
}

/// Rules of iCloud Drive.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct DriveRules {
    /// The maximum number of folders in one listing request; 0 for no limit.
    pub max_batch: usize,
    /// The response to a request for more folders.
    pub over_batch: OverBatch,
    /// Which names count as equal.
    pub name_matching: NameMatching,
    /// The response to a listing of an unknown id.
    pub missing_folder: MissingFolder,
    /// The result of the creation of a folder that exists.
    pub existing_folder: ExistingFolder,
    /// What a rename or a move onto a taken name does.
    pub taken_name: TakenName,
    /// Whether a registration under a taken name gets another name even if it allows no conflict.
    pub registration_bounces: bool,
    /// Whether `renameItems` refuses an outdated etag.
    pub rename_checks_etag: bool,
    /// Whether `moveItems` refuses an outdated etag.
    pub move_checks_etag: bool,
    /// Whether a folder's etag changes when a child is added, removed or changed.
    pub folder_etag_follows_children: bool,
    /// The form of request that `retrieveItemDetails` accepts.
    pub details_form: DetailsForm,
    /// Whether a file gets another name in the Trash, which it keeps when it is put back.
    pub trash_renames: bool,
    /// Whether items in the Trash can be downloaded.
    pub trashed_content: bool,
    /// Whether a time of 0 in an update counts as missing: the document gets the current time.
    pub zero_time_is_now: bool,
    /// Whether an empty file has a content URL; otherwise `by_id` gets status 400.
    pub empty_content: bool,
    /// Whether the signature of a content URL is the published checksum of the content; otherwise it is another value of
    /// the same form.
    pub published_checksums: bool,
    /// The maximum number of documents in one `download/batch`; a request for more gets status 400.
    /// 0 for no limit.
    pub download_batch_max: usize,
    /// The status with which every `download/batch` is refused; 0 refuses none.
    pub download_batch_refused: u16,
    /// The result of `download/batch` for a document without content.
    pub download_batch_gap: BatchGap,
    /// Every n-th element of a `download/batch` has no token; 0 for none.
    pub download_batch_tokenless: usize,
    /// Whether the files in the archive of a package have the time of the download too, and every
    /// second archive has them in the opposite order.
    pub package_varies: bool,
    /// The maximum size of all items, including those in the Trash, in bytes.
    pub quota: u64,
    /// The lifetime of a content URL.
    pub url_lifetime_seconds: i64,
    /// The number of requests that a content URL serves; 0 for no limit.
    pub url_uses: u32,
    /// The status of the response to a content URL that has expired: 403, 404 or 410.
    pub spent_url_status: u16,
    /// Whether a write that arrives during another write to the same zone gets 409 `ZONE_BUSY`.
    pub zone_lock: bool,
    /// Name rules that are switched on or off, contrary to the table in `drive/names.rs`.
    pub refuse_names: BTreeMap<NameRule, bool>,
}

impl Default for DriveRules {
    fn default() -> Self {
        Self {
            max_batch: 0,
            over_batch: OverBatch::Refuse,
            name_matching: NameMatching::CaseSensitive,
            missing_folder: MissingFolder::IdInvalid,
            existing_folder: ExistingFolder::Unknown,
            taken_name: TakenName::Bounce,
            registration_bounces: false,
            rename_checks_etag: false,
            move_checks_etag: true,
            folder_etag_follows_children: true,
            details_form: DetailsForm::Object,
            trash_renames: false,
            trashed_content: true,
            zero_time_is_now: true,
            empty_content: true,
            published_checksums: true,
            download_batch_max: 0,
            download_batch_refused: 0,
            download_batch_gap: BatchGap::WithoutToken,
            download_batch_tokenless: 0,
            package_varies: false,
            quota: 5 * 1024 * 1024 * 1024,
            url_lifetime_seconds: 3600,
            url_uses: 0,
            spent_url_status: 410,
            zone_lock: false,
            refuse_names: BTreeMap::new(),
        }
    }
}
