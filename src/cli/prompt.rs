//! Questions, asked on the terminal itself: stdin and stdout may be a script's.

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

/// Asks for a line. Empty if the input ends.
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

/// Asks for a password; what is typed does not show. Ctrl-C ends the process,
/// and leaves the terminal as it was.
pub fn password(question: &str) -> Result<String, Error> {
    let ask = |mut terminal: File| {
        // First the mode: nothing that is typed at the question may show.
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

/// What Ctrl-C sends.
const CTRL_C: u8 = 3;

/// A terminal that does not show what is typed, until this is dropped. rpassword
/// does the same, but raises Ctrl-C's signal before it has put the terminal back.
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
        // It fails for a terminal that is gone, which needs no mode.
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
