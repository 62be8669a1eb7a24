//! The running simulator and its handles.

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

/// How a simulator starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Seeds ids, tokens and fault probabilities: the same seed and requests give the same answers.
    pub seed: u64,
    /// Hosts, by the end of their name, that offer HTTP/1.1 only; an empty text is all of them.
    ///
    /// By default the upload hosts: over HTTP/2 a body shorter than announced is a protocol error that the server's
    /// library answers by itself, and on which Go's client sends the request again without end.
    pub http1_hosts: Vec<String>,
    /// The service's rules at the start.
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
    /// The address is taken or not this machine's.
    #[error("cannot listen: {0}")]
    Listen(#[from] io::Error),
    /// No key or certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate was refused.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The awaited requests did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("{seen} of {wanted} requests of kind {kind:?} within {within:?}")]
pub struct WaitTimeout {
    /// What was awaited.
    pub kind: RequestKind,
    /// How many.
    pub wanted: u64,
    /// How many came.
    pub seen: u64,
    /// The time they had.
    pub within: Duration,
}

/// A simulated iCloud on a port of this machine. It runs on threads of its own, so a test may block; dropping it ends it.
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
    /// When the address cannot be listened on, or no certificate can be made.
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

    /// `http://127.0.0.1:PORT`: the value for `HTTPS_PROXY`, and where `/control/` is.
    #[must_use]
    pub fn proxy_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The certificate authority that clients must trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.proxy.authority.pem()
    }

    /// Writes [`Self::ca_pem`] to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_ca(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.ca_pem())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.proxy.shared.lock()
    }

    /// Changes the rules of the service from now on.
    pub fn rules<T>(&self, change: impl FnOnce(&mut Rules) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state.rules);
        state.settle_rules();
        changed
    }

    /// Moves the service's clock by so many seconds from where it is.
    pub fn advance_clock(&self, seconds: i64) {
        let mut state = self.state();
        let offset = state.clock.offset_seconds() + seconds;
        state.clock.set_offset_seconds(offset);
    }

    /// A session that is signed in already, with a trust token.
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

    /// [`Self::end_sessions`], once so many more data requests have passed.
    pub fn end_sessions_after(&self, requests: u64, status: u16) {
        self.state().account.end_sessions_after(requests, status);
    }

    /// Ends the session tokens of the sign-ins so far: `accountLogin` answers them 421, while the web sessions that
    /// they began go on.
    pub fn end_session_tokens(&self) {
        self.state().account.end_session_tokens();
    }

    /// Makes every trust token void: the next sign-in needs a code.
    pub fn end_trust(&self) {
        self.state().account.end_trust();
    }

    /// Makes every PCS cookie stale: data requests of an account with Advanced Data Protection get 423.
    pub fn end_pcs(&self) {
        self.state().account.end_pcs();
    }

    /// Forgets wrong passwords and codes.
    pub fn forgive(&self) {
        self.state().account.forgive();
    }

    /// Adds a fault rule behind those there are; gives its id.
    pub fn add_fault(&self, rule: FaultRule) -> u64 {
        self.state().faults.add(rule)
    }

    /// Takes one fault rule back.
    pub fn remove_fault(&self, id: u64) {
        self.state().faults.remove(id);
    }

    /// Takes all fault rules back.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// How often each fault rule has applied, by id.
    #[must_use]
    pub fn faults_applied(&self) -> BTreeMap<u64, u64> {
        self.state().faults.applied()
    }

    /// Opens a gate for the requests that wait at it and all later ones; [`Self::close_gate`] closes it again.
    pub fn release(&self, gate: &str) {
        self.state().open_gates.insert(gate.to_owned());
        self.proxy.shared.notify();
    }

    /// Makes requests wait at the gate again.
    pub fn close_gate(&self, gate: &str) {
        self.state().open_gates.remove(gate);
    }

    /// Counts since the start or the last reset.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().journal.counts().clone()
    }

    /// The requests since the start or the last reset, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Entry> {
        self.state().journal.entries().to_vec()
    }

    /// Empties the journal and starts counting anew.
    pub fn reset_counts(&self) {
        self.state().journal.reset();
    }

    /// Returns once `wanted` requests of a kind have arrived since the last reset.
    ///
    /// # Errors
    /// When they have not within `within`.
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

    /// [`Self::wait_for`] for tests that are not async; it blocks the thread.
    ///
    /// # Errors
    /// When the requests have not arrived within `within`.
    pub fn wait_for_blocking(&self, kind: RequestKind, wanted: u64, within: Duration) -> Result<(), WaitTimeout> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(self.wait_for(kind, wanted, within)),
            None => Ok(()),
        }
    }

    /// Creates a folder, with those above it.
    pub fn make_folders(&self, path: &str) {
        self.state().make_folders(path);
    }

    /// Creates or overwrites a file, with the folders above it.
    pub fn put_file(&self, path: &str, content: Content, modified_ms: i64) {
        self.state().put_body(path, Body::File(content), modified_ms);
    }

    /// Creates a package: listed with `listed_size`, or the sum of the entries' sizes, and downloaded as a zip of
    /// `entries`, in which a name that ends in `/` is an empty folder.
    pub fn put_package(&self, path: &str, entries: &[(String, Bytes)], listed_size: Option<u64>, modified_ms: i64) {
        self.state().put_package(path, entries, listed_size, modified_ms);
    }

    /// Creates an app's library in the root, a folder with a zone of its own.
    pub fn add_app_library(&self, name: &str, zone: &str) {
        self.state().add_app_library(name, zone);
    }

    /// Makes a folder one that another account shares.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn share(&self, path: &str) -> Result<(), NoSuchItem> {
        self.state().share(path)
    }

    /// Reads or changes the libraries of Photos, as other devices would.
    pub fn photos<T>(&self, change: impl FnOnce(&mut Photos) -> T) -> T {
        change(&mut self.state().photos)
    }

    /// Adds a generated tree.
    pub fn seed(&self, tree: &SeedTree) {
        self.state().seed_tree(tree);
    }

    /// Changes an item as another device would.
    ///
    /// # Errors
    /// When there is no such item.
    pub fn mutate(&self, path: &str, mutation: Mutation) -> Result<(), NoSuchItem> {
        self.state().mutate(path, mutation)
    }

    /// The bytes of a file, or a package's zip.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn content(&self, path: &str) -> Result<Content, NoSuchItem> {
        self.state().content_at(path)
    }

    /// Everything in the drive, folders before what they hold.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ItemInfo> {
        let stored = self.state().snapshot();
        hashed(stored)
    }

    /// Everything in the trash; paths begin with `TRASH_ROOT/`.
    #[must_use]
    pub fn trash(&self) -> Vec<ItemInfo> {
        let stored = self.state().trash_snapshot();
        hashed(stored)
    }
}
