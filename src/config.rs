//! Converts the map of names and values that plakar passes to a connector into a checked
//! configuration.

mod accounts;
mod location;
mod options;
mod origin;
mod sections;

use std::collections::HashMap;

pub use location::Protocol;
pub use options::{Kind, OPTIONS, OnPartial, Opt, SavedPackages, WARN_DAYS, names, restore_policy};
pub use origin::of_photos as origin_of_photos;
pub use sections::{HIDDEN_PASSWORD, ICLOUD, OF_PLAKAR, PHOTOS, SERVICE};

use crate::{
    account::{self, Access, Forecast, OnEvent, State},
    backup::ExcludeOptions,
    drive::{DrivePath, Limits},
    kloset::CacheLimits,
    rclone::Sections,
    report::{Destinations, Ping},
    restore::Policy,
};
use accounts::AccountKeys;
use sections::OWN_SECTION;

/// An invalid configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The account cannot be used.
    #[error(transparent)]
    Account(#[from] account::Error),
    /// The location is invalid.
    #[error("location {location:?} cannot be used: {why}")]
    Location {
        /// The location as configured.
        location: String,
        /// What is wrong with it.
        why: String,
    },
    /// A required option is missing.
    #[error("option {key} is missing: {why}")]
    Missing {
        /// The name of the option.
        key: &'static str,
        /// What the option is needed for.
        why: &'static str,
    },
    /// Remotes refer to each other in a circle.
    #[error("remote {0} refers to itself ({1}): give one of them another remote=")]
    Circle(String, String),
    /// The password and a part of the cookies are missing, and there is neither an account nor a
    /// session of the Apple ID.
    #[error(
        "the configuration of {apple_id} has no password, and of its cookies only the first, as after an import from \
         \"rclone config show\": run \"rclone config dump | plakar source import -rclone -overwrite\", or create an \
         account with \"plakar-icloud config import --file rclone.conf\""
    )]
    Truncated {
        /// The Apple ID.
        apple_id: String,
    },
    /// An option does not concern what a restore does with items.
    #[error("option {0} is not one that changes what a restore does with files")]
    NoRestoreOption(String),
    /// An option is given under both of its names, with different values.
    #[error("options {0} and rclone_{0} are the same option but have different values: remove one of them")]
    TwoValues(String),
    /// An option has an invalid value.
    #[error("option {key}={value} cannot be used: {why}")]
    Value {
        /// The name of the option.
        key: &'static str,
        /// The value as configured.
        value: String,
        /// What the value must be.
        why: String,
    },
}

/// The configuration of a connector.
#[derive(Debug, Clone)]
pub struct Config {
    /// The protocol of the location.
    pub protocol: Protocol,
    /// The folder (or, for an importer, the file) that the location names.
    pub top: DrivePath,
    /// The account or server of the files. It distinguishes snapshots of different accounts.
    pub origin: String,
    /// The name of the section to open.
    pub section: String,
    /// That section and the sections that it refers to.
    pub sections: Sections,
    /// The maximum number of concurrent folder listings.
    pub listings: usize,
    /// The maximum number of small files that are read ahead.
    pub read_ahead: usize,
    /// What a backup leaves out.
    pub excludes: ExcludeOptions,
    /// How a backup saves packages.
    pub saved_packages: SavedPackages,
    /// The choices about a restore.
    pub restore: Policy,
    /// The limits of the drive.
    pub limits: Limits,
    /// The limits of the caches of a kloset.
    pub cache: CacheLimits,
    /// How the account is accessed, if the section to open is iCloud's.
    pub access: Option<Access>,
    /// When and how to warn that a sign-in will be needed.
    pub forecast: Forecast,
    /// Where the results of runs are reported.
    pub report: Destinations,
    /// What happens to a backup that could not back up every file.
    pub on_partial: OnPartial,
}

impl Config {
    /// Reads the map of a source, destination or store.
    ///
    /// rclone's options have their own names, with or without the prefix `rclone_`, as `plakar
    /// source import [-rclone]` stores them. Options of another section NAME are called
    /// `remote.NAME.option`. rclone checks their names. An account (`account=NAME`, or the only
    /// account) replaces the options of an Apple ID.
    ///
    /// # Errors
    /// Fails if an option is missing or an option of this program has an invalid value.
    pub fn read(mut map: HashMap<String, String>) -> Result<Self, Error> {
        let location = map
            .remove("location")
            .ok_or(Error::Missing { key: "location", why: "give one like icloud:// or icloud:///folder" })?;
        let (protocol, mut top) = location::parse(&location)?;
        let listings = options::LISTINGS.number(&mut map)?;
        let read_ahead = options::READ_AHEAD.number(&mut map)?;
        let excludes = options::excludes(&mut map)?;
        let summary = options::SUMMARY.path(&mut map)?;
        let metrics = options::METRICS_FILE.path(&mut map)?;
        let ping = options::PING_URL.text(&mut map).map(Ping::new);
        let saved_packages = options::saved_packages(&map);
        let restore = options::restore(&mut map)?;
        let limits = options::limits(&mut map)?;
        let mut cache = options::cache_limits(&mut map)?;
        let warn_days = options::WARN_DAYS_OPTION.number(&mut map)? as u64;
        let event_command = options::ON_EVENT.text(&mut map);
        let on_partial = options::on_partial(&mut map)?;
        let keys = if protocol == Protocol::Icloud || sections::has_icloud(&map) {
            AccountKeys::take(&mut map)?
        } else {
            AccountKeys::default()
        };
        let mut sections = sections::of(map)?;
        let own = sections.entry(OWN_SECTION.to_owned()).or_default();
        if protocol == Protocol::Icloud {
            own.entry("type".to_owned()).or_insert_with(|| sections::ICLOUD.to_owned());
            let service = own.get(sections::SERVICE).map(String::as_str);
            if let Some(path) = location::in_photos(&location, &top)
                && service.is_none_or(|service| service == sections::PHOTOS)
            {
                top = path;
                own.insert(sections::SERVICE.to_owned(), sections::PHOTOS.to_owned());
            }
        }
        origin::refuse_circles(&sections)?;
        let access = accounts::of(&mut sections, &keys)?;
        cache.copies_dir = access.as_ref().map(|access| access.state.kept_folder());
        if !sections[OWN_SECTION].contains_key("type") {
            return Err(Error::Missing { key: "rclone_type", why: "it names rclone's backend, such as crypt" });
        }
        let origin = origin::of(&sections, OWN_SECTION);
        let event_state = match &access {
            Some(access) => Some(access.state.clone()),
            None => State::locate(None).ok(),
        };
        let event_account = access.as_ref().and_then(|access| access.name.as_deref()).unwrap_or(&origin);
        let on_event = OnEvent::new(event_command, event_account, event_state, &format!("{origin} {location}"));
        let forecast = Forecast { warn_days, on_event: on_event.clone() };
        let report = Destinations {
            on_event,
            file: summary,
            metrics,
            ping,
            runs: access.as_ref().map(|access| access.state.runs(&access.session_file)),
            account: event_account.to_owned(),
            location: top.to_string(),
            origin: origin.clone(),
        };
        let section = accounts::name_section(&mut sections, access.as_ref());
        Ok(Self {
            protocol,
            top,
            origin,
            section,
            sections,
            listings,
            read_ahead,
            excludes,
            saved_packages,
            restore,
            limits,
            cache,
            access,
            forecast,
            report,
            on_partial,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, Error> {
        let state = ("state_dir", "/nowhere/state");
        Config::read(pairs.iter().chain([&state]).map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn options_may_have_the_prefix_rclone() {
        for prefix in ["", "rclone_"] {
            let config =
                read(&[("location", "icloud://"), (&format!("{prefix}apple_id"), "User@example.com")]).unwrap();
            assert_eq!(config.sections[OWN_SECTION]["type"], "icloud");
            assert_eq!(config.sections[OWN_SECTION]["apple_id"], "User@example.com");
            assert_eq!(config.origin, "user@example.com");
        }
    }

    #[test]
    fn photos_are_a_separate_service() {
        let photos = |pairs: &[(&str, &str)]| {
            let config = read(&[pairs, &[("apple_id", "user@example.com")]].concat()).unwrap();
            (config.sections[OWN_SECTION].get("service").cloned(), config.top.to_string(), config.origin)
        };
        let (service, origin) = (Some("photos".to_owned()), "photos:user@example.com".to_owned());
        let at = |top: &str| (service.clone(), top.to_owned(), origin.clone());
        assert_eq!(photos(&[("location", "icloud://photos/Library")]), at("/Library"));
        assert_eq!(photos(&[("location", "icloud://"), ("service", "photos")]), at("/"));
        let drive = photos(&[("location", "icloud://photos"), ("service", "drive")]);
        assert_eq!(drive, (Some("drive".to_owned()), "/photos".to_owned(), "user@example.com".to_owned()));
    }

    #[test]
    fn other_sections_are_passed_to_rclone() {
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
    fn empty_values_and_keys_of_plakar_are_not_passed_to_rclone() {
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
    fn errors_name_the_missing_or_invalid_option() {
        let message = |pairs: &[(&str, &str)]| read(pairs).unwrap_err().to_string();
        assert!(message(&[("apple_id", "user@example.com")]).contains("location"));
        assert!(message(&[("location", "icloud://")]).contains("plakar-icloud login"));
        assert!(message(&[("location", "rclone://")]).contains("rclone_type"));
        assert!(message(&[("location", "icloud://"), ("uploads", "many")]).contains("uploads=many"));
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

    /// `rclone config show` hides the password, and plakar's import of its output ends a value at
    /// the first semicolon.
    #[test]
    fn the_error_about_a_truncated_import_names_the_commands_that_help() {
        let imported = |cookies| {
            read(&[
                ("location", "rclone://"),
                ("rclone_type", "iclouddrive"),
                ("rclone_apple_id", "user@example.com"),
                ("rclone_password", HIDDEN_PASSWORD),
                ("rclone_trust_token", "trust"),
                ("rclone_cookies", cookies),
            ])
        };
        let message = imported("X-APPLE-A=1").unwrap_err().to_string();
        assert!(message.contains("rclone config dump | plakar") && message.contains("config import"), "{message}");
        assert!(imported("X-APPLE-A=1;X-APPLE-B=2;").is_ok());
    }

    #[test]
    fn the_option_account_of_other_backends_is_passed_to_rclone() {
        let config = read(&[("location", "rclone://"), ("rclone_type", "b2"), ("account", "key-id")]).unwrap();
        assert_eq!(config.sections[OWN_SECTION]["account"], "key-id");
        assert!(config.access.is_none());
    }

    #[test]
    fn options_of_this_program_are_not_passed_to_rclone() {
        let own = names().into_iter().filter(|&key| key != "account" && key != "password_command");
        let value = |key: &str| match key {
            "on_partial" => "fail",
            "include_klosets" | "skip_identical" => "true",
            "shared" | "on_conflict" | "links" => "skip",
            "ignore_file" => "/dev/null",
            "summary" | "metrics_file" => "/nowhere/file",
            "names" => "fail",
            "packages" => "archive",
            "verify" => "content",
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
    fn debug_output_of_a_configuration_has_no_secrets() {
        let given = [
            ("location", "icloud://"),
            ("apple_id", "user@example.com"),
            ("trust_token", "the trust"),
            ("cookies", "a=S1; b=S2"),
            ("on_event", "curl https://example.com/hook-of-mine"),
            ("password_command", "echo the-password"),
        ];
        let shown = format!("{:?}", read(&given).unwrap());
        assert!(shown.contains("trust_token"), "{shown}");
        for secret in ["the trust", "S1", "S2", "hook-of-mine", "the-password"] {
            assert!(!shown.contains(secret), "{secret} is in {shown}");
        }
    }

    #[test]
    fn keys_of_plakar_are_ignored() {
        let given = [("location", "icloud://"), ("apple_id", "user@example.com")];
        let own = |pairs: &[(&str, &str)]| read(pairs).unwrap().sections[OWN_SECTION].clone();
        for key in ["passphrase", "passphrase_cmd", "ignore", "ignore-file"] {
            assert_eq!(own(&[&given[..], &[(key, "x")]].concat()), own(&given), "{key}");
        }
    }

    #[test]
    fn relative_folders_are_refused() {
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
    fn a_cache_too_small_for_a_block_is_refused() {
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
