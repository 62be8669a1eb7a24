//! HTTP/2 with prior knowledge over the two pipes of a child process, or over its socket.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::lock;
use crate::error::{Error, Result};

/// The `:authority` of every call that plakar makes.
const AUTHORITY: &str = "http://127.0.0.1:0";

/// The window that grpc-go reaches on a local pipe, roughly. grpc-go measures it with pings. This
/// is not copied, because Go servers treat hyper's pings as abuse.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// grpc-go reads everything from the connection, whether or not it is consumed.
const CONNECTION_WINDOW: u32 = 256 * 1024 * 1024;

/// Both pipes, or both directions of a socket, as one connection. Every clone can close them.
#[derive(Clone)]
pub struct Pipes(Arc<Mutex<Ends>>);

type Input = Box<dyn AsyncWrite + Send + Unpin>;
type Output = Box<dyn AsyncRead + Send + Unpin>;

struct Ends {
    stdin: Option<Input>,
    stdout: Option<Output>,
    reader: Option<Waker>,
}

impl std::fmt::Debug for Pipes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipes").finish_non_exhaustive()
    }
}

impl Pipes {
    pub(super) fn new(
        stdin: impl AsyncWrite + Send + Unpin + 'static,
        stdout: impl AsyncRead + Send + Unpin + 'static,
    ) -> Self {
        let (stdin, stdout): (Input, Output) = (Box::new(stdin), Box::new(stdout));
        Self(Arc::new(Mutex::new(Ends { stdin: Some(stdin), stdout: Some(stdout), reader: None })))
    }

    pub(super) fn end_input(&self) {
        lock(&self.0).stdin = None;
    }

    pub(super) fn hang_up(&self) {
        let mut ends = lock(&self.0);
        ends.stdin = None;
        ends.stdout = None;
        if let Some(reader) = ends.reader.take() {
            reader.wake();
        }
    }

    fn write<T>(&self, poll: impl FnOnce(Pin<&mut Input>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut lock(&self.0).stdin {
            Some(stdin) => poll(Pin::new(stdin)),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncRead for Pipes {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ends = lock(&self.0);
        ends.reader = Some(context.waker().clone());
        match &mut ends.stdout {
            Some(stdout) => Pin::new(stdout).poll_read(context, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Pipes {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, content: &[u8]) -> Poll<io::Result<usize>> {
        self.write(|stdin| stdin.poll_write(context, content))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|stdin| stdin.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|stdin| stdin.poll_shutdown(context))
    }
}

/// Connects to the process behind the pipes. Responses of more than 4 MiB are refused, as by
/// default in grpc-go.
///
/// # Errors
/// Fails if the process does not speak HTTP/2.
pub async fn channel(pipes: Pipes) -> Result<Channel> {
    let used = AtomicBool::new(false);
    let connector = service_fn(move |_: Uri| {
        // Pipes can be connected only once.
        let first = !used.swap(true, Ordering::Relaxed);
        let connection = first.then(|| TokioIo::new(pipes.clone()));
        async move { connection.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    Endpoint::from_static(AUTHORITY)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_with_connector(connector)
        .await
        .map_err(|error| Error::Io(io::Error::other(error)))
}
