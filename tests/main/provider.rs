//! Another provider: a WebDAV server on this machine, over TCP.

use std::collections::BTreeMap;
use std::convert::Infallible;

use dav_server::{DavHandler, fakels::FakeLs, localfs::LocalFs};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use plakar_host::{Backup, Host, Kloset, Options, Settings, Surroundings, Tree};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::icloud::{assert_sound, digests, program};

/// Serves a folder until the test ends.
async fn serve(folder: &TempDir) -> String {
    let files = LocalFs::new(folder.path(), false, false, false);
    let server = DavHandler::builder().filesystem(files).locksystem(FakeLs::new()).build_handler();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let server = server.clone();
            let service = service_fn(move |request| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.handle(request).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
        }
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn all_three_connectors_work_on_webdav() {
    let folder = TempDir::new().unwrap();
    let url = serve(&folder).await;
    let host = Host::new(program(), Surroundings::new().unwrap());
    let at = |location: &str| Settings::new(location).with("rclone_type", "webdav").with("rclone_url", &url);
    let options = Options::default();

    let tree = Tree::new()
        .folder("/")
        .folder("/nothing")
        .folder("/sub folder")
        .file("/sub folder/caf\u{e9} 100%.txt", "coffee")
        .file("/empty", "")
        .file("/large", vec![7; 3_000_000]);
    let exported = host.restore(&at("rclone:///files"), &options, &tree).await.unwrap();
    assert_eq!(exported.errors(), BTreeMap::new());
    exported.end.unwrap();
    assert_eq!(std::fs::read(folder.path().join("files/sub folder/caf\u{e9} 100%.txt")).unwrap(), b"coffee");
    assert!(folder.path().join("files/nothing").is_dir());

    let snapshot = host.backup(&at("rclone:///files"), &options, Backup::first()).await.unwrap();
    assert_sound(&snapshot);
    let contents: Vec<&str> = snapshot.contents().into_keys().collect();
    assert_eq!(contents, tree.contents().into_keys().collect::<Vec<_>>());
    let again = host.backup(&at("rclone:///files"), &options, Backup::after(&snapshot)).await.unwrap();
    assert!(again.opened.is_empty(), "opened {:?}", again.opened);

    let store = host.store(&at("rclone:///kloset")).await.unwrap();
    let kloset = Kloset::create(&store).await.unwrap();
    let id = kloset.backup(&snapshot).await.unwrap();
    kloset.check(id).await.unwrap();
    assert_eq!(digests(&kloset.load(id).await.unwrap()), digests(&snapshot));
    store.close().await.unwrap();
    store.into_connector().leave().await.unwrap();
}
