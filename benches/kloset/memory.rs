//! One process under many concurrent Gets and Puts.

use futures_util::future::try_join_all;
use icloud_simulator::Content;
use plakar_host::{Mac, Range, Resource, Store};

use super::{Failure, MIB, Table, service::Service};

/// The size of plakar's packfiles.
const PACKFILE: u64 = 64 * MIB;
/// The largest range that plakar requests.
const RANGE: u64 = 12 * MIB;
/// The number of concurrent Gets. Each reads through a packfile and must not fetch it twice.
const GETS: u8 = 16;
/// The number of concurrent Puts: plakar's concurrency on a machine of eight cores, plus the last
/// packfile.
const PUTS: u8 = 9;
const PACKFILES: u32 = 10_000;
/// The limit: the default `cache_memory`, and an allowance for everything else.
const MOST: u64 = (128 + 64) * MIB;

pub async fn run(table: &mut Table) -> Result<(), Failure> {
    let service = Service::new()?;
    let large: Vec<Mac> = (0..GETS).map(|number| [number; 32]).collect();
    for mac in &large {
        put_packfile(&service, *mac, PACKFILE);
    }
    for (name, length) in [("64 KiB", MIB / 16), ("1 MiB", MIB), ("12 MiB", RANGE)] {
        let (_home, store) = service.store().await?;
        let walks = async {
            try_join_all(large.iter().map(|mac| walk(&store, *mac, length))).await?;
            Ok(())
        };
        let cost = service.cost(walks).await?;
        let name = format!("16 concurrent Gets of {name}");
        table.row(&name, &cost.figures(), cost.down <= u64::from(GETS) * PACKFILE * 11 / 10);
        print_memory(table, "", &store);
    }

    let (_home, store) = service.store().await?;
    put_at_once(&store).await?;
    print_memory(table, "9 concurrent Puts of 64 MiB", &store);

    for number in 0..PACKFILES {
        let mut mac = [0xaa; 32];
        mac[..4].copy_from_slice(&number.to_be_bytes());
        put_packfile(&service, mac, 1000);
    }
    let (_home, store) = service.store().await?;
    store.list(Resource::Packfile).await?;
    print_memory(table, "List of 10,000 packfiles", &store);
    try_join_all(large.iter().map(|mac| walk(&store, *mac, RANGE))).await?;
    put_at_once(&store).await?;
    print_memory(table, "16 Gets, then 9 Puts among them", &store);
    Ok(())
}

fn put_packfile(service: &Service, mac: Mac, size: u64) {
    let content = Content::Generated { seed: mac[0].into(), size };
    service.simulator.put_file(&format!("kloset/packfiles/{}", hex::encode(mac)), content, 1_700_000_000_000);
}

async fn walk(store: &Store, mac: Mac, length: u64) -> Result<(), Failure> {
    for offset in (0..PACKFILE).step_by(usize::try_from(length)?) {
        let range = Range { offset, length: u32::try_from(length)? };
        let content = store.get(Resource::Packfile, mac, Some(range)).await?;
        if content.len() as u64 != length.min(PACKFILE - offset) {
            return Err("the length of the content differs from the requested range".into());
        }
    }
    Ok(())
}

async fn put_at_once(store: &Store) -> Result<(), Failure> {
    let content = Content::Generated { seed: 99, size: PACKFILE }.read(0, PACKFILE);
    let puts = (0..PUTS).map(|number| store.put(Resource::Packfile, [0xf0 | number; 32], content.clone()));
    try_join_all(puts).await?;
    Ok(())
}

fn print_memory(table: &mut Table, name: &str, store: &Store) {
    match store.connector().resident() {
        Some(resident) => {
            let (most, anonymous) = (resident.most / 1024, resident.anonymous / 1024);
            let figures = format!("{most:>5} MiB of memory at most; now {anonymous} MiB that is not in files");
            // A debug build uses more memory before its first request.
            table.row(name, &figures, resident.most * 1024 <= MOST || cfg!(debug_assertions));
        }
        None => table.row(name, "this system does not report the memory", true),
    }
}
