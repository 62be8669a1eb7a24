//! A user with a home, a shell and an Apple Account.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use icloud_simulator::{Config, FaultAction, FaultRule, RequestKind, Simulator};
use plakar_host::{Executable, Host, Surroundings};
use serde_json::Value;
use tempfile::TempDir;

pub const APPLE_ID: &str = "user@example.com";
pub const PASSWORD: &str = "correct horse";
pub const CODE: &str = "123456";

/// The id of a user who owns no files.
const NOBODY: u32 = 65534;

/// The output and the exit status of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Returns the whole output.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

pub struct Person {
    pub simulator: Simulator,
    home: TempDir,
    pub variables: BTreeMap<&'static str, String>,
}

impl Person {
    pub fn new() -> Self {
        let simulator = Simulator::start(Config::default()).unwrap();
        let home = TempDir::new().unwrap();
        let authority = home.path().join("ca.pem");
        simulator.write_ca(&authority).unwrap();
        let variables = BTreeMap::from([
            ("HOME", home.path().display().to_string()),
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("TMPDIR", home.path().display().to_string()),
            ("HTTPS_PROXY", simulator.proxy_url()),
            ("SSL_CERT_FILE", authority.display().to_string()),
        ]);
        Self { simulator, home, variables }
    }

    /// Returns a signed-in user. The simulator counts the requests from then on.
    pub fn signed_in() -> Self {
        let person = Self::new();
        person.sign_in();
        person.simulator.reset_counts();
        person
    }

    pub fn sign_in(&self) -> Ran {
        self.begin(&[]).ends(10);
        self.run(&["login", "--code", CODE]).ends(0)
    }

    /// Runs the first of the two steps of a sign-in.
    pub fn begin(&self, more: &[&str]) -> Ran {
        let arguments = ["login", "--apple-id", APPLE_ID, "--password-stdin", "--no-wait"];
        self.run_with(&[&arguments, more].concat(), PASSWORD)
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    pub fn run_with(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut child = self.spawn(arguments);
        // A command that does not read its stdin may have ended already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        finished(child)
    }

    /// Starts a command without a terminal.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Starts a command as a user who owns none of this user's files, which only root can do. The
    /// build folder of cargo may not be readable by other users.
    pub fn spawn_as_nobody(&self, arguments: &[&str]) -> Child {
        let program = self.file("program");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_plakar-icloud"), &program).unwrap();
        }
        let mut command = self.command_of(&program, arguments);
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.spawn().unwrap()
    }

    /// Lets all users read this user's files, and makes the state folder read-only for this user.
    pub fn let_everybody_read(&self) {
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(self.home.path(), 0o755);
        for folder in [".local", ".local/state"] {
            set(&self.file(folder), 0o755);
        }
        for folder in ["accounts", "sessions", ""] {
            let folder = self.state().join(folder);
            let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            files.filter(|path| path.is_file()).for_each(|path| set(&path, 0o444));
            set(&folder, 0o555);
        }
    }

    /// Runs another program.
    pub fn run_program(&self, program: &Path, arguments: &[&str]) -> Ran {
        finished(self.command_of(program, arguments).spawn().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_plakar-icloud")), arguments)
    }

    fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn state(&self) -> PathBuf {
        self.home.path().join(".local/state/plakar-icloud")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Returns a host whose connectors run in this user's environment.
    pub fn host(&self) -> Host {
        let mut surroundings = Surroundings::new().unwrap();
        for (name, value) in &self.variables {
            surroundings.set(*name, value);
        }
        surroundings.set("XDG_STATE_HOME", self.home.path().join(".local/state"));
        Host::new(Executable::with_role_argument(env!("CARGO_BIN_EXE_plakar-icloud")), surroundings)
    }

    /// Returns the only session file.
    pub fn session_file(&self) -> PathBuf {
        let files = fs::read_dir(self.state().join("sessions")).unwrap().map(|entry| entry.unwrap().path());
        files.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "json")).unwrap()
    }

    pub fn session(&self) -> Value {
        serde_json::from_slice(&fs::read(self.session_file()).unwrap()).unwrap()
    }

    /// Changes the stored session.
    pub fn change_session(&self, change: impl FnOnce(&mut Value)) {
        let mut session = self.session();
        change(&mut session);
        fs::write(self.session_file(), session.to_string()).unwrap();
    }

    pub fn count(&self, kind: RequestKind) -> u64 {
        self.simulator.counts().of(kind)
    }

    pub fn respond(&self, kind: RequestKind, status: u16, headers: &[(&str, &str)]) {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.simulator.add_fault(FaultRule::new(kind, FaultAction::Status { status, body: String::new(), headers }));
    }
}

pub fn finished(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
