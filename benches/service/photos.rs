//! Photo libraries: a large one, and a small one compared with rclone and icloudpd.

use std::{process::Stdio, time::Duration};

use icloud_simulator::{Content, LatencyProfile, NewAsset, PRIMARY_ZONE, Simulator};
use tokio::process::Command;

use super::{
    Failure, Table,
    large::{self, Bounds},
    plain::Bench,
    service::{self, Service},
};

const PHOTOS: u64 = 100_000;
const TAKEN: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
/// The limit for the memory in MiB.
const MEMORY: u64 = 200;

/// The number of photos and the size of each in the comparison.
const COMPARED: u64 = 500;
const SIZE: u64 = 4096;

pub async fn run(table: &mut Table) -> Result<(), Failure> {
    compare(table).await?;
    large_library(table).await
}

fn fill(simulator: &Simulator, photos: u64, size: u64) {
    simulator.photos(|library| {
        for number in 0..photos {
            let content = Content::Generated { seed: number, size };
            let taken = TAKEN - number.cast_signed() * HOUR;
            library.add(PRIMARY_ZONE, NewAsset::image(&format!("IMG_{:04}.HEIC", number % 10_000), taken, content));
        }
    });
}

/// Saves a library with rclone, with plakar and with icloudpd, and saves it again unchanged.
async fn compare(table: &mut Table) -> Result<(), Failure> {
    let mut bench = Bench::new(LatencyProfile::Flat).await?;
    fill(&bench.service.simulator, COMPARED, SIZE);
    let copy = bench.service.path("photos");
    bench.new_kloset().await?;
    let source = bench.define("source", "icloud://photos").await?;
    for (name, requests) in [("back up 500 photos", COMPARED + 60), ("back them up again, unchanged", 20)] {
        let theirs = bench.rclone("icloud,service=photos:", &copy).await?;
        bench.deserted().await?;
        let ours = bench.service.cost(bench.plakar(&["backup", "-no-progress", &source])).await?;
        table.row(&format!("{name}: rclone"), &theirs.figures(), true);
        table.row(name, &ours.figures(), ours.requests <= requests && ours.requests < theirs.requests);
    }
    icloudpd(&bench.service, table).await
}

/// Saves the library with icloudpd, and saves it again unchanged, if icloudpd is installed.
async fn icloudpd(service: &Service, table: &mut Table) -> Result<(), Failure> {
    if !service::is_on_path("icloudpd") {
        table.row("icloudpd", "not on PATH: no comparison", true);
        return Ok(());
    }
    let account = service.simulator.rules(|rules| {
        rules.account.two_factor = false; // there is no terminal for a code
        rules.account.clone()
    });
    let [folder, cookies, home] = ["icloudpd", "icloudpd-cookies", "icloudpd-home"].map(|name| service.path(name));
    std::fs::create_dir(&folder)?;
    let mut command = Command::new("icloudpd");
    command.env_clear().stdin(Stdio::null());
    command.envs([
        ("PATH", std::env::var("PATH")?),
        ("HOME", home),
        ("HTTPS_PROXY", service.simulator.proxy_url()),
        ("REQUESTS_CA_BUNDLE", service.path("ca.pem")),
    ]);
    command.args([
        "--username",
        &account.apple_id,
        "--password",
        &account.password,
        "--password-provider",
        "parameter",
    ]);
    command.args(["--directory", &folder, "--cookie-directory", &cookies, "--no-progress-bar"]);
    for name in ["back up 500 photos: icloudpd", "back them up again, unchanged: icloudpd"] {
        let work = async {
            let output = command.output().await?;
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stdout).into()) }
        };
        match service.cost(work).await {
            Ok(cost) => table.row(name, &cost.figures(), true),
            Err(failure) => table.row(name, &format!("fails: {failure}"), true),
        }
    }
    Ok(())
}

/// Lists a library: at first, and then unchanged, with the sync token and without it. Then backs it up.
async fn large_library(table: &mut Table) -> Result<(), Failure> {
    let service = Service::new()?;
    fill(&service.simulator, PHOTOS, 100);
    let location = "icloud://photos";
    let files = usize::try_from(2 * PHOTOS)?; // each photo has a sidecar
    let mut bytes = 0;
    for (name, requests, first_file, accepts_tokens) in [
        // The names of all photos are chosen together, so the first file waits for the whole listing. The
        // folders at the top do not.
        ("list 100,000 photos for the first time", 1_030, 60, true),
        ("list them unchanged", 10, 5, true),
        ("list them unchanged, without a token", 530, 60, false),
    ] {
        service.simulator.rules(|rules| rules.photos.accepts_tokens = accepts_tokens);
        let bounds = Bounds { requests, first_file: Duration::from_secs(first_file), memory: MEMORY };
        bytes = large::list(&service, name, location, files, &bounds, table).await?;
    }
    service.simulator.rules(|rules| {
        rules.photos.accepts_tokens = true;
        rules.transport.latency_ms = 5;
    });
    let (cost, most) = large::import(&service, location, bytes).await?;
    table.row("back up 100,000 photos", &cost.figures(), true);
    large::print_memory(most, MEMORY, table);
    Ok(())
}
