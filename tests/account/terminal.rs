//! A sign-in at a terminal, as by a new user.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
};

use icloud_simulator::{RequestKind, TrustedPhone};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use crate::person::{APPLE_ID, CODE, Person};

/// A command on a separate terminal.
struct Terminal {
    /// The other end, which sends keys and receives the output.
    end: File,
    child: Child,
    shown: String,
}

impl Terminal {
    fn start(person: &Person, columns: u16, arguments: &[&str]) -> Self {
        let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&end).unwrap();
        unlockpt(&end).unwrap();
        tcsetwinsize(&end, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&end, Vec::new()).unwrap();
        // The first terminal that the leader of a session opens becomes its controlling terminal.
        // If the tests run in the background, Ctrl-C may be ignored.
        let child = Command::new("setsid")
            .args(["env", "--default-signal=INT", "sh", "-c", r#"exec "$@" <>"$0" >&0 2>&1"#, name.to_str().unwrap()])
            .arg(env!("CARGO_BIN_EXE_plakar-icloud"))
            .args(arguments)
            .env_clear()
            .envs(&person.variables)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { end: end.into(), child, shown: String::new() }
    }

    /// Waits for a text in the new output.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        while !self.shown.contains(text) {
            assert!(self.read(), "{text:?} is not shown, but:\n{}", self.shown);
        }
        self.shown = self.shown.split_off(self.shown.find(text).unwrap() + text.len());
    }

    /// Reads further output. Returns false if the command has ended.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        // Fails when no process has the terminal open any more.
        let count = self.end.read(&mut buffer).unwrap_or(0);
        self.shown += &String::from_utf8_lossy(&buffer[..count]);
        count > 0
    }

    fn types(&mut self, keys: &str) {
        self.end.write_all(keys.as_bytes()).unwrap();
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.end).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Returns the exit status and the rest of the output.
    fn ends(mut self) -> (ExitStatus, String) {
        while self.read() {}
        (self.child.wait().unwrap(), self.shown)
    }

    /// Does the same as `ends`, and checks that the terminal shows typed characters again.
    fn ends_with_echo(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        assert!(self.echoes());
        while self.read() {}
        (status, self.shown)
    }
}

#[test]
fn a_sign_in_succeeds_after_a_wrong_code_and_a_typing_error() {
    let person = Person::new();
    person.simulator.rules(|rules| {
        let second = TrustedPhone { id: 7, number: "+00 34".to_owned(), mode: "sms".to_owned() };
        rules.account.phones.push(second);
    });
    let mut terminal = Terminal::start(&person, 60, &["login"]);
    terminal.shows("Apple ID: ");
    terminal.types("User@example.com\n");
    terminal.shows("Password of user@example.com");
    terminal.types("correct horse\n");
    terminal.shows("sent a code to your trusted devices.");
    terminal.shows("d: send it by SMS to +00 34");
    terminal.shows("letter from above: ");
    terminal.types("000000\n");
    terminal.shows("This is not the code");
    terminal.shows("letter from above: ");
    terminal.types("hm\n");
    terminal.shows("A code has six digits.");
    terminal.types("d\n");
    terminal.shows("by SMS to +00 34.");
    terminal.shows("letter from above: ");
    terminal.types("654 321\n");
    terminal.shows("Signed in as user@example.com; the account is called icloud.");
    let (status, rest) = terminal.ends();
    assert!(status.success());
    assert!(rest.contains("plakar source add icloud icloud:// account=icloud\r\n"), "{rest}");
    assert_eq!(person.count(RequestKind::SigninInit), 1);
}

#[test]
fn a_password_is_not_shown_and_ctrl_c_restores_the_terminal() {
    let person = Person::new();
    let mut terminal = Terminal::start(&person, 80, &["login", "--apple-id", APPLE_ID]);
    terminal.shows("(not shown): ");
    terminal.types("corr\x03");
    let (status, rest) = terminal.ends_with_echo();
    assert_eq!(status.signal(), Some(2), "the status that a shell expects after Ctrl-C");
    assert!(!rest.contains("corr"), "{rest}");
    assert_eq!(person.simulator.counts().total.requests, 0);
}

#[test]
fn ctrl_c_ends_the_wait_for_an_approval() {
    let person = Person::new();
    person.simulator.rules(|rules| {
        rules.account.advanced_data_protection = true;
        rules.account.pcs_approval_after = 1_000;
    });
    person.begin(&[]).ends(10);
    let mut terminal = Terminal::start(&person, 60, &["login", "--code", CODE]);
    terminal.shows("Access iCloud Data on");
    terminal.shows("4:59 left (Ctrl-C ends it)");
    terminal.types("\x03");
    let (status, _) = terminal.ends_with_echo();
    assert_eq!(status.signal(), Some(2));
    assert_eq!(person.count(RequestKind::DeviceConsent), 1);
}

#[test]
fn lines_are_broken_between_words() {
    let person = Person::new();
    for columns in [60, 80] {
        let mut terminal = Terminal::start(&person, columns, &["login", "--apple-id", APPLE_ID]);
        terminal.shows("(not shown): ");
        terminal.types("wrong battery\n");
        let (status, rest) = terminal.ends();
        assert_eq!(status.code(), Some(10));
        assert!(rest.lines().all(|line| line.chars().count() <= columns.into()), "{columns}: {rest}");
        let words = rest.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("Apple rejected the password (Apple responded with the status 401"), "{rest}");
        assert!(words.contains("run plakar-icloud login icloud"), "{rest}");
    }
    let (_, help) = Terminal::start(&person, 60, &["login", "--help"]).ends();
    assert!(help.lines().all(|line| line.chars().count() <= 60), "{help}");
}
