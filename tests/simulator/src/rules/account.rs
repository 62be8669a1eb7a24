//! Rules of sign-in and of the account.

use serde::{Deserialize, Serialize};

/// The SRP password derivation that the server requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SrpProtocol {
    /// PBKDF2 of the SHA-256 of the password.
    #[serde(rename = "s2k")]
    S2k,
    /// PBKDF2 of the SHA-256 of the password in hexadecimal.
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

/// The response to a correct code.
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

/// A phone that can receive a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedPhone {
    /// The identifier of the phone in requests.
    pub id: i64,
    /// The number as shown to the user, partly hidden.
    pub number: String,
    /// `sms` or `voice`.
    pub mode: String,
}

/// Rules of sign-in and of the account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountRules {
    /// The Apple Account, compared without regard to case.
    pub apple_id: String,
    /// The password.
    pub password: String,
    /// The code that trusted devices show.
    pub code: String,
    /// The code that phones receive.
    pub sms_code: String,
    /// The password derivation that sign-in requires.
    pub protocol: SrpProtocol,
    /// The number of PBKDF2 iterations. Apple uses about 20,000; a small number makes tests fast.
    pub iterations: u32,
    /// Whether sign-in needs a code or a trust token.
    pub two_factor: bool,
    /// Whether a sign-in gets status 412 and is complete only after `repair/complete`.
    pub repair_required: bool,
    /// Whether a device can show a code; otherwise only phones can receive one.
    pub trusted_devices: bool,
    /// The phones that can receive a code.
    pub phones: Vec<TrustedPhone>,
    /// Whether the auth state is nested under `phoneNumberVerification`, as it is for some
    /// accounts.
    pub nested_auth_state: bool,
    /// The names of the security keys; if there are any, the only second factor is an
    /// `fsaChallenge`.
    pub security_keys: Vec<String>,
    /// The response to a correct code.
    pub code_answer: CodeAnswer,
    /// The status of the response to a wrong code.
    pub wrong_code_status: u16,
    /// The number of wrong codes after which every code is refused; 0 for no limit.
    pub code_tries: u32,
    /// Whether each push after the first invalidates earlier codes: the correct code is then
    /// increased by one.
    pub push_renews_code: bool,
    /// Whether pushes of codes are refused.
    pub push_refused: bool,
    /// Whether the account is locked: sign-in gets status 403.
    pub locked: bool,
    /// The number of wrong passwords after which the account is locked; 0 for no limit.
    pub lock_after: u32,
    /// Whether the account belongs to `icloud.com.cn`. The hosts of the other domain refer to it and
    /// have none of its data.
    pub mainland_china: bool,
    /// Whether the tokens of a sign-in at one domain are valid at the other.
    pub tokens_of_both_domains: bool,
    /// Whether the owner has to accept new terms: no web session starts.
    pub terms_pending: bool,
    /// Whether Advanced Data Protection is on: data requests need a PCS cookie.
    pub advanced_data_protection: bool,
    /// Whether "Access iCloud Data on the Web" is on.
    pub web_access: bool,
    /// The number of `requestPCS` requests that wait for the approval of a device before one
    /// succeeds.
    pub pcs_approval_after: u32,
    /// The country, in three letters.
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
            tokens_of_both_domains: false,
            terms_pending: false,
            advanced_data_protection: false,
            web_access: true,
            pcs_approval_after: 0,
            country: String::from("USA"),
        }
    }
}
