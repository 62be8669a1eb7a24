//! The three connectors that plakar starts this program as.
//!
//! plakar runs one process for each connector and uses gRPC over its stdin and stdout, or over a Unix
//! socket, until it closes them. gRPC occurs only in this module.

mod busy_poll;
mod complete_request;
mod context;
mod exporter;
mod importer;
mod listen;
mod record;
mod status;
mod stdio;
mod storage;

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use plakar_protocol::{exporter::exporter_server, importer::importer_server, store::store_server};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tokio_stream::StreamExt;
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    transport::Server,
};

pub use listen::Socket;
pub use stdio::StdioPipes;

use crate::rclone::use_alternate_stack;
use complete_request::CompleteRequest;
use context::Context;
use stdio::Connection;

/// The shutdown timeout: how long the process may outlive its connection while it holds plakar's
/// stderr open.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the process may continue in the background afterwards. A deletion takes iCloud 20 s.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(90);
/// The maximum number of concurrent streams. plakar opens 64 + 2 × its concurrency at once (notes
/// on its prefetcher: K/snapshot/vfs/dirpack_prefetch.go), and hyper's default is 200.
const MAX_STREAMS: u32 = 4096;
/// The flow control window of a stream.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// The flow control window of the connection. It is large enough that a stalled stream never blocks
/// the others.
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;
/// The maximum size of a message. plakar's messages have up to 1 MiB of content.
const MAX_MESSAGE_SIZE: usize = 16 * 1024 * 1024;

/// The connector that plakar starts this process as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A source of backups.
    Importer,
    /// A destination of restores.
    Exporter,
    /// A store, which holds a kloset.
    Storage,
}

/// Serves one connector over stdin and stdout until plakar closes them.
///
/// # Errors
/// Fails if stdin and stdout are not plakar's pipes.
pub async fn serve(role: Role, pipes: StdioPipes) -> io::Result<()> {
    let (connection, on_close) = pipes.connect()?;
    serve_connection(role, connection, on_close).await
}

/// Serves one connector over a socket until plakar closes its connection.
///
/// # Errors
/// Fails if the socket cannot be created.
pub async fn serve_socket(role: Role, socket: &Socket) -> io::Result<()> {
    let (connection, on_close) = socket.accept().await?;
    serve_connection(role, connection, on_close).await
}

async fn serve_connection<R, W>(
    role: Role,
    connection: Connection<R, W>,
    on_close: oneshot::Receiver<()>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let mut end = End::new(on_close)?;
    let context = Arc::new(Context::default());
    match role {
        Role::Importer => {
            let service = importer_server::ImporterServer::new(importer::Importer::new(Arc::clone(&context)));
            run(service.max_decoding_message_size(MAX_MESSAGE_SIZE), connection, &mut end).await;
        }
        Role::Exporter => {
            let exporter = Arc::new(exporter::Exporter::new(Arc::clone(&context)));
            let service = exporter_server::ExporterServer::from_arc(Arc::clone(&exporter));
            run(service.max_decoding_message_size(MAX_MESSAGE_SIZE), connection, &mut end).await;
            let unfinished = "some files may still have a temporary name; the next restore completes them";
            shut_down(exporter.shut_down(), &mut end, unfinished).await;
        }
        Role::Storage => {
            let storage = Arc::new(storage::Storage::new(Arc::clone(&context)));
            let service = store_server::StoreServer::from_arc(Arc::clone(&storage));
            run(service.max_decoding_message_size(MAX_MESSAGE_SIZE), connection, &mut end).await;
            let unfinished = "the kloset's lock was not deleted in time; a later command on this machine deletes it";
            shut_down(storage.shut_down(), &mut end, unfinished).await;
        }
    }
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, context.close()).await.is_err() {
        log::warn!("the session could not be saved in time; the next process may have to renew it");
    }
    Ok(())
}

/// Completes the changes of a connector after plakar has closed the connection, in the background
/// if they take long. If the process was terminated by a signal, it logs the message
/// `unfinished` instead of continuing in the background.
async fn shut_down(changes: impl Future<Output = ()>, end: &mut End, unfinished: &str) {
    let mut work = pin!(changes);
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut work).await.is_ok() {
        return;
    }
    if end.is_terminated() {
        log::warn!("{unfinished}");
        return;
    }
    if let Err(error) = stdio::detach() {
        log::warn!("cannot continue in the background: {error}");
    }
    tokio::select! {
        _ = tokio::time::timeout(BACKGROUND_TIMEOUT, work) => {}
        () = end.terminated() => {}
    }
}

/// The events that end a connector.
struct End {
    on_close: oneshot::Receiver<()>,
    terminate: Signal,
    is_terminated: bool,
}

impl End {
    /// Installs the signal handlers. Ctrl-C is ignored: it reaches every process of the terminal,
    /// and plakar handles it.
    fn new(on_close: oneshot::Receiver<()>) -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        use_alternate_stack(libc::SIGTERM)?;
        use_alternate_stack(libc::SIGINT)?;
        tokio::spawn(async move { while interrupt.recv().await.is_some() {} });
        Ok(Self { on_close, terminate, is_terminated: false })
    }

    /// Completes when plakar has closed the connection or the process is terminated by a signal.
    async fn wait(&mut self) {
        tokio::select! {
            _ = &mut self.on_close => {}
            _ = self.terminate.recv() => self.is_terminated = true,
        }
    }

    /// Completes when the process is terminated by a signal.
    async fn terminated(&mut self) {
        self.terminate.recv().await;
    }

    /// Reports whether the process was terminated by a signal.
    fn is_terminated(&self) -> bool {
        self.is_terminated
    }
}

async fn run<S, R, W>(service: S, connection: Connection<R, W>, end: &mut End)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    // A server shuts down when its stream of connections ends, so the stream never ends.
    let incoming = tokio_stream::once(Ok::<_, io::Error>(connection)).chain(tokio_stream::pending());
    let serving = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        // plakar cancels many calls at once when a command fails. With the default limits, hyper
        // treats this as an attack and closes the connection.
        .http2_max_pending_accept_reset_streams(Some(MAX_STREAMS as usize))
        .http2_max_local_error_reset_streams(Some(MAX_STREAMS as usize))
        .add_service(CompleteRequest(service))
        .serve_with_incoming(incoming);
    tokio::select! {
        result = serving => {
            if let Err(error) = result {
                log::warn!("the connection to plakar failed: {error}");
            }
        }
        () = end.wait() => {}
    }
}
