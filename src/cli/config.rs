//! The command `config`: writes configurations for plakar and reads those of rclone.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::PathBuf,
};

use clap::{Args, Subcommand};

use super::{AccountArg, Error, ExitStatus, Section, output, plakar, schema};
use crate::{
    account::{self, Account, StateFolder},
    config::HIDDEN_PASSWORD,
    rclone::{Rclone, configuration},
    secret,
};

/// The maximum size of a configuration of rclone.
const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// Write and read configurations.
#[derive(Debug, Args)]
pub struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(Show),
    Import(Import),
    Schema(schema::Schema),
}

impl Config {
    /// Runs the subcommand.
    pub async fn run(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        match self.command {
            Command::Show(show) => show.run(state).await,
            Command::Import(import) => import.run(state).await,
            Command::Schema(schema) => schema.run().await,
        }
    }
}

/// Print a section for `plakar source import`, `plakar destination import` or `plakar store
/// import`.
#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    which: AccountArg,
    /// Connector that the section is for
    #[arg(long, value_enum, default_value = "source")]
    role: Section,
    /// Print the secrets instead of the account's name, for use on another machine
    #[arg(long)]
    secrets: bool,
}

impl Show {
    async fn run(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        let (name, account) = state.choose(self.which.name.as_deref())?;
        let mut section = BTreeMap::from([("location", plakar::location(self.role).to_owned())]);
        if self.secrets {
            let session_file = state.session_file(&account.apple_id, &account.client_id);
            let exported = Rclone::start().export(&session_file).await?;
            section.insert("apple_id", account.apple_id.clone());
            section.insert("trust_token", exported.trust_token);
            // With the trust token and the password, the other machine can get new cookies. The
            // cookies are left out where possible, because plakar shows them: it does not treat
            // them as secrets.
            match account.password() {
                Some(password) => section.insert("password", password.to_owned()),
                None => section.insert("cookies", exported.cookies),
            };
        } else {
            section.insert("account", name.clone());
            if state.must_be_named() {
                section.insert("state_dir", state.path().display().to_string());
            }
        }
        // JSON is valid YAML, so plakar can read it.
        output::print_json_with_secrets(&BTreeMap::from([(name, section)]))?;
        Ok(ExitStatus::Success)
    }
}

/// Create an account from a section of rclone's configuration.
///
/// Reads a file such as rclone.conf, or the output of `rclone config dump`. The output of `rclone
/// config show` lacks the password: an account that is created from it works as long as its session
/// can be renewed without a password.
#[derive(Debug, Args)]
struct Import {
    /// Name of the section [default: the only one of iCloud]
    section: Option<String>,
    /// File to read [default: stdin]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name of the account [default: that of the section]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Import {
    async fn run(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        let text = match &self.file {
            Some(file) => {
                let text = fs::File::open(file).and_then(read_configuration);
                text.map_err(Error::io(format!("cannot read {}", file.display())))?
            }
            None => read_configuration(io::stdin().lock()).map_err(Error::io("cannot read stdin"))?,
        };
        if configuration::is_encrypted(&text) {
            return Err(Error::Failed(
                "this configuration of rclone is encrypted: run rclone config dump | plakar-icloud config import, which \
                 asks for its password"
                    .to_owned(),
            ));
        }
        let mut sections = configuration::sections(&text);
        sections.retain(|name, options| {
            options.get("type").is_some_and(|kind| kind == "iclouddrive" || kind == "icloud")
                && self.section.as_ref().is_none_or(|wanted| wanted == name)
        });
        let names = sections.keys().cloned().collect::<Vec<_>>().join(", ");
        let (section, options) = match (sections.pop_first(), sections.is_empty()) {
            (Some(one), true) => one,
            (Some(_), false) => {
                return Err(Error::Usage(format!(
                    "there are several sections of iCloud ({names}): choose one by its name"
                )));
            }
            (None, _) => return Err(Error::Failed("the configuration has no section of type iclouddrive".to_owned())),
        };
        let of = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
        for key in ["password", "trust_token"] {
            secret::conceal(of(key));
        }
        secret::conceal_cookies(of("cookies"));
        if of("apple_id").is_empty() {
            return Err(Error::Failed(format!("section {section} has no apple_id")));
        }
        let mut account = Account::new(of("apple_id"), of("client_id"));
        if !matches!(of("password"), "" | HIDDEN_PASSWORD) {
            account.set_password(of("password").to_owned());
        }
        let name = self.name.unwrap_or(section);
        check_name(state, &name, &account)?;
        let identity = account.identity(state);
        let rclone = Rclone::start();
        if !of("trust_token").is_empty() || !of("cookies").is_empty() {
            if rclone.describe(identity.session_file.as_ref()).await?.needs_login {
                rclone.adopt(&identity, of("trust_token"), of("cookies")).await?;
            } else {
                output::note(&format!(
                    "Kept the existing session of {}; to use that of the file, first run plakar-icloud logout {name}",
                    account.apple_id
                ));
            }
        }
        state.save(&name, &account)?;
        output::note(&format!("Imported as account {name}; to check it, run plakar-icloud status {name}"));
        Ok(ExitStatus::Success)
    }
}

/// Reads a configuration, which may come from a pipe, up to [`MAX_SIZE`] bytes.
fn read_configuration(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MAX_SIZE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(io::Error::other(format!("it has more than {MAX_SIZE} bytes")));
    }
    Ok(text)
}

/// Refuses a name that is invalid or that belongs to an account of another Apple ID.
fn check_name(state: &StateFolder, name: &str, account: &Account) -> Result<(), Error> {
    match state.account(name) {
        Ok(known) if known.apple_id != account.apple_id => Err(Error::Usage(format!(
            "account {name} belongs to another Apple ID, {}: choose another name with --name",
            known.apple_id
        ))),
        Ok(_) | Err(account::Error::Unknown { .. }) => Ok(()),
        Err(error @ account::Error::Name(_)) => Err(Error::Usage(format!("{error}; give one with --name"))),
        Err(error) => Err(error.into()),
    }
}
