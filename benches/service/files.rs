//! Backups and restores of many small files.

use icloud_simulator::{Content, LatencyProfile, RequestKind, SeedTree};

use super::{Cost, Failure, Table, large, plain::Bench};

const FILES: u64 = 600;
const FOLDERS: u64 = 30;
const SIZE: u64 = 4096;
const MODIFIED: i64 = 1_700_000_000_000;

/// The limits for the cost of the work: the share of rclone's time, and the number of requests.
struct Bounds {
    backup: (f64, u64),
    restore: (f64, u64),
}

pub async fn run(table: &mut Table) -> Result<(), Failure> {
    let flat = Bounds { backup: (0.5, 720), restore: (0.45, 1_850) };
    compare(LatencyProfile::Flat, &flat, table).await?;
    let measured = Bounds { backup: (0.35, 720), restore: (0.25, 1_850) };
    compare(LatencyProfile::Measured, &measured, table).await
}

async fn compare(profile: LatencyProfile, bounds: &Bounds, table: &mut Table) -> Result<(), Failure> {
    let mut bench = Bench::new(profile).await?;
    let tree =
        SeedTree { prefix: "docs".into(), files: FILES, folders: FOLDERS, size: SIZE, seed: 1, modified_ms: MODIFIED };
    bench.service.simulator.seed(&tree);
    let copy = bench.service.path("copy");
    let theirs = bench.rclone("icloud:docs", &copy).await?;
    let ours = bench.back_up("icloud:///docs").await?;
    print_both(&format!("back up 600 files, {profile:?}"), &ours, &theirs, bounds.backup, table);
    match large::import_by_go_plugin(&bench.service, "docs", FILES * SIZE).await? {
        Some(cost) => table.row("the same by the Go plugin", &cost.figures(), true),
        None => table.row("the Go plugin", "not run: PLAKAR_RCLONE_PLUGIN is not set", true),
    }

    let theirs = bench.rclone(&copy, "icloud:copied").await?;
    let ours = bench.restore("icloud:///restored").await?;
    print_both(&format!("restore 600 files, {profile:?}"), &ours, &theirs, bounds.restore, table);
    let restored = bench
        .service
        .simulator
        .snapshot()
        .iter()
        .filter(|item| item.path.starts_with("restored/") && !item.folder)
        .count();
    table.row("", &format!("{restored} files are in the drive"), restored as u64 == FILES);
    if profile == LatencyProfile::Measured {
        replaced(&mut bench, &ours, table).await?;
    }
    Ok(())
}

/// Prints the costs of both programs.
fn print_both(name: &str, ours: &Cost, theirs: &Cost, (share, requests): (f64, u64), table: &mut Table) {
    let ratio = ours.took.as_secs_f64() / theirs.took.as_secs_f64();
    table.row(&format!("{name}: rclone"), &theirs.figures(), true);
    table.row(name, &ours.figures(), ours.requests <= requests);
    table.row("", &format!("{ratio:.2} of rclone's time (at most {share})"), ratio <= share);
}

/// Restores over files that have all been changed. Waiting for the Trash would take 20 s for each
/// file.
async fn replaced(bench: &mut Bench, fresh: &Cost, table: &mut Table) -> Result<(), Failure> {
    let simulator = &bench.service.simulator;
    let before = simulator.trash().len();
    let files: Vec<_> =
        simulator.snapshot().into_iter().filter(|item| item.path.starts_with("restored/") && !item.folder).collect();
    for item in &files {
        simulator.put_file(&item.path, Content::Generated { seed: 77, size: 100 }, MODIFIED + 1);
    }
    let cost = bench.restore("icloud:///restored").await?;
    bench.deserted().await?;
    let simulator = &bench.service.simulator;
    let counts = simulator.counts();
    let calls = counts.kinds.get(&RequestKind::Trash).map_or(0, |count| count.requests);
    let trashed = simulator.trash().len() - before;
    // Apart from the Trash, a replacement takes one more request than a new file, a rename.
    let holds = cost.took <= fresh.took * 3;
    table.row("restore over 600 changed files, Measured", &cost.figures(), holds);
    table.row("", &format!("{trashed} old versions in the Trash, by {calls} calls"), trashed as u64 == FILES);
    Ok(())
}
