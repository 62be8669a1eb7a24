//! What plakar hands to a connector: a flat map of names and values, into a
//! checked configuration.

mod location;

use std::{
    collections::{BTreeMap, HashMap},
    env,
    path::PathBuf,
};

pub use location::Protocol;

use crate::{
    account::{self, Access, Forecast, OnEvent, State},
    drive::{DrivePath, Limits},
    kloset::CacheLimits,
    rclone::Sections,
    secret,
};

/// The section of the remote that the location speaks of; users name the others.
const OWN_SECTION: &str = "_plakar";

/// Our backend for iCloud Drive.
const ICLOUD: &str = "icloud";
/// rclone's, whose configurations ours takes.
const ICLOUD_OF_RCLONE: &str = "iclouddrive";

/// Keys that plakar itself uses and leaves in the map.
const OF_PLAKAR: [&str; 3] = ["location", "passphrase", "passphrase_cmd"];

/// Our own options.
pub const OPTIONS: [&str; 15] = [
    "account",
    "cache_dir",
    "cache_memory",
    "cache_size",
    "include_klosets",
    "listings",
    "on_event",
    "on_partial",
    "password_command",
    "read_ahead",
    "spool_dir",
    "spool_memory",
    "state_dir",
    "uploads",
    "warn_days",
];

/// What `rclone config show` prints in place of a password.
pub const HIDDEN_PASSWORD: &str = "*** ENCRYPTED ***";

/// The least `cache_size` in MiB: a sixteenth of it must have room for a block.
const LEAST_CACHE: usize = 5;

/// The unit of settings about memory.
const MIB: u64 = 1024 * 1024;

/// Days of trust below which a user is told, unless `warn_days` says otherwise.
pub const WARN_DAYS: u16 = 7;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The account that it names, or needs.
    #[error(transparent)]
    Account(#[from] account::Error),
    /// A location that leads nowhere.
    #[error("location {location:?} cannot be used: {why}")]
    Location {
        /// As it was given.
        location: String,
        /// What is wrong with it.
        why: String,
    },
    /// A key that is needed.
    #[error("option {key} is missing: {why}")]
    Missing {
        /// Its name.
        key: &'static str,
        /// What it is needed for.
        why: &'static str,
    },
    /// An option under both of its names, with two values.
    #[error("options {0} and rclone_{0} are one, and have different values: leave one out")]
    TwoValues(String),
    /// A value of the wrong form.
    #[error("option {key}={value} cannot be used: {why}")]
    Value {
        /// Its name.
        key: &'static str,
        /// As it was given.
        value: String,
        /// What it must be.
        why: &'static str,
    },
}

/// What becomes of a backup that could not save every file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPartial {
    /// The snapshot is kept, and the failed files are named.
    #[default]
    Keep,
    /// The backup ends with an error, and no snapshot is kept.
    Fail,
}

/// A connector's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What serves the location.
    pub protocol: Protocol,
    /// The folder (or, for an importer, file) that the location names.
    pub top: DrivePath,
    /// Whose files these are: it tells snapshots of different accounts apart.
    pub origin: String,
    /// The section to open.
    pub section: String,
    /// It, and those that it refers to.
    pub sections: Sections,
    /// Folder listings at once.
    pub listings: usize,
    /// Small files read before plakar asks for them.
    pub read_ahead: usize,
    /// Whether a backup includes the klosets that it finds in the drive.
    pub include_klosets: bool,
    /// Bounds of the drive.
    pub limits: Limits,
    /// Bounds of what a kloset keeps of its content.
    pub cache: CacheLimits,
    /// How the account is got at, where the section to open is iCloud's.
    pub access: Option<Access>,
    /// When and how to tell that somebody will have to sign in.
    pub forecast: Forecast,
    /// The command to run when a run fails or leaves files out.
    pub on_event: OnEvent,
    /// What becomes of a backup that could not save every file.
    pub on_partial: OnPartial,
}

/// Our keys about accounts. Where there is no iCloud they are not ours: other
/// backends have accounts, too.
#[derive(Default)]
struct AccountKeys {
    account: Option<String>,
    state_dir: Option<PathBuf>,
    password_command: Option<String>,
}

impl AccountKeys {
    fn take(map: &mut HashMap<String, String>) -> Result<Self, Error> {
        let mut given = |key| map.remove(key).filter(|value| !value.is_empty());
        let (account, password_command) = (given("account"), given("password_command"));
        Ok(Self { account, password_command, state_dir: folder(map, "state_dir")? })
    }
}

impl Config {
    /// Reads the map of a source, destination or store.
    ///
    /// rclone's options come by their own names, plain or with `rclone_` in
    /// front, as `plakar source import [-rclone]` leaves them; those of another
    /// section NAME as `remote.NAME.option`. Their names are checked by rclone.
    /// An account (`account=NAME`, or the only one) stands for the options of an
    /// Apple ID.
    ///
    /// # Errors
    /// If a key is missing or one of ours has a value of the wrong form.
    pub fn read(mut map: HashMap<String, String>) -> Result<Self, Error> {
        let location = map
            .remove("location")
            .ok_or(Error::Missing { key: "location", why: "give one like icloud:// or icloud:///folder" })?;
        let (protocol, top) = location::parse(&location)?;
        let listings = number(&mut map, "listings", 8)?.max(1);
        let read_ahead = number(&mut map, "read_ahead", 16)?;
        let include_klosets = flag(&mut map, "include_klosets")?;
        let limits = limits(&mut map)?;
        let mut cache = cache_limits(&mut map)?;
        let warn_days = number(&mut map, "warn_days", WARN_DAYS.into())? as u64;
        let event_command = map.remove("on_event");
        let on_partial = on_partial(&mut map)?;
        let keys = if protocol == Protocol::Icloud || has_icloud(&map) {
            AccountKeys::take(&mut map)?
        } else {
            AccountKeys::default()
        };
        let mut sections = sections(map)?;
        let own = sections.entry(OWN_SECTION.to_owned()).or_default();
        if protocol == Protocol::Icloud {
            own.entry("type".to_owned()).or_insert_with(|| ICLOUD.to_owned());
        }
        let access = accounts(&mut sections, &keys)?;
        cache.copies_dir = access.as_ref().map(|access| access.state.kept_folder());
        require(&sections[OWN_SECTION])?;
        let origin = origin(&sections, OWN_SECTION);
        let event_state = match &access {
            Some(access) => Some(access.state.clone()),
            None => State::locate(None).ok(),
        };
        let event_account = access.as_ref().and_then(|access| access.name.as_deref()).unwrap_or(&origin);
        let on_event = OnEvent::new(event_command, event_account, event_state, &format!("{origin} {location}"));
        let forecast = Forecast { warn_days, on_event: on_event.clone() };
        let section = named_by_account(&mut sections, access.as_ref());
        Ok(Self {
            protocol,
            top,
            origin,
            section,
            sections,
            listings,
            read_ahead,
            include_klosets,
            limits,
            cache,
            access,
            forecast,
            on_event,
            on_partial,
        })
    }
}

/// Whether a section is of iCloud.
fn has_icloud(map: &HashMap<String, String>) -> bool {
    let is_type = |key: &str| matches!(key, "type" | "rclone_type") || key.ends_with(".type");
    map.iter().any(|(key, value)| is_type(key) && is_icloud(value))
}

fn is_icloud(kind: &str) -> bool {
    kind == ICLOUD || kind == ICLOUD_OF_RCLONE
}

/// Gives every section of iCloud's its account, and our backend in place of
/// rclone's, whose options it takes. Answers the access of the section to open;
/// of another one if that one stands for it, as crypt does.
fn accounts(sections: &mut Sections, keys: &AccountKeys) -> Result<Option<Access>, Error> {
    let mut accesses = BTreeMap::new();
    for (name, options) in sections.iter_mut() {
        if !options.get("type").is_some_and(|kind| is_icloud(kind)) {
            continue;
        }
        options.insert("type".to_owned(), ICLOUD.to_owned());
        if let Some(command) = &keys.password_command {
            options.insert("password_command".to_owned(), command.clone());
        }
        let access = account::resolve(options, keys.account.as_deref(), keys.state_dir.as_deref())?;
        accesses.insert(name.clone(), access);
    }
    let own = accesses.remove(OWN_SECTION).or_else(|| accesses.into_values().next());
    Ok(own.flatten())
}

/// Names the section to open as the account is named: errors of rclone say it.
fn named_by_account(sections: &mut Sections, access: Option<&Access>) -> String {
    let name = access.and_then(|access| access.name.clone()).filter(|name| !sections.contains_key(name));
    match (name, sections.remove(OWN_SECTION)) {
        (Some(name), Some(own)) => {
            sections.insert(name.clone(), own);
            name
        }
        (_, own) => {
            sections.insert(OWN_SECTION.to_owned(), own.unwrap_or_default());
            OWN_SECTION.to_owned()
        }
    }
}

fn require(own: &BTreeMap<String, String>) -> Result<(), Error> {
    match own.get("type").map(String::as_str) {
        None => {
            let why = "it names rclone's backend, such as sftp";
            Err(Error::Missing { key: "rclone_type", why })
        }
        Some(_) => Ok(()),
    }
}

/// Takes the bounds of a drive out of the map.
fn limits(map: &mut HashMap<String, String>) -> Result<Limits, Error> {
    Ok(Limits {
        uploads: number(map, "uploads", 8)?.max(1),
        spool_memory: number(map, "spool_memory", 8)? * MIB as usize,
        spool_dir: folder(map, "spool_dir")?.unwrap_or_else(env::temp_dir),
    })
}

/// Takes the bounds of a kloset's caches out of the map.
fn cache_limits(map: &mut HashMap<String, String>) -> Result<CacheLimits, Error> {
    let cache_size = number(map, "cache_size", 4096)?;
    if cache_size < LEAST_CACHE {
        let why = "a folder of less than 5 MiB would keep nothing";
        return Err(Error::Value { key: "cache_size", value: cache_size.to_string(), why });
    }
    Ok(CacheLimits {
        memory: number(map, "cache_memory", 128)? as u64 * MIB,
        disk: folder(map, "cache_dir")?.map(|folder| (folder, cache_size as u64 * MIB)),
        copies_dir: None,
    })
}

/// Takes a folder out of the map. plakar runs connectors in whatever folder it was
/// itself started in, so a relative path would be another one each time.
fn folder(map: &mut HashMap<String, String>, key: &'static str) -> Result<Option<PathBuf>, Error> {
    match map.remove(key).filter(|value| !value.is_empty()) {
        Some(value) if !value.starts_with('/') => {
            Err(Error::Value { key, value, why: "give an absolute path; ~ is not expanded" })
        }
        value => Ok(value.map(PathBuf::from)),
    }
}

fn on_partial(map: &mut HashMap<String, String>) -> Result<OnPartial, Error> {
    match map.remove("on_partial").unwrap_or_default().as_str() {
        "" | "keep" => Ok(OnPartial::Keep),
        "fail" => Ok(OnPartial::Fail),
        other => Err(Error::Value { key: "on_partial", value: other.to_owned(), why: "it must be keep or fail" }),
    }
}

fn flag(map: &mut HashMap<String, String>, key: &'static str) -> Result<bool, Error> {
    match map.remove(key).unwrap_or_default().as_str() {
        "" | "false" => Ok(false),
        "true" => Ok(true),
        other => Err(Error::Value { key, value: other.to_owned(), why: "it must be true or false" }),
    }
}

fn number(map: &mut HashMap<String, String>, key: &'static str, default: usize) -> Result<usize, Error> {
    let Some(value) = map.remove(key) else {
        return Ok(default);
    };
    match value.trim().parse::<u16>() {
        Ok(number) => Ok(number.into()),
        Err(_) => Err(Error::Value { key, value, why: "it must be a whole number up to 65535" }),
    }
}

/// Sorts what is left into rclone's sections.
fn sections(map: HashMap<String, String>) -> Result<Sections, Error> {
    let mut sections = Sections::new();
    for (key, value) in map {
        let option = key.strip_prefix("rclone_").unwrap_or(&key);
        if option.to_ascii_lowercase().contains("cookie") {
            secret::conceal_cookies(&value);
        } else if is_secret(option) {
            secret::conceal(&value);
        }
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

/// What identifies the account or the server behind a section, without secrets.
fn origin(sections: &Sections, section: &str) -> String {
    let Some(options) = sections.get(section) else {
        return section.to_owned();
    };
    let get = |key: &str| options.get(key).map(String::as_str);
    let kind = get("type").unwrap_or_default();
    if let Some(apple_id) = get("apple_id") {
        return apple_id.to_lowercase();
    }
    if kind == "local" {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    // crypt, alias and the like stand for a path of another section.
    if let Some((remote, path)) = get("remote").and_then(|remote| remote.split_once(':')) {
        return format!("{kind}:{}:{path}", origin(sections, remote));
    }
    let user = ["user", "username", "account", "email", "access_key_id"].iter().find_map(|key| get(key));
    let place =
        ["host", "endpoint", "url", "drive_id", "team_drive", "region", "provider"].iter().find_map(|key| get(key));
    let place = place.map(without_credentials);
    match (user, place) {
        (Some(user), Some(place)) => format!("{kind}:{user}@{place}"),
        (Some(user), None) => format!("{kind}:{user}"),
        (None, Some(place)) => format!("{kind}:{place}"),
        (None, None) => kind.to_owned(),
    }
}

/// A URL may carry a user and a password before its host, and a key in its query.
fn without_credentials(url: &str) -> String {
    let Some((_, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, Error> {
        let state = ("state_dir", "/nowhere/state");
        Config::read(pairs.iter().chain([&state]).map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn options_come_plain_or_prefixed() {
        for prefix in ["", "rclone_"] {
            let config =
                read(&[("location", "icloud://"), (&format!("{prefix}apple_id"), "User@example.com")]).unwrap();
            assert_eq!(config.sections[OWN_SECTION]["type"], "icloud");
            assert_eq!(config.sections[OWN_SECTION]["apple_id"], "User@example.com");
            assert_eq!(config.origin, "user@example.com");
        }
    }

    #[test]
    fn other_sections_are_carried_along() {
        let config = read(&[
            ("location", "rclone:///kloset"),
            ("rclone_type", "crypt"),
            ("rclone_remote", "drive:backup"),
            ("remote.drive.type", "iclouddrive"),
            ("remote.drive.apple_id", "user@example.com"),
        ])
        .unwrap();
        assert_eq!(config.sections["drive"]["apple_id"], "user@example.com");
        assert_eq!(config.origin, "crypt:user@example.com:backup");
    }

    #[test]
    fn what_is_no_option_is_left_out() {
        let config = read(&[
            ("location", "icloud://"),
            ("apple_id", "user@example.com"),
            ("password", HIDDEN_PASSWORD),
            ("passphrase", "correct horse"),
            ("cookies", ""),
        ])
        .unwrap();
        let own: Vec<&str> = config.sections[OWN_SECTION].keys().map(String::as_str).collect();
        assert_eq!(own, ["apple_id", "session_file", "type"]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let message = |pairs: &[(&str, &str)]| read(pairs).unwrap_err().to_string();
        assert!(message(&[("apple_id", "user@example.com")]).contains("location"));
        assert!(message(&[("location", "icloud://")]).contains("plakar-icloud login"));
        assert!(message(&[("location", "rclone://")]).contains("rclone_type"));
        assert!(message(&[("location", "icloud://"), ("uploads", "many")]).contains("uploads=many"));
    }

    #[test]
    fn an_origin_has_no_credentials_and_keeps_the_host() {
        for (url, origin) in [
            ("https://me:pw@dav.example/files", "dav.example/files"),
            ("https://me:p@ss@dav.example:8443/files", "dav.example:8443/files"),
            ("https://dav.example/users/me@home.example", "dav.example/users/me@home.example"),
            ("https://dav.example?key=a@b", "dav.example"),
            ("https://dav.example/files?sig=secret#part", "dav.example/files"),
        ] {
            let config = read(&[("location", "rclone://"), ("rclone_type", "webdav"), ("rclone_url", url)]).unwrap();
            assert_eq!(config.origin, format!("webdav:{origin}"), "{url}");
        }
    }

    #[test]
    fn an_option_with_two_values_is_refused() {
        let option =
            [("location", "icloud://"), ("apple_id", "user@example.com"), ("rclone_apple_id", "user@example.com")];
        assert_eq!(read(&option).unwrap().origin, "user@example.com");
        let other = [&option[..2], &[("rclone_apple_id", "other@example.com")]].concat();
        let message = read(&other).unwrap_err().to_string();
        assert!(message.contains("apple_id and rclone_apple_id") && !message.contains('@'), "{message}");
    }

    #[test]
    fn an_account_of_another_service_is_its_own() {
        let config = read(&[("location", "rclone://"), ("rclone_type", "b2"), ("account", "key-id")]).unwrap();
        assert_eq!(config.sections[OWN_SECTION]["account"], "key-id");
        assert!(config.access.is_none());
    }

    #[test]
    fn options_of_ours_are_not_passed_on() {
        let own = OPTIONS.into_iter().filter(|&key| key != "account" && key != "password_command");
        let value = |key: &str| match key {
            "on_partial" => "fail",
            "include_klosets" => "true",
            key if key.ends_with("_dir") => "/nowhere",
            _ => "7",
        };
        let mut pairs: Vec<(&str, &str)> = own.map(|key| (key, value(key))).collect();
        pairs.extend([("location", "icloud://"), ("apple_id", "user@example.com")]);
        let config = read(&pairs).unwrap();
        let keys: Vec<&str> = config.sections[OWN_SECTION].keys().map(String::as_str).collect();
        assert_eq!(keys, ["apple_id", "session_file", "type"]);
    }

    #[test]
    fn a_partial_backup_is_kept_unless_it_must_fail() {
        let with = |value| read(&[("location", "icloud://"), ("apple_id", "user@example.com"), ("on_partial", value)]);
        assert_eq!(with("").unwrap().on_partial, OnPartial::Keep);
        assert_eq!(with("keep").unwrap().on_partial, OnPartial::Keep);
        assert_eq!(with("fail").unwrap().on_partial, OnPartial::Fail);
        assert!(with("drop").unwrap_err().to_string().contains("on_partial=drop"));
    }

    #[test]
    fn folders_are_absolute() {
        for key in ["state_dir", "cache_dir", "spool_dir"] {
            for folder in ["folder", "~/folder", "./folder"] {
                let pairs = [("location", "icloud://"), ("apple_id", "user@example.com"), (key, folder)];
                let message =
                    Config::read(pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
                        .unwrap_err()
                        .to_string();
                assert!(message.contains(&format!("{key}={folder}")) && message.contains("absolute"), "{message}");
            }
        }
    }

    #[test]
    fn a_cache_that_would_keep_nothing_is_refused() {
        let with = |size| {
            read(&[
                ("location", "icloud://"),
                ("apple_id", "user@example.com"),
                ("cache_dir", "/c"),
                ("cache_size", size),
            ])
        };
        assert!(with("4").unwrap_err().to_string().contains("cache_size=4"));
        assert!(with("5").is_ok());
    }
}
