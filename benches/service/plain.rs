//! plakar with a local kloset, and rclone, for one service.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use icloud_simulator::LatencyProfile;
use plakar_host::Plakar;
use tokio::process::Command;

use super::{
    Cost, Failure, restic,
    service::{PROGRAM, Service},
};

/// How long deletions may continue after a command.
const TRASHED_WITHIN: Duration = Duration::from_secs(120);

/// The environment of both programs.
pub struct Bench {
    pub service: Service,
    plakar: Plakar,
    kloset: String,
    definitions: u32,
}

impl Bench {
    pub async fn new(profile: LatencyProfile) -> Result<Self, Failure> {
        let executable = Plakar::on_path().ok_or("plakar is not on PATH")?;
        let service = Service::new()?;
        service.simulator.rules(|rules| rules.transport.latency_profile = profile);
        let plakar = Plakar::new(executable, service.surroundings()?).await?;
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifest.yaml");
        let package = plakar.pack(&manifest, Path::new(PROGRAM)).await?;
        plakar.install(&package).await?;
        Ok(Self { service, plakar, kloset: String::new(), definitions: 0 })
    }

    /// Runs plakar on the kloset, without a time limit.
    pub async fn plakar(&self, arguments: &[&str]) -> Result<(), Failure> {
        let arguments = ["at", self.kloset.as_str()].into_iter().chain(arguments.iter().copied());
        let output = self.plakar.start(arguments)?.wait_with_output().await?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
    }

    /// Creates a new kloset on this machine and uses it from now on.
    pub async fn new_kloset(&mut self) -> Result<(), Failure> {
        self.definitions += 1;
        self.kloset = self.service.path(&format!("plain-{}", self.definitions));
        self.plakar(&["create", "-plaintext"]).await
    }

    /// Creates a kloset in the drive and uses it from now on.
    pub async fn new_store(&mut self, location: &str) -> Result<Cost, Failure> {
        self.kloset = self.define("store", location).await?;
        self.service.cost(self.plakar(&["create", "-plaintext"])).await
    }

    /// Defines a source or a destination, and returns the name for plakar.
    pub async fn define(&mut self, role: &str, location: &str) -> Result<String, Failure> {
        self.definitions += 1;
        let name = format!("{role}{}", self.definitions);
        self.plakar.define(role, &name, &self.service.settings(location)).await?;
        Ok(format!("@{name}"))
    }

    /// Waits until no process of plakar is left, for at most the time that deletions may take.
    pub async fn deserted(&self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            match self.plakar.surroundings().deserted().await {
                Err(_) if began.elapsed() < TRASHED_WITHIN => {}
                result => return Ok(result?),
            }
        }
    }

    pub async fn back_up(&mut self, location: &str) -> Result<Cost, Failure> {
        self.new_kloset().await?;
        let source = self.define("source", location).await?;
        self.deserted().await?;
        self.service.cost(self.plakar(&["backup", "-no-progress", &source])).await
    }

    pub async fn restore(&mut self, location: &str) -> Result<Cost, Failure> {
        let destination = self.define("destination", location).await?;
        self.deserted().await?;
        self.service.cost(self.plakar(&["restore", "-to", &destination])).await
    }

    /// Copies with rclone, with a separate session.
    pub async fn rclone(&self, from: &str, to: &str) -> Result<Cost, Failure> {
        let environment = restic::environment(&self.service)?;
        let mut command = Command::new("rclone");
        command.env_clear().envs(&environment).args(["copy", "--transfers", "16", from, to]).stdin(Stdio::null());
        let work = async {
            let output = command.output().await?;
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
        };
        self.service.cost(work).await
    }
}
