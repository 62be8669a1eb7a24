//! A simulated iCloud, and processes that serve a kloset in it.

use std::{io, path::PathBuf, time::Instant};

use icloud_simulator::{Config, RequestKind, Simulator};
use plakar_host::{Settings, Surroundings};
use tempfile::TempDir;

use super::{Cost, Failure};

/// The time from a request to its response, in milliseconds.
const LATENCY: u64 = 40;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_plakar-icloud");

/// Returns a folder in memory if the system provides one. On a disk, pending writes of one program
/// would slow down the next one.
pub fn folder() -> io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

pub struct Service {
    pub simulator: Simulator,
    /// The files of a run.
    pub folder: TempDir,
}

impl Service {
    pub fn new() -> Result<Self, Failure> {
        let simulator = Simulator::start(Config::default())?;
        simulator.rules(|rules| rules.transport.latency_ms = LATENCY);
        let folder = folder()?;
        simulator.write_ca(folder.path().join("ca.pem"))?;
        Ok(Self { simulator, folder })
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    pub fn surroundings(&self) -> Result<Surroundings, Failure> {
        let authority = PathBuf::from(self.path("ca.pem"));
        Ok(Surroundings::new()?.with("HTTPS_PROXY", self.simulator.proxy_url()).with("SSL_CERT_FILE", authority))
    }

    pub fn settings(&self, location: &str) -> Settings {
        let session = self.simulator.mint_session();
        Settings::new(location)
            .with("apple_id", session.apple_id)
            .with("trust_token", session.trust_token)
            .with("cookies", session.cookies)
            .with("session_file", self.path("session/session.json"))
    }

    pub async fn cost(&self, work: impl Future<Output = Result<(), Failure>>) -> Result<Cost, Failure> {
        self.simulator.reset_counts();
        let began = Instant::now();
        work.await?;
        let took = began.elapsed();
        let counts = self.simulator.counts();
        let up = counts.kinds.get(&RequestKind::ContentPost).map_or(0, |count| count.bytes_in);
        Ok(Cost { requests: counts.total.requests, down: counts.total.bytes_out, up, took })
    }

    /// Prints the requests of the last work, each with the seconds since the first one.
    pub fn print_requests(&self) {
        let requests = self.simulator.requests();
        let began = requests.first().map_or(0, |entry| entry.at_ms);
        for entry in requests {
            let range = entry.range.unwrap_or_default();
            let subject = entry.subjects.first().map_or("", String::as_str);
            let seconds = (entry.at_ms - began) as f64 / 1000.0;
            println!("    {seconds:>7.2} {:?} {subject} {range} {} bytes", entry.kind, entry.bytes_out);
        }
    }
}

/// Reports whether a program is on PATH.
pub fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
