//! Switches of iCloud Drive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::drive::names::NameRule;

/// What a listing of more folders than [`DriveRules::max_batch`] gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverBatch {
    /// 400.
    Refuse,
    /// The first folder alone.
    FirstOnly,
}

/// What a listing of an id that does not exist gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingFolder {
    /// An entry with the status `ID_INVALID`.
    IdInvalid,
    /// 404 for the whole request.
    NotFound,
}

/// What `createFolders` answers for a name that is taken.
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

/// When two names in a folder are the same name. Composition (NFC, NFD) never makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameMatching {
    /// `A` and `a` are one name.
    IgnoringCase,
    /// `A` and `a` are two.
    CaseSensitive,
}

/// The only form of request that `retrieveItemDetails` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetailsForm {
    /// `{"items": […]}`, answered with such an object.
    Object,
    /// `[{"items": […]}]`, answered with an array of items.
    Array,
}

/// What `download/batch` answers for a document that has no content to download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchGap {
    /// An element without a token.
    WithoutToken,
    /// No element; those behind it move up.
    Omitted,
    /// 404 for the whole request.
    NotFound,
}

/// Switches of iCloud Drive.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct DriveRules {
    /// Folders one listing request may ask for; 0 sets no limit.
    pub max_batch: usize,
    /// What more folders than that get.
    pub over_batch: OverBatch,
    /// When two names are the same.
    pub name_matching: NameMatching,
    /// What a listing of an unknown id gets.
    pub missing_folder: MissingFolder,
    /// What the creation of a folder that exists gets.
    pub existing_folder: ExistingFolder,
    /// What a rename or a move onto a taken name does.
    pub taken_name: TakenName,
    /// A registration under a taken name gets another name even if it allows no conflict.
    pub registration_bounces: bool,
    /// `renameItems` refuses an old etag.
    pub rename_checks_etag: bool,
    /// `moveItems` refuses an old etag.
    pub move_checks_etag: bool,
    /// A folder's etag changes when a child is added, removed or changed.
    pub folder_etag_follows_children: bool,
    /// What `retrieveItemDetails` takes.
    pub details_form: DetailsForm,
    /// A file gets another name in the Trash, which it keeps when it is put back.
    pub trash_renames: bool,
    /// Items in the Trash can be downloaded.
    pub trashed_content: bool,
    /// A time of 0 in an update is no time: the document gets the present one.
    pub zero_time_is_now: bool,
    /// An empty file has an address for its content; else `by_id` answers 400.
    pub empty_content: bool,
    /// Documents that one `download/batch` may ask for; more get 400. 0 sets no limit.
    pub download_batch_max: usize,
    /// Status with which every `download/batch` is refused; 0 refuses none.
    pub download_batch_refused: u16,
    /// What `download/batch` answers for a document without content.
    pub download_batch_gap: BatchGap,
    /// Every n-th element of a `download/batch` has no token; 0 means none.
    pub download_batch_tokenless: usize,
    /// The files in the archive of a package bear the time of the download too, and every second archive has them in
    /// the opposite order.
    pub package_varies: bool,
    /// Bytes; what the trash holds counts too.
    pub quota: u64,
    /// Life of a content URL.
    pub url_lifetime_seconds: i64,
    /// Requests one content URL serves; 0 sets no limit.
    pub url_uses: u32,
    /// Status of a content URL that is over: 403, 404 or 410.
    pub spent_url_status: u16,
    /// A write that arrives while another one to the same zone is under way gets 409 `ZONE_BUSY`.
    pub zone_lock: bool,
    /// Name rules switched on or off against the table in `drive/names.rs`.
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
