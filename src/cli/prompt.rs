//! Questions on the terminal itself, because stdin and stdout may belong to a script.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
};

use rpassword::ConfigBuilder;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::Error;
use crate::{message, secret};

fn terminal() -> io::Result<File> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    if terminal.is_terminal() { Ok(terminal) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Asks for a line. Returns an empty one if the input ends.
pub fn line(question: &str) -> Result<String, Error> {
    let ask = || {
        let mut terminal = terminal()?;
        terminal.write_all(message::printable(question).as_bytes())?;
        let mut answer = String::new();
        BufReader::new(terminal).read_line(&mut answer)?;
        io::Result::Ok(answer.trim().to_owned())
    };
    ask().map_err(|_| no_terminal())
}

/// Asks for a password without showing the typed characters. Ctrl-C restores the terminal and ends
/// the process.
pub fn password(question: &str) -> Result<String, Error> {
    let ask = |mut terminal: File| {
        // The mode is set before the question is printed, so that no typed character is shown.
        let hidden = Hidden::begin(terminal.try_clone()?)?;
        terminal.write_all(message::printable(question).as_bytes())?;
        let typed = ConfigBuilder::new().input_reader(hidden).output_discard().build();
        let password = rpassword::read_password_with_config(typed);
        terminal.write_all(b"\n")?;
        password
    };
    let terminal = terminal().map_err(|_| no_terminal())?;
    let password = ask(terminal).map_err(Error::io("no password was read"))?;
    secret::conceal(&password);
    Ok(password)
}

/// The character that Ctrl-C sends.
const CTRL_C: u8 = 3;

/// A terminal that does not show typed characters until this is dropped. rpassword does the same,
/// but raises the signal of Ctrl-C before it has restored the terminal.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn begin(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut mode = before.clone();
        mode.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        mode.special_codes[SpecialCodeIndex::VMIN] = 1;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &mode)?;
        Ok(Self { terminal, before })
    }

    fn end(&self) {
        // Fails for a terminal that is gone, whose mode does not matter.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

impl Read for Hidden {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.terminal.read(buffer)?;
        if buffer[..count].contains(&CTRL_C) {
            self.end();
        }
        Ok(count)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads a password from the first line of stdin.
pub fn password_from_stdin() -> Result<String, Error> {
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
