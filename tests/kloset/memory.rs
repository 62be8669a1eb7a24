//! Memory under many Gets and Puts at once.

use futures_util::future::join_all;
use plakar_host::{Resource, digest};

use crate::drive::{Drive, MIB, bytes, get};

/// The cache, and what everything else may take.
const MOST_KIB: u64 = (128 + 64) * 1024;
/// All together far more than that.
const PACKFILE: u64 = 24 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_gets_and_nine_puts_stay_within_bounds() {
    let drive = Drive::new();
    let macs: Vec<_> = (0..16).map(|number| drive.packfile(number, PACKFILE)).collect();
    let store = drive.store(&drive.settings()).await;
    store.create("config").await.unwrap();
    let walk = async |mac| {
        for at in (0..PACKFILE).step_by(MIB as usize) {
            assert_eq!(get(&store, mac, at, MIB).await.unwrap().len() as u64, MIB);
        }
    };
    join_all(macs.into_iter().map(walk)).await;
    eprintln!("after the Gets: {:?}", store.connector().resident());
    let put = async |number| {
        let content = bytes(number, PACKFILE);
        store.put(Resource::Packfile, digest(&content), content).await.unwrap();
    };
    join_all((100..109).map(put)).await;
    let resident = store.connector().resident().unwrap();
    eprintln!("{resident:?}");
    assert!(resident.most <= MOST_KIB, "{resident:?}");
}
