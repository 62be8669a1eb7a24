//! The listener: CONNECT opens a tunnel to a host of Apple; every other request goes to the control
//! interface.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use socket2::{SockRef, Socket};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::control;
use crate::journal::Arrival;
use crate::kinds::RequestKind;
use crate::state::Shared;
use crate::transport::authority::Authority;
use crate::transport::body::Cut;
use crate::transport::exchange::exchange;
use crate::transport::link::Link;

/// The state that all connections share.
pub(crate) struct Proxy {
    pub(crate) shared: Arc<Shared>,
    pub(crate) authority: Authority,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Live,
    Resetting,
    Gone,
}

/// A client's TCP connection, which a fault can reset.
pub(crate) struct Connection {
    phase: watch::Sender<Phase>,
    socket: Mutex<Option<Socket>>,
    /// The rate that the downloads of this connection share.
    link: Mutex<Link>,
}

impl Connection {
    fn new(stream: &TcpStream) -> io::Result<Self> {
        let socket = SockRef::from(stream).try_clone()?;
        Ok(Self { phase: watch::Sender::new(Phase::Live), socket: Mutex::new(Some(socket)), link: Mutex::default() })
    }

    pub(crate) fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resets the connection, and returns when it is closed.
    pub(crate) async fn reset(&self) -> Cut {
        self.phase.send_replace(Phase::Resetting);
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Gone).await;
        Cut
    }

    async fn until_reset(&self) {
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Resetting).await;
    }

    /// Releases the socket. If a reset was requested, the close that follows sends an RST instead
    /// of ending the connection properly.
    fn release(&self) {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(socket) = socket
            && *self.phase.borrow() == Phase::Resetting
        {
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }
}

/// Accepts connections until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, proxy: Arc<Proxy>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(connection) = Connection::new(&stream).map(Arc::new) else { return };
            let service = service_fn(move |request| outer(Arc::clone(&proxy), Arc::clone(&connection), request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await;
        });
    }
}

async fn outer(
    proxy: Arc<Proxy>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::CONNECT {
        return Ok(control::serve(proxy, request).await);
    }
    let host = request.uri().host().unwrap_or_default().to_ascii_lowercase();
    if !is_apple(&host) {
        refuse(&proxy.shared, &host);
        let mut refused = Response::new(Full::default());
        *refused.status_mut() = StatusCode::FORBIDDEN;
        return Ok(refused);
    }
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            tunnel(proxy, connection, host.into(), upgraded).await;
        }
    });
    Ok(Response::new(Full::default()))
}

async fn tunnel(proxy: Arc<Proxy>, connection: Arc<Connection>, host: Arc<str>, upgraded: Upgraded) {
    let Ok(config) = proxy.authority.config(&host) else { return };
    let Ok(stream) = TlsAcceptor::from(config).accept(TokioIo::new(upgraded)).await else { return };
    let served = Arc::clone(&connection);
    let service =
        service_fn(move |request| exchange(Arc::clone(&proxy.shared), Arc::clone(&served), Arc::clone(&host), request));
    let server = auto::Builder::new(TokioExecutor::new());
    {
        let serving = server.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(serving);
        tokio::select! {
            _ = &mut serving => {}
            () = connection.until_reset() => {}
        }
        connection.release();
    }
    connection.phase.send_replace(Phase::Gone);
}

fn is_apple(host: &str) -> bool {
    const DOMAINS: [&str; 3] = ["apple.com", "icloud.com", "icloud-content.com"];
    let host = host.strip_suffix(".cn").unwrap_or(host);
    DOMAINS.iter().any(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

fn refuse(shared: &Shared, host: &str) {
    let kind = RequestKind::RefusedHost;
    let mut state = shared.lock();
    let number = state.journal.arrive(&Arrival { kind, method: "CONNECT", host, path: "", range: None });
    state.journal.responded(number, StatusCode::FORBIDDEN.as_u16());
    state.journal.finish(number, kind, 0);
    drop(state);
    shared.notify();
}
