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

/// Completes every iCloud section from its account, and replaces rclone's backend with that of this
/// program, which accepts the same options. Returns the access of the section to open or, if that
/// is a wrapper such as crypt, of the section below it.
pub fn complete(sections: &mut Sections, keys: &AccountKeys) -> Result<Option<Access>, Error> {
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
        refuse_truncated(options, access.as_ref())?;
        accesses.insert(name.clone(), access);
    }
    let own = accesses.remove(OWN_SECTION).or_else(|| accesses.into_values().next());
    Ok(own.flatten())
}

/// Refuses a section that cannot sign in: plakar's import of `rclone config show` stores neither
/// the password nor the cookies after the first.
fn refuse_truncated(options: &BTreeMap<String, String>, access: Option<&Access>) -> Result<(), Error> {
    let of = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    let signs_in = !of("password").is_empty() || !of("password_command").is_empty();
    let is_cut = !of("cookies").is_empty() && !of("cookies").contains(';');
    let has_session = access.is_some_and(|access| access.name.is_some() || access.session_file.exists());
    if is_cut && !signs_in && !has_session {
        return Err(Error::Truncated { apple_id: of("apple_id").to_owned() });
    }
    Ok(())
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
