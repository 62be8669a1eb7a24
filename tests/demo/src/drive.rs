//! The simulated iCloud of the demo, and its content.

use std::path::PathBuf;
use std::process::Stdio;

use icloud_simulator::{AccountRules, Config, Content, Mutation, RequestKind, Rules, SeedTree, Simulator};
use plakar_host::{Settings, Surroundings};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Digests, FILES, Failure};

/// The delay of every response.
pub const LATENCY_MS: u64 = 20;
/// 2024-05-17 12:00:00 UTC in milliseconds since 1970.
const MODIFIED: i64 = 1_715_947_200_000;
/// The name of the account.
const ACCOUNT: &str = "icloud";
/// The exit code of `login` when Apple has sent a code.
const NEEDS_CODE: i32 = 10;

pub struct Drive {
    pub simulator: Simulator,
    rules: AccountRules,
    /// The state folder of the account and its session.
    state: TempDir,
}

impl Drive {
    pub fn start() -> Result<Self, Failure> {
        let mut rules = Rules::default();
        rules.transport.latency_ms = LATENCY_MS;
        let simulator = Simulator::start(Config { rules, ..Config::default() })?;
        let folder = |name: &str| format!("{FILES}/{name}");
        let seed = |prefix: &str, files, folders, size, seed| SeedTree {
            prefix: folder(prefix),
            files,
            folders,
            size,
            seed,
            modified_ms: MODIFIED,
        };
        simulator.seed(&seed("Documents", 240, 12, 8_000, 1));
        simulator.seed(&seed("Photos", 50, 4, 400_000, 1000));
        for (seed, name) in ["Caf\u{e9} %41.txt", "100% sure", "a:b", "empty"].into_iter().enumerate() {
            let size = if name == "empty" { 0 } else { 100 };
            simulator.put_file(&folder(name), Content::Generated { seed: seed as u64, size }, MODIFIED);
        }
        for seed in 0..6 {
            let content = Content::Generated { seed, size: 12 * 1024 * 1024 };
            simulator.put_file(&folder(&format!("Videos/{seed}.mov")), content, MODIFIED);
        }
        let rules = simulator.rules(|rules| rules.account.clone());
        Ok(Self { simulator, rules, state: TempDir::new()? })
    }

    pub fn apple_id(&self) -> &str {
        &self.rules.apple_id
    }

    /// Returns surroundings from which only the simulator can be reached.
    pub fn surroundings(&self) -> Result<Surroundings, Failure> {
        let surroundings = Surroundings::new()?;
        let authority = surroundings.root().join("ca.pem");
        self.simulator.write_ca(&authority)?;
        Ok(surroundings.with("HTTPS_PROXY", self.simulator.proxy_url()).with("SSL_CERT_FILE", authority))
    }

    /// Returns the settings for a folder of the drive of a signed-in account.
    pub fn settings(&self, folder: &str) -> Settings {
        Settings::new(&format!("icloud:///{folder}"))
            .with("account", ACCOUNT)
            .with("state_dir", self.state.path().to_string_lossy())
    }

    /// Signs in with the password and then with the code that the service sends.
    pub async fn sign_in(&self) -> Result<(), Failure> {
        let surroundings = self.surroundings()?;
        let password = ["--apple-id", self.apple_id(), "--password-stdin", "--no-wait"];
        self.login(&surroundings, &password, &self.rules.password, NEEDS_CODE).await?;
        self.login(&surroundings, &["--code", &self.rules.code], "", 0).await
    }

    async fn login(
        &self,
        surroundings: &Surroundings,
        arguments: &[&str],
        input: &str,
        wanted: i32,
    ) -> Result<(), Failure> {
        let mut command = Command::new(program()?);
        surroundings.apply(&mut command);
        command.arg("--state-dir").arg(self.state.path()).args(["login", ACCOUNT]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut login = command.spawn()?;
        if let Some(mut stdin) = login.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        let output = login.wait_with_output().await?;
        if output.status.code() == Some(wanted) {
            return Ok(());
        }
        Err(format!("login ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Changes the drive as another device would between two backups. Returns how many files of the
    /// drive are new or changed.
    pub fn change(&self) -> Result<u64, Failure> {
        let path = |name: &str| format!("{FILES}/{name}");
        let content = |seed| Content::Generated { seed, size: 8_000 };
        for seed in 0..3 {
            let write = Mutation::Write { content: content(seed + 5000), modified_ms: MODIFIED };
            self.simulator.mutate(&path(&format!("Documents/folder-00{seed}/file-00000{seed}.bin")), write)?;
            self.simulator.put_file(&path(&format!("New/{seed}.txt")), content(seed + 6000), MODIFIED);
            self.simulator.mutate(&path(&format!("Photos/folder-00{seed}/file-00000{seed}.bin")), Mutation::Trash)?;
        }
        self.simulator.mutate(&path("a:b"), Mutation::Touch { modified_ms: MODIFIED + 1000 })?;
        Ok(7)
    }

    /// Returns the files below a folder of the drive.
    pub fn files(&self, folder: &str) -> Digests {
        let below = |item: icloud_simulator::ItemInfo| {
            let path = item.path.strip_prefix(folder)?.to_owned();
            Some((path, item.sha256?)).filter(|(path, _)| path.starts_with('/'))
        };
        self.simulator.snapshot().into_iter().filter_map(below).collect()
    }

    /// Returns how many of these files have a content to download.
    pub fn downloads(&self, folder: &str) -> u64 {
        let items = self.simulator.snapshot().into_iter();
        items.filter(|item| item.path.starts_with(folder) && !item.folder && item.size > 0).count() as u64
    }

    /// Returns the number of requests of the step that runs or has just ended.
    pub fn counted(&self, kind: RequestKind) -> u64 {
        self.simulator.counts().of(kind)
    }
}

/// Returns the program under demonstration, which is this executable.
pub fn program() -> Result<PathBuf, Failure> {
    Ok(std::env::current_exe()?)
}

/// Returns bytes in hexadecimal.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
