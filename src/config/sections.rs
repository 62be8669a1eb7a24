//! The sections of rclone's configuration that plakar's flat map holds.

use std::collections::HashMap;

use super::Error;
use crate::{rclone::Sections, secret};

/// The section of the remote that the location speaks of; users name the others.
pub const OWN_SECTION: &str = "_plakar";

/// Our backend for iCloud Drive.
pub const ICLOUD: &str = "icloud";
/// rclone's, whose configurations ours takes.
const ICLOUD_OF_RCLONE: &str = "iclouddrive";

/// What `rclone config show` prints in place of a password.
pub const HIDDEN_PASSWORD: &str = "*** ENCRYPTED ***";

/// Keys that plakar itself uses and leaves in the map. `ignore` and its like are
/// options of a source since plakar 1.1.5.
const OF_PLAKAR: [&str; 6] = ["location", "passphrase", "passphrase_cmd", "ignore", "ignore-file", "ignore_file"];

/// Reports whether a section is of iCloud.
pub fn has_icloud(map: &HashMap<String, String>) -> bool {
    let is_type = |key: &str| matches!(key, "type" | "rclone_type") || key.ends_with(".type");
    map.iter().any(|(key, value)| is_type(key) && is_icloud(value))
}

/// Reports whether the type of a section is iCloud.
pub fn is_icloud(kind: &str) -> bool {
    kind == ICLOUD || kind == ICLOUD_OF_RCLONE
}

/// Sorts what is left of the map into rclone's sections.
pub fn of(map: HashMap<String, String>) -> Result<Sections, Error> {
    let mut sections = Sections::default();
    for (key, value) in map {
        let option = key.strip_prefix("rclone_").unwrap_or(&key);
        if option.to_ascii_lowercase().contains("cookie") {
            secret::conceal_cookies(&value);
        } else if is_secret(option) {
            secret::conceal(&value);
        }
        secret::conceal_credentials(&value);
        // plakar drops empty values on import; a hidden password is none.
        if OF_PLAKAR.contains(&key.as_str()) || value.is_empty() || value == HIDDEN_PASSWORD {
            continue;
        }
        let (section, name) = match option.strip_prefix("remote.").and_then(|rest| rest.rsplit_once('.')) {
            Some((section, name)) => (section, name),
            None => (OWN_SECTION, option),
        };
        let options = sections.entry(section.to_owned()).or_default();
        let other = options.insert(name.to_owned(), value);
        if other.is_some_and(|other| options.get(name) != Some(&other)) {
            return Err(Error::TwoValues(option.to_owned()));
        }
    }
    Ok(sections)
}

/// Names under which rclone's backends take secrets.
fn is_secret(option: &str) -> bool {
    ["pass", "token", "secret", "key", "credential", "sas_url", "auth"]
        .iter()
        .any(|part| option.to_ascii_lowercase().contains(part))
}
