//! Another provider: a WebDAV server on this machine, over TCP.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use dav_server::{DavHandler, body::Body, fakels::FakeLs, localfs::LocalFs};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use plakar_host::{Backup, Host, Kloset, Options, Settings, Surroundings, Tree};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::icloud::{assert_sound, digests, program};

/// Serves a folder until the test ends. Also returns the paths of the listed folders.
async fn serve_folder(folder: &TempDir) -> (String, Arc<Mutex<Vec<String>>>) {
    let files = LocalFs::new(folder.path(), false, false, false);
    let server = DavHandler::builder().filesystem(files).locksystem(FakeLs::new()).build_handler();
    let listed = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&listed);
    let url = serve(move |request| {
        if request.method().as_str() == "PROPFIND" && request.headers().get("depth").is_some_and(|depth| depth == "1") {
            seen.lock().unwrap().push(request.uri().path().trim_end_matches('/').to_owned());
        }
        let server = server.clone();
        async move { server.handle(request).await }
    })
    .await;
    (url, listed)
}

/// Serves requests until the test ends.
async fn serve<R>(respond: impl Fn(Request<Incoming>) -> R + Clone + Send + 'static) -> String
where
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let respond = respond.clone();
            let service = service_fn(move |request| {
                let response = respond(request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
        }
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn all_three_connectors_work_on_webdav() {
    let folder = TempDir::new().unwrap();
    let (url, _) = serve_folder(&folder).await;
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

/// A restore lists the folders of the destination that it finds, and not those that it creates.
#[tokio::test]
async fn only_folders_that_exist_are_listed() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir_all(folder.path().join("to/old/older")).unwrap();
    let (url, listed) = serve_folder(&folder).await;
    let host = Host::new(program(), Surroundings::new().unwrap());
    let settings = Settings::new("rclone:///to").with("rclone_type", "webdav").with("rclone_url", &url);
    let folders = ["/new", "/new/newer", "/old", "/old/new", "/old/older"];
    let tree = folders
        .iter()
        .fold(Tree::new().folder("/"), |tree, path| tree.folder(path).file(&format!("{path}/file"), *path));
    host.restore(&settings, &Options::default(), &tree).await.unwrap().end.unwrap();
    let mut listed = std::mem::take(&mut *listed.lock().unwrap());
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(listed, ["/to", "/to/old", "/to/old/older"]);
}

/// Google Drive may have two files with the same name. plakar acknowledges the record of the second
/// file before it opens the first.
#[tokio::test]
async fn of_two_files_with_the_same_name_one_is_saved_and_the_other_is_an_error() {
    let url = serve(|request| async move {
        let file = "<d:response><d:href>/a.txt</d:href><d:propstat><d:prop><d:getcontentlength>5</d:getcontentlength>\
            <d:resourcetype/></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>";
        let folder = "<d:response><d:href>/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/>\
            </d:resourcetype></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>";
        let listing =
            format!("<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\">{folder}{file}{file}</d:multistatus>");
        match *request.method() {
            Method::GET => Response::new("hello".into()),
            _ => Response::builder().status(207).header("Content-Type", "text/xml").body(listing.into()).unwrap(),
        }
    })
    .await;
    let host = Host::new(program(), Surroundings::new().unwrap());
    let settings = Settings::new("rclone://").with("rclone_type", "webdav").with("rclone_url", &url);
    let snapshot = host.backup(&settings, &Options::concurrency(1), Backup::first()).await.unwrap();
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/a.txt"]);
    assert!(snapshot.errors["/a.txt"].contains("two items of this name"), "{:?}", snapshot.errors);
    assert_eq!(snapshot.contents().into_keys().collect::<Vec<_>>(), ["/a.txt"]);
}
