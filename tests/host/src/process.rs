//! One connector: a child process that serves gRPC over its stdin and stdout.

mod pipes;
mod surroundings;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::error::{Error, Result};
use pipes::Pipes;
pub use pipes::channel;
pub use surroundings::{Running, Surroundings};

/// How long the host waits for a response. plakar itself waits without a limit.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The interval at which the host tries to connect to a socket, as plakar does.
const DIAL: Duration = Duration::from_millis(50);

/// The role in which a connector is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The source of a backup.
    Importer,
    /// The destination of a restore.
    Exporter,
    /// A store, which holds a kloset.
    Storage,
}

impl Role {
    /// Returns the argument that the manifest passes to the executable.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Importer => "importer",
            Self::Exporter => "exporter",
            Self::Storage => "storage",
        }
    }
}

/// An executable and the arguments that make it serve a role.
#[derive(Clone, Debug)]
pub struct Executable {
    path: PathBuf,
    one_for_all: bool,
}

impl Executable {
    /// Returns an executable that gets its role as an argument.
    pub fn with_role_argument(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), one_for_all: true }
    }

    /// Returns a folder with an executable for each role, such as `rclone-importer`, as in the
    /// package of the Go plugin for rclone.
    pub fn one_for_each_role(folder: impl Into<PathBuf>) -> Self {
        Self { path: folder.into(), one_for_all: false }
    }

    fn command(&self, role: Role) -> Command {
        if self.one_for_all {
            let mut command = Command::new(&self.path);
            command.arg(role.argument());
            command
        } else {
            Command::new(self.path.join(format!("rclone-{}", role.argument())))
        }
    }
}

/// A running connector. It is killed on drop, and its stderr is printed if that happens during a
/// panic.
#[derive(Debug)]
pub struct Connector {
    child: Child,
    pid: Pid,
    pipes: Pipes,
    channel: Channel,
    stderr: Arc<Mutex<Vec<u8>>>,
    stderr_reader: JoinHandle<()>,
}

impl Connector {
    /// Starts the executable in a role and connects to it.
    ///
    /// # Errors
    /// Fails if the executable cannot be started, or it does not speak HTTP/2.
    pub async fn spawn(executable: &Executable, role: Role, surroundings: &Surroundings) -> Result<Self> {
        let mut command = executable.command(role);
        surroundings.apply(&mut command);
        Self::start(command).await
    }

    /// Starts a command that serves gRPC over its stdin and stdout.
    ///
    /// # Errors
    /// Fails as [`Connector::spawn`] does.
    pub async fn start(command: Command) -> Result<Self> {
        let (mut child, pid) = spawn(command)?;
        let pipes = match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Pipes::new(stdin, stdout),
            _ => return Err(gone()),
        };
        Self::over(child, pid, pipes).await
    }

    /// Starts the executable in a role and connects to the Unix socket on which it listens, as
    /// plakar 1.2 does for a connector in a container.
    ///
    /// # Errors
    /// Fails as [`Connector::spawn`] does.
    pub async fn listening(
        executable: &Executable,
        role: Role,
        surroundings: &Surroundings,
        socket: &Path,
    ) -> Result<Self> {
        let mut command = executable.command(role);
        surroundings.apply(&mut command);
        command.env("PLAKAR_PLUGIN_LISTEN", format!("unix://{}", socket.display()));
        let (child, pid) = spawn(command)?;
        let dial = async {
            let mut ticks = tokio::time::interval(DIAL);
            loop {
                ticks.tick().await;
                if let Ok(stream) = UnixStream::connect(socket).await {
                    return Ok(stream);
                }
            }
        };
        let (from, to) = within("connect", dial).await?.into_split();
        Self::over(child, pid, Pipes::new(to, from)).await
    }

    async fn over(mut child: Child, pid: Pid, pipes: Pipes) -> Result<Self> {
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let mut source = child.stderr.take().ok_or_else(gone)?;
        let sink = Arc::clone(&stderr);
        let stderr_reader = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut buffer).await {
                lock(&sink).extend_from_slice(&buffer[..count]);
            }
        });
        let channel = within("connect", channel(pipes.clone())).await?;
        Ok(Self { child, pid, pipes, channel, stderr, stderr_reader })
    }

    /// Returns the process id.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Returns the gRPC connection.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Returns what the connector has written to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&lock(&self.stderr)).into_owned()
    }

    /// Reports whether all processes have closed the connector's stderr.
    pub fn is_silent(&self) -> bool {
        self.stderr_reader.is_finished()
    }

    /// Closes the connector's stdin but not its stdout.
    pub fn end_input(&self) {
        self.pipes.end_input();
    }

    /// Closes both pipes, as when plakar dies.
    pub fn hang_up(&self) {
        self.pipes.hang_up();
    }

    /// Sends a signal; plakar sends SIGKILL when it is interrupted.
    ///
    /// # Errors
    /// Fails if the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).map_err(|errno| Error::Io(errno.into()))
    }

    /// Waits until the process and all holders of its stderr are gone.
    ///
    /// # Errors
    /// Fails if they still exist after the limit.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let operation = "exit";
        let end = async {
            let status = self.child.wait().await?;
            let _ = (&mut self.stderr_reader).await;
            Ok(status)
        };
        tokio::time::timeout(limit, end).await.map_err(|_| Error::Deadline { operation, limit })?
    }

    /// Returns the current and the peak memory in KiB, if the system has `/proc`.
    pub fn resident(&self) -> Option<Resident> {
        Resident::of(self.pid)
    }

    /// Ends stdin and waits for the exit.
    ///
    /// # Errors
    /// Fails if the process does not end within [`PATIENCE`], or not with success.
    pub async fn leave(mut self) -> Result<()> {
        self.hang_up();
        let status = self.wait(PATIENCE).await?;
        if status.success() {
            return Ok(());
        }
        let violation = format!("it ended with {status}; its stderr:\n{}", self.stderr());
        Err(Error::protocol("exit", violation))
    }
}

impl Drop for Connector {
    #[expect(clippy::print_stderr, reason = "the failure of a test needs it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- stderr of connector {}:\n{}", self.pid.as_raw_nonzero(), self.stderr());
        }
    }
}

/// Memory of a process in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// The current memory.
    pub now: u64,
    /// The peak memory.
    pub most: u64,
    /// The current memory that is not part of a file.
    pub anonymous: u64,
    /// Whether the kernel may use huge pages.
    pub may_use_huge_pages: bool,
}

impl Resident {
    fn of(pid: Pid) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        Some(Self {
            now: field("VmRSS:")?,
            most: field("VmHWM:")?,
            anonymous: field("RssAnon:")?,
            may_use_huge_pages: field("THP_enabled:") != Some(0),
        })
    }
}

/// Starts a command with pipes.
fn spawn(mut command: Command) -> Result<(Child, Pid)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command
        .spawn()
        .map_err(|source| Error::Start { executable: command.as_std().get_program().display().to_string(), source })?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or_else(gone)?;
    Ok((child, pid))
}

fn gone() -> Error {
    Error::from(std::io::Error::other("the connector has exited"))
}

/// Waits for a response, up to a limit.
pub(crate) async fn within<T>(operation: &'static str, response: impl Future<Output = Result<T>>) -> Result<T> {
    let limit = PATIENCE;
    tokio::time::timeout(limit, response).await.unwrap_or(Err(Error::Deadline { operation, limit }))
}

/// Waits until a condition holds.
///
/// # Panics
///
/// Panics if it does not hold within [`PATIENCE`].
pub async fn until(mut holds: impl FnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let wait = async {
        while !holds() {
            ticks.tick().await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, wait).await.is_ok();
    assert!(in_time, "a condition does not hold after {PATIENCE:?}");
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
