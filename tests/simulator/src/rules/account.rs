//! Switches of sign-in and of the account.

use serde::{Deserialize, Serialize};

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
