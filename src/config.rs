//! Converts the map of names and values that plakar passes to a connector into a checked
//! configuration.

mod accounts;
mod location;
mod options;
mod origin;
mod sections;

use std::{collections::HashMap, path::PathBuf};

pub use location::Protocol;
pub use options::{Kind, OPTIONS, OnPartial, OptionSpec, SavedPackages, WARN_DAYS, names, restore_policy};
pub use origin::of_photos as origin_of_photos;
pub use sections::{HIDDEN_PASSWORD, ICLOUD, PHOTOS, PLAKAR_KEYS, SERVICE};

use crate::{
    account::{self, Access, Forecast, OnEvent, StateFolder},
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
    /// The start of the paths of the files in which processes list the temporary names of their
    /// uploads, if there is a state folder.
    pub leftovers: Option<PathBuf>,
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
        let mut sections = sections::from_options(map)?;
        let own = sections.entry(OWN_SECTION.to_owned()).or_default();
        if protocol == Protocol::Icloud {
            own.entry("type".to_owned()).or_insert_with(|| sections::ICLOUD.to_owned());
            if let Some(path) = location::in_photos(&location, &top)
                && sections::choose_photos(own)
            {
                top = path;
            }
        }
        origin::refuse_circles(&sections)?;
        let access = accounts::complete(&mut sections, &keys)?;
        cache.copies_dir = access.as_ref().map(|access| access.state.kept_folder());
        if !sections[OWN_SECTION].contains_key("type") {
            return Err(Error::Missing { key: "rclone_type", why: "it names rclone's backend, such as crypt" });
        }
        let origin = origin::of_section(&sections, OWN_SECTION);
        let state = match &access {
            Some(access) => Some(access.state.clone()),
            None => StateFolder::locate(None).ok(),
        };
        let leftovers = state.as_ref().map(|state| leftovers_prefix(state, &origin, &sections));
        let event_account = access.as_ref().and_then(|access| access.name.as_deref()).unwrap_or(&origin);
        let on_event = OnEvent::new(event_command, event_account, state, &format!("{origin} {location}"));
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
            leftovers,
            access,
            forecast,
            report,
            on_partial,
        })
    }
}

/// Returns the start of the paths of the files in which processes list the temporary names of their
/// uploads to the account or server of the sections.
fn leftovers_prefix(state: &StateFolder, origin: &str, sections: &Sections) -> PathBuf {
    let server = format!("{origin}\n{}", origin::identifying_options(sections));
    state.kept_folder().join(format!("{:032x}", xxhash_rust::xxh3::xxh3_128(server.as_bytes())))
}

#[cfg(test)]
mod tests;
