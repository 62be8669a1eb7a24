//! A large drive that has not changed.

use icloud_simulator::{Content, RequestKind};
use plakar_host::Options;

use crate::icloud::{ICloud, MODIFIED};

const FOLDERS: u64 = 500;
const FILES: u64 = 20_000;

/// The importer that only counts opens no file, as in a backup of an unchanged drive.
#[tokio::test]
async fn a_large_drive_takes_few_requests() {
    let icloud = ICloud::new();
    for n in 0..FILES {
        let path = format!("{:02}/{:03}/{n:05}.txt", n % FOLDERS % 20, n % FOLDERS);
        icloud.simulator.put_file(&path, Content::Generated { seed: n, size: 1_000 }, MODIFIED);
    }
    let importer = icloud.host.importer(&icloud.settings("icloud://"), &Options::default()).await.unwrap();
    icloud.simulator.reset_counts();
    let counts = importer.count().await.unwrap();
    assert_eq!((counts.files as u64, counts.folders as u64, counts.errors), (FILES, FOLDERS + 21, 0));
    let requests = icloud.simulator.counts().total.requests;
    assert!(requests <= FOLDERS / 8, "{requests} requests");
    assert_eq!(icloud.count(RequestKind::ById) + icloud.count(RequestKind::ContentGet), 0);
    importer.into_connector().leave().await.unwrap();
}
