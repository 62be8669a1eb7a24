//! What can be switched in the simulated service. Every rule is listed in `RULES.md` with its source, or as a guess.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::drive::names::NameRule;

/// All switches; a test changes them at any moment through [`crate::Simulator::rules`] or `POST /control/rules`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    pub transport: TransportRules,
    pub account: AccountRules,
    pub session: SessionRules,
    pub drive: DriveRules,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct TransportRules {
    /// Added to every answer, in milliseconds.
    pub latency_ms: u64,
    /// Rate of all content downloads together, in bytes per second; 0 sets no limit.
    pub content_rate: u64,
}

impl Default for TransportRules {
    fn default() -> Self {
        Self { latency_ms: 0, content_rate: 0 }
    }
}

/// The SRP password derivation that the server asks the client for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SrpProtocol {
    #[serde(rename = "s2k")]
    S2k,
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
    NoContent,
    ConflictWithToken,
    ConflictWithoutToken,
    PreconditionFailed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedPhone {
    pub id: i64,
    pub number: String,
    /// `sms` or `voice`.
    pub mode: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountRules {
    pub apple_id: String,
    pub password: String,
    pub code: String,
    pub sms_code: String,
    pub protocol: SrpProtocol,
    /// PBKDF2 iterations. Apple uses about 20,000; a test needs few.
    pub iterations: u32,
    pub two_factor: bool,
    /// Sign-in answers 412 until `repair/complete` was called.
    pub repair_required: bool,
    pub trusted_devices: bool,
    pub phones: Vec<TrustedPhone>,
    /// The auth state is nested under `phoneNumberVerification`, as some accounts have it.
    pub nested_auth_state: bool,
    /// Names of security keys; when not empty the second factor is an `fsaChallenge` alone.
    pub security_keys: Vec<String>,
    pub code_answer: CodeAnswer,
    pub wrong_code_status: u16,
    /// Wrong codes after which every code is refused (`tooManyCodesValidated`); 0 never.
    pub code_tries: u32,
    /// A push request makes the codes sent before it void, and the code becomes code + 1.
    pub push_renews_code: bool,
    pub push_refused: bool,
    pub locked: bool,
    /// Wrong passwords after which the account is locked; 0 never.
    pub lock_after: u32,
    pub mainland_china: bool,
    pub terms_pending: bool,
    pub advanced_data_protection: bool,
    pub web_access: bool,
    /// Answers of `requestPCS` that still wait for a device's approval before one succeeds.
    pub pcs_approval_after: u32,
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
                id: 1,
                number: String::from("+00 ••• ••• ••12"),
                mode: String::from("sms"),
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

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionRules {
    pub lifetime_seconds: i64,
    pub trust_lifetime_seconds: i64,
    /// Status of a data request whose session is over: 421, 401 or 423.
    pub ended_status: u16,
    /// Data requests after which a session ends by itself; 0 never.
    pub requests: u64,
}

impl Default for SessionRules {
    fn default() -> Self {
        Self {
            lifetime_seconds: 24 * 3600,
            trust_lifetime_seconds: 30 * 24 * 3600,
            ended_status: 421,
            requests: 0,
        }
    }
}

/// What a listing of more folders than [`DriveRules::max_batch`] gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverBatch {
    Refuse,
    FirstOnly,
}

/// What a listing of an id that does not exist gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingFolder {
    IdInvalid,
    NotFound,
}

/// What `createFolders` answers for a name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExistingFolder {
    Unknown,
    AlreadyExists,
    Bounce,
}

/// What a rename or a move onto a taken name does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakenName {
    Bounce,
    Refuse,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct DriveRules {
    /// Folders one listing request may ask for; 0 sets no limit.
    pub max_batch: usize,
    pub over_batch: OverBatch,
    pub missing_folder: MissingFolder,
    pub existing_folder: ExistingFolder,
    pub taken_name: TakenName,
    /// A folder's etag changes when a child is added, removed or renamed.
    pub folder_etag_follows_children: bool,
    /// Bytes; what the trash holds counts too.
    pub quota: u64,
    pub url_lifetime_seconds: i64,
    /// Requests one content URL serves; 0 sets no limit.
    pub url_uses: u32,
    /// Status of a content URL that is over: 403, 404 or 410.
    pub spent_url_status: u16,
    /// Name rules switched on or off against the table in `drive/names.rs`.
    pub refuse_names: BTreeMap<NameRule, bool>,
}

impl Default for DriveRules {
    fn default() -> Self {
        Self {
            max_batch: 0,
            over_batch: OverBatch::Refuse,
            missing_folder: MissingFolder::IdInvalid,
            existing_folder: ExistingFolder::Unknown,
            taken_name: TakenName::Bounce,
            folder_etag_follows_children: true,
            quota: 5 * 1024 * 1024 * 1024,
            url_lifetime_seconds: 3600,
            url_uses: 0,
            spent_url_status: 410,
            refuse_names: BTreeMap::new(),
        }
    }
}
