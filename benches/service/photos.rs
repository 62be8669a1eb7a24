//! A large photo library.

use std::time::Duration;

use icloud_simulator::{Content, NewAsset, PRIMARY_ZONE};

use super::{
    Failure, Table,
    large::{self, Bounds},
    service::Service,
};

const PHOTOS: u64 = 100_000;
const TAKEN: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
/// The limit for the memory in MiB.
const MEMORY: u64 = 200;

/// Lists a library: at first, and then unchanged, with the sync token and without it. Then backs it up.
pub async fn run(table: &mut Table) -> Result<(), Failure> {
    let service = Service::new()?;
    service.simulator.photos(|library| {
        for number in 0..PHOTOS {
            let content = Content::Generated { seed: number, size: 100 };
            let taken = TAKEN - number.cast_signed() * HOUR;
            library.add(PRIMARY_ZONE, NewAsset::image(&format!("IMG_{:04}.HEIC", number % 10_000), taken, content));
        }
    });
    let location = "icloud://photos";
    let files = usize::try_from(2 * PHOTOS)?; // each photo has a sidecar
    let mut bytes = 0;
    for (name, requests, first, accepts_tokens) in [
        // The names of all photos are chosen together, so the first file waits for the whole listing.
        ("list 100,000 photos for the first time", 1_020, 60, true),
        ("list them unchanged", 10, 5, true),
        ("list them unchanged, without a token", 700, 60, false),
    ] {
        service.simulator.rules(|rules| rules.photos.accepts_tokens = accepts_tokens);
        let bounds = Bounds { requests, first: Duration::from_secs(first), memory: MEMORY };
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
