//! The three connectors that plakar starts this program as.
//!
//! plakar runs one process a connector and speaks gRPC over its stdin and stdout
//! until it closes them. The only place that knows gRPC.

mod busy_poll;
mod complete_request;
mod context;
mod exporter;
mod importer;
mod record;
mod status;
mod stdio;
mod storage;

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use plakar_protocol::{exporter::exporter_server, importer::importer_server, store::store_server};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tokio_stream::StreamExt;
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    transport::Server,
};

pub use stdio::StdioPipes;

use crate::rclone::use_alternate_stack;
use complete_request::CompleteRequest;
use context::Context;

/// How long the process may outlive its connection.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// plakar opens 64 + 2 × its concurrency streams at once (notes on its
/// prefetcher: K/snapshot/vfs/dirpack_prefetch.go), and hyper takes 200 unasked.
const STREAMS: u32 = 4096;
/// What one stream may have under way.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// What all may: enough that a stalled stream never holds up the others.
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;
/// Messages of plakar have up to 1 MiB of content.
const MESSAGE: usize = 16 * 1024 * 1024;

/// What plakar wants this process to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A source of backups.
    Importer,
    /// A destination of restores.
    Exporter,
    /// The place of a kloset.
    Storage,
}

/// Serves one connector until plakar closes the connection.
///
/// # Errors
/// If stdin and stdout are not plakar's pipes.
pub async fn serve(role: Role, pipes: StdioPipes) -> io::Result<()> {
    let (connection, on_close) = pipes.connect()?;
    let end = ended(on_close)?;
    let context = Arc::new(Context::default());
    match role {
        Role::Importer => {
            let service = importer_server::ImporterServer::new(importer::Importer::new(Arc::clone(&context)));
            run(service.max_decoding_message_size(MESSAGE), connection, end).await;
        }
        Role::Exporter => {
            let exporter = Arc::new(exporter::Exporter::new(Arc::clone(&context)));
            let service = exporter_server::ExporterServer::from_arc(Arc::clone(&exporter));
            run(service.max_decoding_message_size(MESSAGE), connection, end).await;
            if tokio::time::timeout(SHUTDOWN_TIMEOUT, exporter.finish()).await.is_err() {
                log::warn!(
                    "plakar is gone, and some files may still have a temporary name; the next restore completes them"
                );
            }
        }
        Role::Storage => {
            let storage = Arc::new(storage::Storage::new(Arc::clone(&context)));
            let service = store_server::StoreServer::from_arc(Arc::clone(&storage));
            run(service.max_decoding_message_size(MESSAGE), connection, end).await;
            if tokio::time::timeout(SHUTDOWN_TIMEOUT, storage.finish()).await.is_err() {
                log::warn!(
                    "plakar is gone, and its lock could not be removed in time; it ends by itself after 10 minutes"
                );
            }
        }
    }
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, context.close()).await.is_err() {
        log::warn!("the session could not be saved in time; the next process may have to renew it");
    }
    Ok(())
}

/// Completes when plakar has closed the connection or the process is told to end.
///
/// Ctrl-C reaches every process of the terminal; plakar decides what it means.
fn ended(on_close: oneshot::Receiver<()>) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    use_alternate_stack(libc::SIGTERM)?;
    use_alternate_stack(libc::SIGINT)?;
    tokio::spawn(async move { while interrupt.recv().await.is_some() {} });
    Ok(async move {
        tokio::select! {
            _ = on_close => {}
            _ = terminate.recv() => {}
        }
    })
}

async fn run<S>(service: S, connection: stdio::Connection, end: impl Future<Output = ()>)
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    // The connections never end: a server whose incoming stream ends shuts down.
    let incoming = tokio_stream::once(Ok::<_, io::Error>(connection)).chain(tokio_stream::pending());
    let serving = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .add_service(CompleteRequest(service))
        .serve_with_incoming(incoming);
    tokio::select! {
        result = serving => {
            if let Err(error) = result {
                log::warn!("the connection to plakar failed: {error}");
            }
        }
        () = end => {}
    }
}
