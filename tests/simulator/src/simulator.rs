//! The running simulator, and the methods that control it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::account::session::MintedSession;
use crate::drive::content::Content;
use crate::drive::item::Body;
use crate::faults::FaultRule;
use crate::journal::{Counts, Entry};
use crate::kinds::RequestKind;
use crate::photos::Photos;
use crate::rules::Rules;
use crate::seed::{ItemInfo, Mutation, NoSuchItem, SeedTree, hashed};
use crate::state::{Shared, State};
use crate::transport::authority::Authority;
use crate::transport::proxy::{Proxy, serve};

/// The configuration of a simulator.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of the proxy, by default `127.0.0.1:0`: a free port.
    pub listen: SocketAddr,
    /// The seed of ids, tokens and fault probabilities: the same seed and requests give the same
    /// responses.
    pub seed: u64,
    /// The hosts that support only HTTP/1.1, by the end of their names; an empty string stands for
    /// all hosts.
    ///
    /// By default these are the upload hosts: over HTTP/2 a body shorter than announced is a
    /// protocol error, to which the server's library responds on its own, and after which Go's
    /// client repeats the request endlessly.
    pub http1_hosts: Vec<String>,
    /// The rules of the service at the start.
    pub rules: Rules,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            http1_hosts: vec![String::from("-contentws.icloud.com")],
            rules: Rules::default(),
        }
    }
}

/// The simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is in use, or is not an address of this machine.
    #[error("cannot listen: {0}")]
    Listen(#[from] io::Error),
    /// No key or certificate could be created.
    #[error("cannot create a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate was refused.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The awaited requests did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("{seen} of {wanted} requests of kind {kind:?} within {within:?}")]
pub struct WaitTimeout {
    /// The kind of request.
    pub kind: RequestKind,
    /// The number of requests that were awaited.
    pub wanted: u64,
    /// The number of requests that arrived.
    pub seen: u64,
    /// The time limit.
    pub within: Duration,
}

/// A simulated iCloud on a port of this machine. It runs on its own threads, so a test can block;
/// dropping it stops it.
pub struct Simulator {
    runtime: Option<Runtime>,
    proxy: Arc<Proxy>,
    address: SocketAddr,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Simulator {
    /// Starts a simulator with an empty drive.
    ///
    /// # Errors
    /// Fails if the proxy cannot listen at the address, or if no certificate can be created.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let authority = Authority::new(config.http1_hosts)?;
        let shared = Shared::new(State::new(config.rules, config.seed));
        let proxy = Arc::new(Proxy { shared, authority });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("icloud-simulator")
            .enable_all()
            .build()?;
        let listener = std::net::TcpListener::bind(config.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener)?
        };
        runtime.spawn(serve(listener, Arc::clone(&proxy)));
        Ok(Self { runtime: Some(runtime), proxy, address })
    }

    /// Returns `http://127.0.0.1:PORT`, the value for `HTTPS_PROXY` and the base URL of
    /// `/control/`.
    #[must_use]
    pub fn proxy_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the certificate authority that clients must trust, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.proxy.authority.pem()
    }

    /// Writes [`Self::ca_pem`] to a file.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write_ca(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.ca_pem())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.proxy.shared.lock()
    }

    /// Changes the rules of the service.
    pub fn rules<T>(&self, change: impl FnOnce(&mut Rules) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state.rules);
        state.settle_rules();
        changed
    }

    /// Advances the service's clock.
    pub fn advance_clock(&self, seconds: i64) {
        let mut state = self.state();
        let offset = state.clock.offset_seconds() + seconds;
        state.clock.set_offset_seconds(offset);
    }

    /// Creates a session that is already signed in, with a trust token.
    #[must_use]
    pub fn mint_session(&self) -> MintedSession {
        let mut state = self.state();
        let now = state.clock.now_seconds();
        let State { account, rules, .. } = &mut *state;
        account.mint(&rules.account, now)
    }

    /// Ends every web session; data requests then get `status` (421, 401 or 423) until the client signs in again.
    pub fn end_sessions(&self, status: u16) {
        self.state().account.end_sessions(status);
    }

    /// Does the same as [`Self::end_sessions`] after `requests` more data requests.
    pub fn end_sessions_after(&self, requests: u64, status: u16) {
        self.state().account.end_sessions_after(requests, status);
    }

    /// Ends the session tokens of the sign-ins so far: `accountLogin` refuses them with 421, while
    /// the web sessions that they started stay live.
    pub fn end_session_tokens(&self) {
        self.state().account.end_session_tokens();
    }

    /// Invalidates every trust token: the next sign-in needs a code.
    pub fn end_trust(&self) {
        self.state().account.end_trust();
    }

    /// Invalidates every PCS cookie: data requests of an account with Advanced Data Protection get
    /// 423.
    pub fn end_pcs(&self) {
        self.state().account.end_pcs();
    }

    /// Resets the counters of wrong passwords and codes.
    pub fn forgive(&self) {
        self.state().account.forgive();
    }

    /// Adds a fault rule after the existing ones, and returns its id.
    pub fn add_fault(&self, rule: FaultRule) -> u64 {
        self.state().faults.add(rule)
    }

    /// Removes a fault rule.
    pub fn remove_fault(&self, id: u64) {
        self.state().faults.remove(id);
    }

    /// Removes all fault rules.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Returns how often each fault rule has applied, by id.
    #[must_use]
    pub fn faults_applied(&self) -> BTreeMap<u64, u64> {
        self.state().faults.applied()
    }

    /// Opens a gate for the requests that wait at it and for all later ones. [`Self::close_gate`]
    /// closes it again.
    pub fn release(&self, gate: &str) {
        self.state().open_gates.insert(gate.to_owned());
        self.proxy.shared.notify();
    }

    /// Makes requests wait at the gate again.
    pub fn close_gate(&self, gate: &str) {
        self.state().open_gates.remove(gate);
    }

    /// Returns the counts since the start or the last reset.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().journal.counts().clone()
    }

    /// Returns the requests since the start or the last reset, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Entry> {
        self.state().journal.entries().to_vec()
    }

    /// Clears the journal and restarts the counts.
    pub fn reset_counts(&self) {
        self.state().journal.reset();
    }

    /// Waits until `wanted` requests of a kind have arrived since the last reset.
    ///
    /// # Errors
    /// Fails if the requests have not arrived within `within`.
    pub async fn wait_for(&self, kind: RequestKind, wanted: u64, within: Duration) -> Result<(), WaitTimeout> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let shared = Arc::clone(&self.proxy.shared);
        let waiting = runtime.spawn(async move {
            let enough = |state: &State| state.journal.counts().of(kind) >= wanted;
            tokio::time::timeout(within, shared.until(enough)).await.is_ok()
        });
        if matches!(waiting.await, Ok(true)) {
            return Ok(());
        }
        Err(WaitTimeout { kind, wanted, seen: self.counts().of(kind), within })
    }

    /// Does the same as [`Self::wait_for`], for tests that are not async: it blocks the thread.
    ///
    /// # Errors
    /// Fails if the requests have not arrived within `within`.
    pub fn wait_for_blocking(&self, kind: RequestKind, wanted: u64, within: Duration) -> Result<(), WaitTimeout> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(self.wait_for(kind, wanted, within)),
            None => Ok(()),
        }
    }

    /// Creates a folder and the folders above it.
    pub fn make_folders(&self, path: &str) {
        self.state().make_folders(path);
    }

    /// Creates or overwrites a file, and creates the folders above it.
    pub fn put_file(&self, path: &str, content: Content, modified_ms: i64) {
        self.state().put_body(path, Body::File(content), modified_ms);
    }

    /// Creates a package. Listings show `listed_size`, by default the sum of the entries' sizes; a
    /// download returns a zip archive of `entries`, in which a name that ends in `/` is an empty
    /// folder.
    pub fn put_package(&self, path: &str, entries: &[(String, Bytes)], listed_size: Option<u64>, modified_ms: i64) {
        self.state().put_package(path, entries, listed_size, modified_ms);
    }

    /// Creates an app's library in the root: a folder with its own zone.
    pub fn add_app_library(&self, name: &str, zone: &str) {
        self.state().add_app_library(name, zone);
    }

    /// Turns a folder into a folder that another account shares.
    ///
    /// # Errors
    /// Fails if there is no such folder.
    pub fn share(&self, path: &str) -> Result<(), NoSuchItem> {
        self.state().share(path)
    }

    /// Reads or changes the libraries of Photos like another device.
    pub fn photos<T>(&self, change: impl FnOnce(&mut Photos) -> T) -> T {
        change(&mut self.state().photos)
    }

    /// Adds a generated tree.
    pub fn seed(&self, tree: &SeedTree) {
        self.state().seed_tree(tree);
    }

    /// Changes an item like another device.
    ///
    /// # Errors
    /// Fails if there is no such item.
    pub fn mutate(&self, path: &str, mutation: Mutation) -> Result<(), NoSuchItem> {
        self.state().mutate(path, mutation)
    }

    /// Returns the bytes of a file, or the zip archive of a package.
    ///
    /// # Errors
    /// Fails if there is no such file.
    pub fn content(&self, path: &str) -> Result<Content, NoSuchItem> {
        self.state().content_at(path)
    }

    /// Returns every item in the drive, folders before their contents.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ItemInfo> {
        let stored = self.state().snapshot();
        hashed(stored)
    }

    /// Returns every item in the Trash; the paths begin with `TRASH_ROOT/`.
    #[must_use]
    pub fn trash(&self) -> Vec<ItemInfo> {
        let stored = self.state().trash_snapshot();
        hashed(stored)
    }
}
