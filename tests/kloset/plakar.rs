//! Faults and kills under the real plakar. If plakar is not on PATH, the tests report that they
//! were skipped.

use std::{collections::BTreeMap, path::Path};

use icloud_simulator::{FaultAction, FaultRule, HoldAt};
use plakar_host::{Plakar, Signal, digest, until};
use tempfile::TempDir;

use crate::drive::{Drive, program_path, status};

struct Installed {
    drive: Drive,
    plakar: Plakar,
    source: TempDir,
}

impl Installed {
    async fn new() -> Option<Self> {
        let executable = Plakar::for_test()?;
        let drive = Drive::new();
        let plakar = Plakar::new(executable, drive.surroundings()).await.unwrap();
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifest.yaml");
        let package = plakar.pack(&manifest, program_path()).await.unwrap();
        plakar.install(&package).await.unwrap();
        plakar.define("store", "there", &drive.settings()).await.unwrap();
        plakar.must(["at", "@there", "create", "-plaintext"]).await.unwrap();
        let source = TempDir::new().unwrap();
        Some(Self { drive, plakar, source })
    }

    /// Creates files that no earlier snapshot has.
    fn furnish(&self, seed: u8) {
        for n in 0..40_u8 {
            let folder = self.source.path().join(format!("{}", n % 4));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(format!("{n}")), crate::drive::bytes(n ^ seed.wrapping_mul(41), 40_000))
                .unwrap();
        }
    }

    async fn backup(&self) -> plakar_host::Outcome {
        self.plakar
            .run(["at", "@there", "backup", "-no-progress", &self.source.path().to_string_lossy()])
            .await
            .unwrap()
    }

    async fn assert_restored(&self) {
        let target = TempDir::new().unwrap();
        let to = target.path().join("to");
        self.plakar.must(["at", "@there", "restore", "-to", &to.to_string_lossy()]).await.unwrap();
        assert_eq!(files(&to), files(self.source.path()));
    }
}

fn files(top: &Path) -> BTreeMap<String, [u8; 32]> {
    let mut found = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
                found.insert(name, digest(&std::fs::read(path).unwrap()));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_succeed_if_one_request_in_twenty_fails() {
    let Some(installed) = Installed::new().await else { return };
    installed.furnish(1);
    for action in [
        status(503),
        status(429),
        FaultAction::ResetBefore,
        FaultAction::ResetAfter,
        FaultAction::Truncate { bytes: 200, clean: false },
    ] {
        installed.drive.simulator.add_fault(FaultRule::any(action).probability(0.01));
    }
    for seed in 2..4 {
        let outcome = installed.backup().await;
        assert_eq!(outcome.status, Some(0), "{}", outcome.output);
        installed.plakar.must(["at", "@there", "check"]).await.unwrap();
        installed.assert_restored().await;
        installed.furnish(seed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_request_of_a_backup_does_not_damage_the_kloset() {
    let Some(installed) = Installed::new().await else { return };
    let simulator = &installed.drive.simulator;
    installed.furnish(0);
    let outcome = installed.backup().await;
    assert_eq!(outcome.status, Some(0), "{}", outcome.output);
    let requests = 26;
    let kills = kills();
    for kill in 0..kills {
        installed.furnish(u8::try_from(kill + 1).unwrap());
        let hold = FaultAction::Hold {
            gate: format!("kill {kill}"),
            at: if kill % 2 == 0 { HoldAt::Arrival } else { HoldAt::Answer },
        };
        let skip = u64::from(kill * requests / kills);
        let fault = simulator.add_fault(FaultRule::any(hold).skip(skip).times(1));
        let source = installed.source.path().to_string_lossy().into_owned();
        let mut backup = installed.plakar.start(["at", "@there", "backup", "-no-progress", &source]).unwrap();
        let pid = backup.id().unwrap();
        let is_held = || simulator.faults_applied().get(&fault).is_some_and(|&times| times > 0);
        let mut ended = false;
        until(|| {
            ended = backup.try_wait().unwrap().is_some();
            ended || is_held()
        })
        .await;
        if !ended {
            kill_children(pid);
        }
        simulator.release(&format!("kill {kill}"));
        backup.wait().await.unwrap();
        simulator.clear_faults();
        // The connector that waited may have been that of the daemon, which continues.
        installed.plakar.must(["at", "@there", "check"]).await.unwrap();
    }
    let outcome = installed.backup().await;
    assert_eq!(outcome.status, Some(0), "{}", outcome.output);
    installed.assert_restored().await;
}

/// Returns the number of kills, which are spread evenly over the backup. 50 are run before a
/// release.
fn kills() -> u32 {
    std::env::var("PLAKAR_ICLOUD_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4)
}

/// Kills the connectors that a process has started.
fn kill_children(parent: u32) {
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
        if fields.split_whitespace().nth(1) == Some(&parent.to_string())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            // Fails if the process has already ended.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}
