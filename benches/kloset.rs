//! What a kloset in iCloud costs, in requests, bytes and time, beside restic.
//!
//! `cargo bench --bench kloset` with plakar on PATH; restic and rclone too, for
//! their rows. Both use the same simulated iCloud, whose answers take 40 ms.
//! Counts come from the service's side, so they are over all processes. Fails
//! if a row takes more requests or bytes than it should.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use icloud_simulator::{Config, Content, RequestKind, Simulator};
use plakar_host::{Executable, Host, Plakar, Resource, Settings, Surroundings};
use tokio::process::Command;

const MIB: u64 = 1024 * 1024;
const LATENCY_MS: u64 = 40;
/// Bytes a second of the link, for the large file.
const RATE: u64 = 20_000_000;
const FILES: usize = 2000;
const FILE: u64 = 4000;
const LARGE: u64 = 100_000_000;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(run())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kloset: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a step has cost.
struct Cost {
    requests: u64,
    down: u64,
    up: u64,
    took: Duration,
}

struct Bench {
    simulator: Simulator,
    plakar: Plakar,
    folder: tempfile::TempDir,
    within: bool,
}

impl Bench {
    async fn new(executable: PathBuf) -> Result<Self, Failure> {
        let simulator = Simulator::start(Config::default())?;
        simulator.rules(|rules| rules.transport.latency_ms = LATENCY_MS);
        let folder = tempfile::tempdir()?;
        let authority = folder.path().join("ca.pem");
        simulator.write_ca(&authority)?;
        let surroundings = surroundings(&simulator, &authority)?;
        let plakar = Plakar::new(executable, surroundings).await?;
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifest.yaml");
        let package = plakar.pack(&manifest, Path::new(env!("CARGO_BIN_EXE_plakar-icloud"))).await?;
        plakar.install(&package).await?;
        let bench = Self { simulator, plakar, folder, within: true };
        bench.plakar.define("store", "there", &bench.settings("icloud:///kloset")).await?;
        bench.plakar.must(["at", "@there", "create", "-plaintext"]).await?;
        Ok(bench)
    }

    fn settings(&self, location: &str) -> Settings {
        let session = self.simulator.mint_session();
        Settings::new(location)
            .with("apple_id", session.apple_id)
            .with("trust_token", session.trust_token)
            .with("cookies", session.cookies)
            .with("session_file", self.path("session/session.json"))
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    async fn cost(&self, work: impl Future<Output = Result<(), Failure>>) -> Result<Cost, Failure> {
        // The daemon that plakar leaves behind would spare the next command its start.
        self.plakar.surroundings().deserted().await?;
        self.simulator.reset_counts();
        let began = Instant::now();
        work.await?;
        let took = began.elapsed();
        let counts = self.simulator.counts();
        let up = counts.kinds.get(&RequestKind::ContentPost).map_or(0, |count| count.bytes_in);
        Ok(Cost { requests: counts.total.requests, down: counts.total.bytes_out, up, took })
    }

    async fn plakar(&mut self, row: &str, most: u64, bytes: u64, arguments: &[&str]) -> Result<Cost, Failure> {
        let arguments = ["at", "@there"].iter().chain(arguments).copied();
        // However long it takes: the machine may be slow or busy.
        let work = async {
            let output = self.plakar.start(arguments)?.wait_with_output().await?;
            let text = String::from_utf8_lossy(&output.stderr);
            if output.status.success() { Ok(()) } else { Err(format!("{row}: {text}").into()) }
        };
        let cost = self.cost(work).await?;
        self.say(row, &cost, most, bytes);
        Ok(cost)
    }

    fn say(&mut self, row: &str, cost: &Cost, most: u64, bytes: u64) {
        let kept = cost.requests <= most && cost.down <= bytes;
        self.within &= kept;
        let most = if most == u64::MAX { "any".to_owned() } else { most.to_string() };
        println!(
            "{row:<34} {:>5} of {most:>3} requests {:>8.2} MiB down {:>8.2} MiB up {:>8.2} s{}",
            cost.requests,
            cost.down as f64 / MIB as f64,
            cost.up as f64 / MIB as f64,
            cost.took.as_secs_f64(),
            if kept { "" } else { "  TOO MUCH" }
        );
    }

    fn packfiles(&self) -> u64 {
        let items = self.simulator.snapshot();
        items.iter().filter(|item| item.path.starts_with("kloset/packfiles/")).map(|item| item.size).sum()
    }
}

fn surroundings(simulator: &Simulator, authority: &Path) -> Result<Surroundings, Failure> {
    Ok(Surroundings::new()?.with("HTTPS_PROXY", simulator.proxy_url()).with("SSL_CERT_FILE", authority))
}

async fn run() -> Result<bool, Failure> {
    let Some(executable) = Plakar::on_path() else {
        return Err("plakar is not on PATH".into());
    };
    let mut bench = Bench::new(executable).await?;
    let source = bench.path("source");
    write_files(Path::new(&source))?;
    let any = u64::MAX;
    let backup = bench.plakar("back up 2,000 small files", 35, any, &["backup", "-no-progress", &source]).await?;
    let packed = bench.packfiles() * 3 / 2;
    let to = bench.path("restored");
    let restore = bench.plakar("restore them", 30, packed, &["restore", "-to", &to]).await?;
    let check = bench.plakar("check", 36, any, &["check"]).await?;
    let ls =
        bench.plakar("ls -recursive", 14, any, &["ls", "-recursive", &format!("{}:/", bench.latest().await?)]).await?;
    bench.plakar("first maintenance", 40, any, &["maintenance"]).await?;
    bench.large_file().await?;
    bench.puts().await?;
    bench.restic(&source, &[("backup", backup), ("restore", restore), ("check", check), ("ls", ls)]).await?;
    Ok(bench.within)
}

impl Bench {
    async fn latest(&self) -> Result<String, Failure> {
        let listed = self.plakar.must(["at", "@there", "ls"]).await?;
        let id = listed.lines().next().and_then(|line| line.split_whitespace().nth(1));
        Ok(id.ok_or("ls shows no snapshot")?.to_owned())
    }

    async fn large_file(&mut self) -> Result<(), Failure> {
        let folder = self.path("large");
        std::fs::create_dir_all(&folder)?;
        let file = format!("{folder}/file");
        std::fs::write(&file, Content::Generated { seed: 7, size: LARGE }.read(0, LARGE))?;
        self.plakar("back up a file of 100 MB", u64::MAX, u64::MAX, &["backup", "-no-progress", &folder]).await?;
        let file = format!("{}:{file}", self.latest().await?);
        self.simulator.rules(|rules| rules.transport.content_rate = RATE);
        let cost = self.plakar("cat of it at 20 MB/s", 30, LARGE * 11 / 10, &["cat", &file]).await?;
        self.simulator.rules(|rules| rules.transport.content_rate = 0);
        let rate = LARGE as f64 / cost.took.as_secs_f64() / RATE as f64;
        println!("{:<34} {:.0} % of the link, start of plakar included", "", rate * 100.0);
        Ok(())
    }

    /// A Put of one packfile, by how many are there.
    async fn puts(&mut self) -> Result<(), Failure> {
        for count in [100_u32, 1_000, 10_000] {
            let simulator = Simulator::start(Config::default())?;
            for number in 0..count {
                let path = format!("kloset/packfiles/{number:064x}");
                simulator.put_file(&path, Content::Generated { seed: 1, size: 1000 }, 1_700_000_000_000);
            }
            let authority = self.folder.path().join(format!("ca-{count}.pem"));
            simulator.write_ca(&authority)?;
            let program = Executable::with_role_argument(env!("CARGO_BIN_EXE_plakar-icloud"));
            let host = Host::new(program, surroundings(&simulator, &authority)?);
            let session = simulator.mint_session();
            let settings = Settings::new("icloud:///kloset")
                .with("apple_id", session.apple_id)
                .with("trust_token", session.trust_token)
                .with("cookies", session.cookies);
            let store = host.store(&settings).await?;
            let put = async |number: u8| store.put(Resource::Packfile, [number; 32], vec![number; 4096].into()).await;
            put(0xfe).await?;
            let first = simulator.counts().total;
            put(0xff).await?;
            let both = simulator.counts().total;
            let resident = store.connector().resident().map_or(0, |resident| resident.most / 1024);
            println!(
                "{:<34} {:>5} requests {:>8} bytes down; the first {} requests, {} bytes; {resident} MiB of memory",
                format!("Put among {count} packfiles"),
                both.requests - first.requests,
                both.bytes_out - first.bytes_out,
                first.requests,
                first.bytes_out,
            );
        }
        Ok(())
    }

    /// The same work by restic through rclone, where both are installed.
    async fn restic(&self, source: &str, ours: &[(&str, Cost)]) -> Result<(), Failure> {
        if ["restic", "rclone"].into_iter().any(|program| !is_on_path(program)) {
            println!("restic or rclone is not on PATH: no comparison");
            return Ok(());
        }
        let session = self.simulator.mint_session();
        let config = self.path("rclone.conf");
        let remote = format!(
            "[icloud]\ntype = iclouddrive\napple_id = {}\ntrust_token = {}\ncookies = {}\n",
            session.apple_id, session.trust_token, session.cookies
        );
        std::fs::write(&config, remote)?;
        let environment = BTreeMap::from([
            ("PATH", std::env::var("PATH")?),
            ("HOME", self.path("restic-home")),
            ("RCLONE_CONFIG", config),
            ("RCLONE_CA_CERT", self.path("ca.pem")),
            ("HTTPS_PROXY", self.simulator.proxy_url()),
            ("RESTIC_REPOSITORY", "rclone:icloud:restic".to_owned()),
            ("RESTIC_PASSWORD", "correct horse".to_owned()),
        ]);
        let restic = async |arguments: &[&str]| -> Result<(), Failure> {
            let mut command = Command::new("restic");
            command.env_clear().envs(&environment).args(arguments).stdin(Stdio::null());
            let output = command.output().await?;
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
        };
        restic(&["init"]).await?;
        let to = self.path("restic-restored");
        for (name, ours) in ours {
            let arguments: &[&str] = match *name {
                "backup" => &["backup", source],
                "restore" => &["restore", "latest", "--target", &to],
                "check" => &["check", "--read-data"],
                _ => &["ls", "latest"],
            };
            let cost = self.cost(restic(arguments)).await?;
            println!(
                "restic {name:<27} {:>5} requests {:>15.2} s; ours took {:.2} of its time",
                cost.requests,
                cost.took.as_secs_f64(),
                ours.took.as_secs_f64() / cost.took.as_secs_f64()
            );
        }
        Ok(())
    }
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn write_files(top: &Path) -> Result<(), Failure> {
    let content = Content::Generated { seed: 1, size: FILES as u64 * FILE };
    for number in 0..FILES {
        let folder = top.join(format!("{:02}", number % 20));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{number:04}")), content.read(number as u64 * FILE, FILE))?;
    }
    Ok(())
}
