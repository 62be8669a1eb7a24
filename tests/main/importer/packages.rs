//! Packages, whose content is an archive that the service creates for each download.

use std::collections::BTreeMap;

use bytes::Bytes;
use icloud_simulator::{FaultAction, FaultRule, RequestKind};

use crate::icloud::{ICloud, MODIFIED, digests};

const SIZE: usize = 3_000_000;

fn with_package() -> ICloud {
    let icloud = ICloud::new();
    icloud.put("file.txt", b"content");
    let entries = [("projectData".to_owned(), Bytes::from(vec![7; SIZE]))];
    icloud.simulator.put_package("song.band", &entries, Some(SIZE as u64), MODIFIED);
    icloud
}

fn cut(bytes: u64, clean: bool) -> FaultRule {
    FaultRule::new(RequestKind::ContentGet, FaultAction::Truncate { bytes, clean }).matching("song.band")
}

#[tokio::test]
async fn a_package_whose_download_breaks_is_read_again_from_its_start() {
    let icloud = with_package();
    let broken = icloud.simulator.add_fault(cut(2_500_000, false).times(2));
    let snapshot = icloud.backup("icloud://").await;
    assert_eq!(snapshot.errors, BTreeMap::new());
    assert!(digests(&snapshot).contains_key("/song.band"));
    assert_eq!(icloud.simulator.faults_applied()[&broken], 2);
}

#[tokio::test]
async fn a_package_that_is_no_complete_archive_is_an_error() {
    let icloud = with_package();
    icloud.simulator.add_fault(cut(20_000, true));
    let snapshot = icloud.backup("icloud://").await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/song.band"]);
    assert!(snapshot.errors["/song.band"].contains("zip"), "{:?}", snapshot.errors);
    assert!(snapshot.entries.contains_key("/file.txt") && !snapshot.entries.contains_key("/song.band"));
}
