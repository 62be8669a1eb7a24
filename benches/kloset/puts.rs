//! The cost of a Put of a packfile, by the number of existing packfiles.

use icloud_simulator::Content;
use plakar_host::Resource;

use super::{Cost, Failure, MIB, Table, service::Service};

/// The size of the packfile. It is small so that the costs besides its content dominate.
const SIZE: usize = 4096;

/// The time at which the existing packfiles were stored, in milliseconds since 1970.
const BEFORE: i64 = 1_700_000_000_000;

pub async fn run(table: &mut Table) -> Result<(), Failure> {
    let mut fewest = None;
    for packfiles in [100, 1_000, 10_000] {
        let [first, next] = costs(packfiles).await?;
        // The first Put lists the folder to find existing objects: at most a tenth of the bytes of
        // a packfile.
        let name = format!("first Put among {packfiles} packfiles");
        let same = fewest.get_or_insert([first.requests, next.requests]);
        table.row(&name, &first.figures(), first.requests == same[0] && first.down <= 64 * MIB / 10);
        // The response to an upload has a few hundred bytes.
        table.row("  next Put", &next.figures(), next.requests == same[1] && next.down < SIZE as u64);
    }
    Ok(())
}

async fn costs(packfiles: u32) -> Result<[Cost; 2], Failure> {
    let service = Service::new()?;
    for number in 0..packfiles {
        let path = format!("kloset/packfiles/{number:064x}");
        service.simulator.put_file(&path, Content::Generated { seed: 1, size: 1000 }, BEFORE);
    }
    let (_home, store) = service.store().await?;
    let put = async |number: u8| {
        store.put(Resource::Packfile, [number; 32], vec![number; SIZE].into()).await?;
        Ok(())
    };
    Ok([service.cost(put(0xfe)).await?, service.cost(put(0xff)).await?])
}
