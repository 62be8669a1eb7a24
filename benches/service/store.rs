//! Commands on a kloset in a drive with the measured times.

use std::time::{Duration, Instant};

use icloud_simulator::{Content, LatencyProfile};

use super::{Failure, Table, plain::Bench, restic};

const FILES: usize = 2000;
const FILE: u64 = 4000;
/// How long plakar's lock may outlive the command.
const LOCKED: Duration = Duration::from_secs(30);

pub async fn run(table: &mut Table) -> Result<(), Failure> {
    let mut bench = Bench::new(LatencyProfile::Measured).await?;
    let source = bench.service.path("source");
    write_files(&source)?;
    let created = bench.new_store("icloud:///kloset").await?;
    table.row("create a kloset, Measured", &created.figures(), true);
    let target = bench.service.path("restored");
    let backup = vec!["backup", "-no-progress", source.as_str()];
    let mut restored = Duration::MAX;
    for (name, most, arguments) in [
        ("back up 2,000 files into a kloset", Some(24), backup.clone()),
        ("the same again", None, backup),
        ("check", Some(13), vec!["check"]),
        ("restore", Some(13), vec!["restore", "-to", target.as_str()]),
        ("maintenance", None, vec!["maintenance"]),
    ] {
        bench.deserted().await?;
        let cost = bench.service.cost(bench.plakar(&arguments)).await?;
        let holds = most.is_none_or(|most| cost.requests <= most);
        table.row(&format!("{name}, Measured"), &cost.figures(), holds);
        if !holds {
            bench.service.print_requests();
        }
        if name == "restore" {
            restored = cost.took;
        }
        if name.starts_with("back up") {
            let gone = lock_gone(&bench).await;
            table.row("", &format!("the lock is gone {:.1} s later", gone.as_secs_f64()), gone <= LOCKED);
        }
    }
    // rclone's listings may take longer than restic waits for rclone.
    match restic::run(&bench.service, &source, table).await {
        Ok(costs) => {
            for (_, cost) in costs.into_iter().filter(|(work, _)| *work == restic::Work::Restore) {
                let ratio = restored.as_secs_f64() / cost.took.as_secs_f64();
                table.row("", &format!("{ratio:.2} of restic's time for the restore (at most 1)"), ratio <= 1.0);
            }
        }
        Err(error) => table.row("restic", &format!("fails: {}", error.to_string().trim()), true),
    }
    Ok(())
}

/// Measures how long it takes until the kloset contains no lock. Watches a little longer than the
/// limit.
async fn lock_gone(bench: &Bench) -> Duration {
    let ended = Instant::now();
    let locked =
        || bench.service.simulator.snapshot().iter().any(|item| item.path.starts_with("kloset/locks/") && !item.folder);
    while locked() && ended.elapsed() <= LOCKED {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ended.elapsed()
}

fn write_files(top: &str) -> Result<(), Failure> {
    let content = Content::Generated { seed: 1, size: FILES as u64 * FILE };
    for number in 0..FILES {
        let folder = format!("{top}/{:02}", number % 20);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(format!("{folder}/{number:04}"), content.read(number as u64 * FILE, FILE))?;
    }
    Ok(())
}
