//! The accounts of the sections of a configuration.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use super::{
    Error, options,
    sections::{ICLOUD, OWN_SECTION, is_icloud},
};
use crate::{
    account::{self, Access},
    rclone::Sections,
};

/// This program's options about accounts. A configuration without iCloud leaves them to the
/// backend, because other backends have an option `account` too.
#[derive(Default)]
pub struct AccountKeys {
    account: Option<String>,
    state_dir: Option<PathBuf>,
    password_command: Option<String>,
}

impl AccountKeys {
    /// Removes the options from the map and returns them.
    pub fn take(map: &mut HashMap<String, String>) -> Result<Self, Error> {
        Ok(Self {
            account: options::ACCOUNT.text(map),
            password_command: options::PASSWORD_COMMAND.text(map),
            state_dir: options::STATE_DIR.path(map)?,
        })
    }
}

/// Completes every iCloud section from its account, and replaces rclone's backend by that of this
/// program, which accepts the same options. Returns the access of the section to open or, if that
/// is a wrapper such as crypt, of the section below it.
pub fn of(sections: &mut Sections, keys: &AccountKeys) -> Result<Option<Access>, Error> {
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

/// Renames the section to open after the account, because rclone's errors show the name. Returns
/// the name.
pub fn name_section(sections: &mut Sections, access: Option<&Access>) -> String {
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
