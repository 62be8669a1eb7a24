//! What can be switched in the simulated service. Every rule is listed in `RULES.md` with its source, or as a guess.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::drive::names::NameRule;

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

/// The SRP password derivation that the server asks the client for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SrpProtocol {
    /// PBKDF2 of the password's SHA-256.
    #[serde(rename = "s2k")]
    S2k,
    /// PBKDF2 of the password's SHA-256 in hexadecimal.
    #[serde(rename = "s2k_fo")]
    S2kFo,
}

impl SrpProtocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::S2k => "s2k",
            Self::S2kFo => "s2k_fo",
        }
    }
}

/// How the service answers a right code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodeAnswer {
    /// 204 with a session token.
    NoContent,
    /// 409 with `valid: true` and a session token.
    ConflictWithToken,
    /// 409 with `valid: true` and no session token.
    ConflictWithoutToken,
    /// 412 with `valid: true` and no session token.
    PreconditionFailed,
}

/// A phone that can be sent a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedPhone {
    /// What the client names the phone by.
    pub id: i64,
    /// As shown to the user, partly hidden.
    pub number: String,
    /// `sms` or `voice`.
    pub mode: String,
}

/// Switches of sign-in and of the account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountRules {
    /// Compared without regard to case.
    pub apple_id: String,
    /// The one right password.
    pub password: String,
    /// The code that trusted devices show.
    pub code: String,
    /// The code that phones receive.
    pub sms_code: String,
    /// The password derivation that is asked for.
    pub protocol: SrpProtocol,
    /// PBKDF2 iterations. Apple uses about 20,000; a test needs few.
    pub iterations: u32,
    /// Whether sign-in needs a code or a trust token.
    pub two_factor: bool,
    /// Sign-in answers 412 until `repair/complete` was called.
    pub repair_required: bool,
    /// Whether a device can show a code; without one only phones can receive it.
    pub trusted_devices: bool,
    /// Phones that can receive a code.
    pub phones: Vec<TrustedPhone>,
    /// The auth state is nested under `phoneNumberVerification`, as some accounts have it.
    pub nested_auth_state: bool,
    /// Names of security keys; when not empty the second factor is an `fsaChallenge` alone.
    pub security_keys: Vec<String>,
    /// The answer to a right code.
    pub code_answer: CodeAnswer,
    /// Status of the answer to a wrong code.
    pub wrong_code_status: u16,
    /// Wrong codes after which every code is refused; 0 never.
    pub code_tries: u32,
    /// Each push after the first makes the codes before it void: the right code becomes the one after it.
    pub push_renews_code: bool,
    /// Codes cannot be pushed.
    pub push_refused: bool,
    /// The account is locked: sign-in answers 403.
    pub locked: bool,
    /// Wrong passwords after which the account is locked; 0 never.
    pub lock_after: u32,
    /// The account lives on `icloud.com.cn`; its hosts are answered too, the others redirect there.
    pub mainland_china: bool,
    /// New terms wait to be accepted: no web session starts.
    pub terms_pending: bool,
    /// Advanced Data Protection: data requests need a PCS cookie.
    pub advanced_data_protection: bool,
    /// "Access iCloud Data on the Web" is on.
    pub web_access: bool,
    /// Answers of `requestPCS` that still wait for a device's approval before one succeeds.
    pub pcs_approval_after: u32,
    /// Three letters.
    pub country: String,
}

impl Default for AccountRules {
    fn default() -> Self {
        Self {
            apple_id: String::from("user@example.com"),
            password: String::from("correct horse"),
            code: String::from("123456"),
            sms_code: String::from("654321"),
            protocol: SrpProtocol::S2k,
            iterations: 64,
            two_factor: true,
            repair_required: false,
            trusted_devices: true,
            phones: vec![TrustedPhone {
                id: 1, number: String::from("+00 ••• ••• ••12"), mode: String::from("sms")
            }],
            nested_auth_state: false,
            security_keys: Vec::new(),
            code_answer: CodeAnswer::NoContent,
            wrong_code_status: 401,
            code_tries: 0,
            push_renews_code: false,
            push_refused: false,
            locked: false,
            lock_after: 0,
            mainland_china: false,
            terms_pending: false,
            advanced_data_protection: false,
            web_access: true,
            pcs_approval_after: 0,
            country: String::from("USA"),
        }
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
    /// A folder's etag changes when a child is added, removed or changed.
    pub folder_etag_follows_children: bool,
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
            name_matching: NameMatching::IgnoringCase,
            missing_folder: MissingFolder::IdInvalid,
            existing_folder: ExistingFolder::Unknown,
            taken_name: TakenName::Bounce,
            folder_etag_follows_children: true,
            quota: 5 * 1024 * 1024 * 1024,
            url_lifetime_seconds: 3600,
            url_uses: 0,
            spent_url_status: 410,
            zone_lock: false,
            refuse_names: BTreeMap::new(),
        }
    }
}
