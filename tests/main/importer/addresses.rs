//! The addresses of contents, many of which are requested at once.

use std::collections::BTreeMap;

use icloud_simulator::RequestKind;

use crate::icloud::{ICloud, digests};

const FILES: u64 = 200;

#[tokio::test]
async fn a_backup_requests_the_addresses_of_many_small_files_together() {
    let icloud = ICloud::new();
    for n in 0..FILES {
        icloud.put(&format!("{:02}/{n:03}.txt", n % 10), format!("content {n}").as_bytes());
    }
    let before = icloud.simulator.counts();
    let of = |counts: &icloud_simulator::Counts, kind| counts.kinds.get(&kind).map_or(0, |count| count.requests);
    let first = icloud.backup("icloud://").await;
    assert_eq!(first.errors, BTreeMap::new());
    assert_eq!(digests(&first), icloud.contents());
    let after = icloud.simulator.counts();
    let during = |kind| of(&after, kind) - of(&before, kind);
    assert_eq!(during(RequestKind::ContentGet), FILES);
    assert!(during(RequestKind::ById) <= 4, "{}", during(RequestKind::ById));
    assert!(during(RequestKind::DownloadBatch) <= FILES / 10, "{}", during(RequestKind::DownloadBatch));

    icloud.put("05/changed.txt", b"changed");
    let second = icloud.backup_after("icloud://", &first).await;
    assert_eq!(second.opened.iter().collect::<Vec<_>>(), ["/05/changed.txt"]);
    assert_eq!(of(&icloud.simulator.counts(), RequestKind::DownloadBatch), of(&after, RequestKind::DownloadBatch));
}
