//! The result of a run of a store as a file.

use bytes::Bytes;
use plakar_host::{Resource, digest};
use serde_json::Value;

use crate::icloud::ICloud;

#[tokio::test]
async fn a_store_has_a_summary_if_it_has_stored_something() {
    let icloud = ICloud::new();
    icloud.put("kloset/CONFIG", b"config");
    let file = icloud.host.surroundings().root().join("summary.json");
    let settings = icloud.settings("icloud:///kloset").with("summary", file.to_str().unwrap());
    let reads = icloud.host.store(&settings).await.unwrap();
    reads.open().await.unwrap();
    reads.close().await.unwrap();
    reads.into_connector().leave().await.unwrap();
    assert!(!file.exists(), "a command that only reads is not a run");
    let store = icloud.host.store(&settings).await.unwrap();
    store.open().await.unwrap();
    for (resource, size) in [(Resource::Packfile, 5_000), (Resource::State, 100), (Resource::Lock, 10)] {
        let content = Bytes::from(vec![7; size]);
        store.put(resource, digest(&content), content).await.unwrap();
    }
    store.close().await.unwrap();
    store.into_connector().leave().await.unwrap();
    let summary: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!((summary["kind"].as_str(), summary["result"].as_str()), (Some("store"), Some("complete")));
    assert_eq!((summary["files"].as_u64(), summary["bytes"].as_u64()), (Some(2), Some(5_100)));
    assert_eq!(summary["location"], "/kloset");
}
