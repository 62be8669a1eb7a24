//! Memory under many concurrent Gets or Puts.

use futures_util::future::join_all;
use plakar_host::{Resource, Store};

use crate::drive::{Drive, MIB, bytes, get};

/// The cache, and an allowance for everything else in a debug build, which uses 15 MiB more than a
/// release build before its first request.
const MOST_KIB: u64 = (128 + 128) * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_concurrent_gets_stay_within_the_memory_limit() {
    const PACKFILE: u64 = 24 * MIB;
    let drive = Drive::new();
    let macs: Vec<_> = (0..16).map(|number| drive.packfile(number, PACKFILE)).collect();
    let store = drive.store(&drive.settings()).await;
    let walk = async |mac| {
        for at in (0..PACKFILE).step_by(MIB as usize) {
            assert_eq!(get(&store, mac, at, MIB).await.unwrap().len() as u64, MIB);
        }
    };
    join_all(macs.into_iter().map(walk)).await;
    assert_peak_within(&store, MOST_KIB);
}

/// Content of 72 MiB, while little of the cache is in use.
#[tokio::test(flavor = "multi_thread")]
async fn nine_concurrent_puts_stay_within_the_memory_limit() {
    let drive = Drive::new();
    let store = drive.store(&drive.settings()).await;
    store.create("config").await.unwrap();
    let contents = (0..9).map(|number| (number, bytes(number, 8 * MIB))).collect::<Vec<_>>();
    let put = async |(number, content)| store.put(Resource::Packfile, [number; 32], content).await.unwrap();
    join_all(contents.into_iter().map(put)).await;
    assert_peak_within(&store, MOST_KIB - 96 * 1024);
}

fn assert_peak_within(store: &Store, most: u64) {
    let resident = store.connector().resident().unwrap();
    eprintln!("{resident:?}");
    assert!(resident.most <= most, "{resident:?}");
}
