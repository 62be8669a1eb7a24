//! The command lines that add an account to plakar's configuration by its name, without a secret.

use std::process::{Command, Stdio};

use super::{Error, Section};
use crate::account::StateFolder;

/// Returns the default location of a connector in iCloud. A store gets its own folder, because it
/// lists everything in its location.
pub fn location(section: Section) -> &'static str {
    match section {
        Section::Source | Section::Destination => "icloud://",
        Section::Store => "icloud:///plakar",
    }
}

/// Returns the command line that adds an account to plakar's configuration.
pub fn line(section: Section, name: &str, state: &StateFolder) -> Vec<String> {
    let account = format!("account={name}");
    let words = ["plakar", section.name(), "add", name, location(section), &account];
    let mut line: Vec<String> = words.map(str::to_owned).into();
    if state.must_be_named() {
        line.push(format!("state_dir={}", state.path().display()));
    }
    line
}

/// Returns a command line quoted for a shell.
pub fn shown(words: &[String]) -> String {
    let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=@".contains(&byte));
    let quoted =
        words.iter().map(|word| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Runs a command line.
pub fn run(line: &[String]) -> Result<(), Error> {
    let run = Command::new(&line[0]).args(&line[1..]).stdin(Stdio::null()).status();
    let status = run.map_err(Error::io("plakar cannot be run; is it on PATH?"))?;
    if status.success() {
        Ok(())
    } else {
        let why = "see above; remove what exists already with plakar's rm";
        Err(Error::Failed(format!("plakar rejected it ({status}): {}: {why}", shown(line))))
    }
}
