//! Finds the account of a configuration.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Account, Error, StateFolder};

/// How a connector accesses an account.
#[derive(Debug, Clone)]
pub struct Access {
    /// The state folder of the accounts.
    pub state: StateFolder,
    /// The account's name, if it has one.
    pub name: Option<String>,
    /// The file of its session.
    pub session_file: PathBuf,
    /// Whether the configuration contains a session, as one imported from rclone does. It is stored
    /// in the session file when the account is first opened.
    pub config_has_session: bool,
}

/// Completes the options of rclone's backend from the named account, or from the only one. Options
/// that contain an Apple ID, as in an imported configuration, need no account. They get a session
/// file, so that renewals are stored.
///
/// # Errors
/// Fails if the account does not exist or the choice is ambiguous.
pub fn resolve(
    options: &mut BTreeMap<String, String>,
    account: Option<&str>,
    state_dir: Option<&Path>,
) -> Result<Option<Access>, Error> {
    let given = options.get("apple_id").cloned();
    let state = match StateFolder::locate(state_dir) {
        Ok(state) => state,
        // A complete configuration works without a state folder.
        Err(Error::NoStateFolder) if given.is_some() && account.is_none() => return Ok(None),
        Err(error) => return Err(error),
    };
    let (name, account) = match (account, &given) {
        (None, Some(apple_id)) => account_of(&state, apple_id, options.get("client_id")),
        (name, _) => {
            let (name, account) = state.choose(name)?;
            (Some(name), Some(account))
        }
    };
    if let Some(account) = &account {
        if given.is_some_and(|given| !given.eq_ignore_ascii_case(&account.apple_id)) {
            return Err(Error::OtherAppleId(name.unwrap_or_default()));
        }
        options.insert("apple_id".to_owned(), account.apple_id.clone());
        if !account.client_id.is_empty() {
            options.insert("client_id".to_owned(), account.client_id.clone());
        }
        let known = [("password", account.password()), ("password_command", account.password_command.as_deref())];
        for (key, value) in known.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            options.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    let of = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    let session_file = match of("session_file") {
        "" => state.session_file(of("apple_id"), of("client_id")),
        named => PathBuf::from(named),
    };
    let config_has_session = !of("trust_token").is_empty() || !of("cookies").is_empty();
    options.insert("session_file".to_owned(), session_file.to_string_lossy().into_owned());
    Ok(Some(Access { state, name, session_file, config_has_session }))
}

/// Returns the account of an Apple ID, to supply the password that a configuration lacks. An
/// account file that cannot be read is ignored, because the configuration does not name it.
fn account_of(state: &StateFolder, apple_id: &str, client_id: Option<&String>) -> (Option<String>, Option<Account>) {
    let client_id = client_id.map(String::as_str).unwrap_or_default();
    let matches = |account: &Account| account.apple_id.eq_ignore_ascii_case(apple_id) && account.client_id == client_id;
    state.accounts().ok().and_then(|accounts| accounts.into_iter().find(|(_, account)| matches(account))).unzip()
}
