//! The file of an account.

use std::io;

use serde::{Deserialize, Serialize};

use crate::secret;

/// The version of the format that is written.
const VERSION: u32 = 1;

/// An account as stored in its file.
#[derive(Clone, Serialize, Deserialize)]
pub struct Account {
    version: u32,
    /// The Apple ID, in lower case.
    pub apple_id: String,
    /// The client id. An empty one stands for that of icloud.com.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    /// The password in rclone's obscured form, if it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    /// A shell command that prints the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_command: Option<String>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Account").field("apple_id", &self.apple_id).finish_non_exhaustive()
    }
}

impl Account {
    /// Returns an account without a password.
    pub fn new(apple_id: &str, client_id: &str) -> Self {
        Self {
            version: VERSION,
            apple_id: apple_id.trim().to_lowercase(),
            client_id: client_id.to_owned(),
            password: None,
            password_command: None,
        }
    }

    /// Sets the stored password, in rclone's obscured form.
    pub fn set_password(&mut self, obscured: String) {
        secret::conceal(&obscured);
        self.password = Some(obscured);
    }

    /// Returns the stored password, in rclone's obscured form.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        // The parser's error could quote the text, so it is dropped.
        let account: Self = serde_json::from_slice(text).map_err(|_| "its content is malformed".to_owned())?;
        if account.version > VERSION {
            return Err(format!("it has format {}, and this program supports only {VERSION}", account.version));
        }
        account.password.as_deref().map(secret::conceal);
        Ok(account)
    }

    pub(super) fn text(&self) -> io::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}
