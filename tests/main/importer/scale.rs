//! A large drive that has not changed.

use icloud_simulator::{Content, FaultAction, FaultRule, HoldAt, RequestKind};
use plakar_host::Options;
use plakar_protocol::importer::ImportRequest;

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

/// plakar gets the first records while the rest of the drive is still to be listed.
#[tokio::test]
async fn the_first_records_need_two_listings() {
    let icloud = ICloud::new();
    for n in 0..300 {
        icloud.put(&format!("{n:03}/file.txt"), b"content");
    }
    // The top is looked up and listed.
    let hold = FaultAction::Hold { gate: "rest".to_owned(), at: HoldAt::Arrival };
    icloud.simulator.add_fault(FaultRule::new(RequestKind::List, hold).skip(2));
    let importer = icloud.host.importer(&icloud.settings("icloud://"), &Options::default()).await.unwrap();
    let (_acks, receiver) = tokio::sync::mpsc::channel::<ImportRequest>(1);
    let mut client = importer.client();
    let import = client.import(tokio_stream::wrappers::ReceiverStream::new(receiver)).await.unwrap();
    let mut records = import.into_inner();
    for _ in 0..301 {
        records.message().await.unwrap().unwrap().record.unwrap();
    }
    icloud.simulator.release("rest");
    drop(records);
    importer.into_connector().leave().await.unwrap();
}
