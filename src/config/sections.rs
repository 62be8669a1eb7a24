//! Converts plakar's flat map into the sections of an rclone configuration.

use std::collections::{BTreeMap, HashMap};

use super::Error;
use crate::{rclone::Sections, secret};

/// The section of the remote that the location refers to. The other sections have names that users
/// chose.
pub const OWN_SECTION: &str = "_plakar";

/// The type of this program's backend for iCloud.
pub const ICLOUD: &str = "icloud";
/// The option that names the service of that backend.
pub const SERVICE: &str = "service";
/// The value of that option for Photos.
pub const PHOTOS: &str = "photos";
/// The type of rclone's backend for iCloud Drive, whose configurations are accepted.
const ICLOUD_OF_RCLONE: &str = "iclouddrive";

/// The text that `rclone config show` prints instead of a password.
pub const HIDDEN_PASSWORD: &str = "*** ENCRYPTED ***";

/// Keys that plakar itself uses and leaves in the map. `ignore` and its variants are options of a
/// source since plakar 1.1.5.
pub const PLAKAR_KEYS: [&str; 6] = ["location", "passphrase", "passphrase_cmd", "ignore", "ignore-file", "ignore_file"];

/// Reports whether any section has an iCloud type.
pub fn has_icloud(map: &HashMap<String, String>) -> bool {
    let is_type = |key: &str| matches!(key, "type" | "rclone_type") || key.ends_with(".type");
    map.iter().any(|(key, value)| is_type(key) && is_icloud(value))
}

/// Reports whether a type is iCloud's.
pub fn is_icloud(kind: &str) -> bool {
    kind == ICLOUD || kind == ICLOUD_OF_RCLONE
}

/// Converts the rest of the map into the sections of rclone.
pub fn from_options(map: HashMap<String, String>) -> Result<Sections, Error> {
    let mut sections = Sections::default();
    for (key, value) in map {
        let option = key.strip_prefix("rclone_").unwrap_or(&key);
        if option.to_ascii_lowercase().contains("cookie") {
            secret::conceal_cookies(&value);
        } else if is_secret(option) {
            secret::conceal(&value);
        }
        secret::conceal_credentials(&value);
        // plakar drops empty values on import, and a hidden password is not a password.
        if PLAKAR_KEYS.contains(&key.as_str()) || value.is_empty() || value == HIDDEN_PASSWORD {
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

/// Makes Photos the service of a section, unless the section has another service. Reports whether
/// it is Photos.
pub fn choose_photos(section: &mut BTreeMap<String, String>) -> bool {
    section.entry(SERVICE.to_owned()).or_insert_with(|| PHOTOS.to_owned()) == PHOTOS
}

/// Reports whether an option of a backend of rclone contains a secret.
fn is_secret(option: &str) -> bool {
    ["pass", "token", "secret", "key", "credential", "sas_url", "auth"]
        .iter()
        .any(|part| option.to_ascii_lowercase().contains(part))
}
