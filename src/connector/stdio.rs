//! The connection to plakar: HTTP/2 over stdin and stdout.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
};

use rustix::{pipe::fcntl_setpipe_size, stdio};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::unix::pipe::{Receiver, Sender},
    runtime::Builder,
    sync::oneshot,
};
use tonic::transport::server::Connected;

use super::busy_poll;

/// The largest pipe size that needs no privileges. With the default of 64 KiB, a restore from
/// memory runs at 60 % of the rate.
const PIPE_SIZE: usize = 1024 * 1024;

/// The pipes to plakar, which the rest of the process cannot access: a single stray byte that any
/// library writes to stdout would break the connection.
#[derive(Debug)]
pub struct StdioPipes {
    stdin: OwnedFd,
    stdout: OwnedFd,
}

impl StdioPipes {
    /// Takes stdin and stdout. Afterwards, stdin is empty and stdout leads to stderr. Must be
    /// called before another thread starts.
    ///
    /// # Errors
    /// Fails if the descriptors are closed.
    pub fn take() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        // An empty root folder has no /dev/null. A pipe without a writer is empty, too.
        let (empty, _) = rustix::pipe::pipe()?;
        stdio::dup2_stdin(empty)?;
        stdio::dup2_stdout(io::stderr())?;
        Ok(Self { stdin, stdout })
    }

    /// Makes a runtime poll for plakar's next request while requests come in quick succession.
    ///
    /// # Errors
    /// Fails if the process has no descriptor left.
    pub fn busy_poll(&self, builder: &mut Builder) -> io::Result<()> {
        busy_poll::install(builder, &self.stdin)
    }

    /// Returns the connection, and a receiver that completes when plakar closes it.
    ///
    /// # Errors
    /// Fails if stdin and stdout are not pipes, as in a terminal.
    pub fn connect(self) -> io::Result<(Connection<Receiver, Sender>, oneshot::Receiver<()>)> {
        for pipe in [&self.stdin, &self.stdout] {
            // Fails beyond the user's limit of pipe memory. Smaller pipes work too.
            let _ = fcntl_setpipe_size(pipe, PIPE_SIZE);
        }
        Ok(Connection::new(Receiver::from_owned_fd(self.stdin)?, Sender::from_owned_fd(self.stdout)?))
    }
}

/// Detaches the process from plakar's terminal and output, so that a pipeline ends although the
/// process continues, and neither Ctrl-C nor the end of the terminal reaches the process.
///
/// # Errors
/// Fails if `/dev/null` cannot be opened.
pub fn detach() -> io::Result<()> {
    // Fails for the leader of a process group, which a child of plakar is not.
    let _ = rustix::process::setsid();
    let null = File::options().write(true).open("/dev/null")?;
    stdio::dup2_stdout(&null)?;
    stdio::dup2_stderr(&null)?;
    Ok(())
}

/// The connection of this process.
#[derive(Debug)]
pub struct Connection<R, W> {
    from_plakar: R,
    to_plakar: W,
    closed: Option<oneshot::Sender<()>>,
}

impl<R, W> Connection<R, W> {
    /// Returns a connection, and a receiver that completes when plakar closes it.
    pub fn new(from_plakar: R, to_plakar: W) -> (Self, oneshot::Receiver<()>) {
        let (closed, on_close) = oneshot::channel();
        (Self { from_plakar, to_plakar, closed: Some(closed) }, on_close)
    }
}

impl<R, W> Connected for Connection<R, W> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl<R: AsyncRead + Unpin, W: Unpin> AsyncRead for Connection<R, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.from_plakar).poll_read(context, buffer);
        let ended = match &poll {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended && let Some(closed) = self.closed.take() {
            // The receiver is dropped only when the process ends.
            let _ = closed.send(());
        }
        poll
    }
}

impl<R: Unpin, W: AsyncWrite + Unpin> AsyncWrite for Connection<R, W> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to_plakar).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to_plakar).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.to_plakar.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to_plakar).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to_plakar).poll_shutdown(context)
    }
}
