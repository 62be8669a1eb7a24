//! Questions, asked on the terminal itself: stdin and stdout may be a script's.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, IsTerminal, Write},
};

use super::Error;
use crate::secret;

fn terminal() -> io::Result<File> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    if terminal.is_terminal() { Ok(terminal) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Asks for a line. Empty if the input ends.
pub fn line(question: &str) -> Result<String, Error> {
    let ask = || {
        let mut terminal = terminal()?;
        terminal.write_all(question.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(terminal).read_line(&mut answer)?;
        io::Result::Ok(answer.trim().to_owned())
    };
    ask().map_err(|_| no_terminal())
}

/// Asks for a password; what is typed does not show. Ctrl-C ends it, and leaves
/// the terminal as it was.
pub fn password(question: &str) -> Result<String, Error> {
    terminal().map_err(|_| no_terminal())?;
    let password = rpassword::prompt_password(question).map_err(Error::io("no password was read"))?;
    secret::conceal(&password);
    Ok(password)
}

/// Reads a password from stdin: its first line.
pub fn password_of_stdin() -> Result<String, Error> {
    let mut password = String::new();
    io::stdin().lock().read_line(&mut password).map_err(Error::io("no password was read from stdin"))?;
    let password = password.trim_end_matches(['\n', '\r']).to_owned();
    secret::conceal(&password);
    Ok(password)
}

fn no_terminal() -> Error {
    Error::Usage(
        "there is no terminal to ask on: give --apple-id, and --password-stdin or --password-command; \
         with --no-wait the code can be given later with --code"
            .to_owned(),
    )
}
