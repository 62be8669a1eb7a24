//! One large file over a slow link, and the memory of an importer.

use std::time::Duration;

use icloud_simulator::{Content, LatencyProfile, SeedTree};
use plakar_host::{Backup, Counts, Executable, Host, Keep, Options, Settings};

use super::{
    Cost, Failure, MIB, Table,
    plain::Bench,
    service::{PROGRAM, Service},
};

const SIZE: u64 = 1_000_000_000;
/// The rate of the link and of a single connection, in bytes a second.
const LINK: u64 = 50_000_000;
const CONNECTION: u64 = 12_000_000;
const MODIFIED: i64 = 1_700_000_000_000;

pub async fn run(table: &mut Table) -> Result<(), Failure> {
    let bench = Bench::new(LatencyProfile::Measured).await?;
    let simulator = &bench.service.simulator;
    simulator.put_file("large/file.bin", Content::Generated { seed: 7, size: SIZE }, MODIFIED);
    simulator.rules(|rules| {
        rules.transport.content_rate = LINK;
        rules.transport.content_rate_per_connection = CONNECTION;
    });
    let theirs = bench.rclone("icloud:large", &bench.service.path("large")).await?;
    std::fs::remove_dir_all(bench.service.path("large"))?;
    let (ours, most) = import(&bench.service, "icloud:///large", SIZE).await?;
    table.row("back up 1 GB at 50 MB/s: rclone", &theirs.figures(), true);
    table.row("back up 1 GB at 50 MB/s", &ours.figures(), true);
    let ratio = ours.took.as_secs_f64() / theirs.took.as_secs_f64();
    table.row("", &format!("{ratio:.2} of rclone's time (at most 1.05)"), ratio <= 1.05);
    print_memory(most, 96, table);
    Ok(())
}

pub async fn memory(table: &mut Table) -> Result<(), Failure> {
    for files in [20_000, 200_000] {
        let service = Service::new()?;
        service.simulator.rules(|rules| rules.transport.latency_ms = 5);
        let tree =
            SeedTree { prefix: String::new(), files, folders: files / 100, size: 100, seed: 1, modified_ms: MODIFIED };
        service.simulator.seed(&tree);
        let (cost, most) = import(&service, "icloud:///", files * 100).await?;
        table.row(&format!("first backup of {files} files"), &cost.figures(), true);
        print_memory(most, 128, table);
    }
    let service = Service::new()?;
    let tree =
        SeedTree { prefix: String::new(), files: 200_000, folders: 5_000, size: 100, seed: 1, modified_ms: MODIFIED };
    service.simulator.seed(&tree);
    let bounds = Bounds { requests: 300, first_file: Duration::from_secs(3), memory: 200 };
    list(&service, "200,000 unchanged files in 5,000 folders", "icloud:///", 200_000, &bounds, table).await?;
    Ok(())
}

/// The limit for the time until the first record of a listing.
const FIRST_RECORD: Duration = Duration::from_secs(5);

/// The limits of a listing: the requests, the time until the first file, and the memory in MiB.
pub struct Bounds {
    pub requests: u64,
    pub first_file: Duration,
    pub memory: u64,
}

/// Lists a location of which no file has changed. Returns the sum of the sizes of the files.
pub async fn list(
    service: &Service,
    name: &str,
    location: &str,
    files: usize,
    bounds: &Bounds,
    table: &mut Table,
) -> Result<u64, Failure> {
    let host = Host::new(Executable::with_role_argument(PROGRAM), service.surroundings()?);
    let importer = host.importer(&service.settings(location), &Options::default()).await?;
    let mut counts = Counts::default();
    let work = async {
        counts = importer.count().await?;
        Ok(())
    };
    let cost = service.cost(work).await?;
    let most = importer.connector().resident().map(|resident| resident.most);
    importer.close().await?;
    importer.into_connector().leave().await?;
    let firsts = counts.first.zip(counts.first_file).filter(|_| counts.files == files && counts.errors == 0);
    let (record, file) = firsts.ok_or_else(|| format!("listed {counts:?} instead of {files} files"))?;
    table.row(name, &cost.figures(), cost.requests <= bounds.requests);
    for (took, what, limit) in [(record, "record", FIRST_RECORD), (file, "file", bounds.first_file)] {
        let figures = format!("{:.2} s until the first {what} (at most {})", took.as_secs_f64(), limit.as_secs());
        table.row("", &figures, took <= limit);
    }
    print_memory(most, bounds.memory, table);
    Ok(u64::try_from(counts.bytes)?)
}

/// Backs up a location. Returns the cost and the peak memory in KiB.
pub async fn import(service: &Service, location: &str, bytes: u64) -> Result<(Cost, Option<u64>), Failure> {
    let host = Host::new(Executable::with_role_argument(PROGRAM), service.surroundings()?);
    run_importer(service, &host, &service.settings(location), bytes).await
}

/// Runs a backup by plakar's Go plugin. Returns `None` if `PLAKAR_RCLONE_PLUGIN` is not set.
pub async fn import_by_go_plugin(service: &Service, folder: &str, bytes: u64) -> Result<Option<Cost>, Failure> {
    let Some(plugin) = std::env::var_os("PLAKAR_RCLONE_PLUGIN") else {
        return Ok(None);
    };
    let host = Host::new(Executable::one_for_each_role(plugin), service.surroundings()?);
    let session = service.simulator.mint_session();
    let settings = Settings::new(&format!("rclone:///{folder}"))
        .with("rclone_type", "iclouddrive")
        .with("rclone_apple_id", session.apple_id)
        .with("rclone_trust_token", session.trust_token)
        .with("rclone_cookies", session.cookies);
    Ok(Some(run_importer(service, &host, &settings, bytes).await?.0))
}

/// Runs a backup with a host that stores nothing. Returns its cost and, if the system reports it,
/// the peak memory of the importer in KiB.
async fn run_importer(
    service: &Service,
    host: &Host,
    settings: &Settings,
    bytes: u64,
) -> Result<(Cost, Option<u64>), Failure> {
    let importer = host.importer(settings, &Options::default()).await?;
    let mut received = 0;
    let work = async {
        let snapshot = importer.import(Backup { keep: Keep::Size, ..Backup::first() }).await?;
        received = snapshot.bytes();
        if snapshot.errors.is_empty() { Ok(()) } else { Err(format!("{:?}", snapshot.errors).into()) }
    };
    let cost = service.cost(work).await?;
    let most = importer.connector().resident().map(|resident| resident.most);
    importer.close().await?;
    importer.into_connector().leave().await?;
    if received == bytes { Ok((cost, most)) } else { Err(format!("received {received} of {bytes} bytes").into()) }
}

pub fn print_memory(most: Option<u64>, bound: u64, table: &mut Table) {
    match most.map(|kib| kib * 1024) {
        // A debug build uses more memory before its first request.
        Some(most) => table.row(
            "",
            &format!("{} MiB of memory at most (of {bound})", most / MIB),
            most <= bound * MIB || cfg!(debug_assertions),
        ),
        None => table.row("", "this system does not report the memory", true),
    }
}
