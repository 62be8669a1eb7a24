//! A simulated iCloud that holds a kloset, and processes that serve it.

use std::{collections::BTreeMap, path::Path, sync::Mutex};

use bytes::Bytes;
use icloud_simulator::{Config, Content, FaultAction, MintedSession, RequestKind, Simulator};
use plakar_host::{Executable, Host, Mac, Range, Resource, Settings, Store, Surroundings};
use tempfile::TempDir;

pub const MIB: u64 = 1024 * 1024;

pub struct Drive {
    pub simulator: Simulator,
    session: MintedSession,
    authority: TempDir,
    /// The hosts of the processes. A host removes the home of its processes on drop.
    hosts: Mutex<Vec<Host>>,
}

impl Drive {
    pub fn new() -> Self {
        let simulator = Simulator::start(Config::default()).unwrap();
        let authority = TempDir::new().unwrap();
        simulator.write_ca(authority.path().join("ca.pem")).unwrap();
        Self { session: simulator.mint_session(), simulator, authority, hosts: Mutex::default() }
    }

    /// Returns surroundings with a separate home.
    pub fn surroundings(&self) -> Surroundings {
        Surroundings::new()
            .unwrap()
            .with("HTTPS_PROXY", self.simulator.proxy_url())
            .with("SSL_CERT_FILE", self.authority.path().join("ca.pem"))
    }

    pub fn settings(&self) -> Settings {
        Settings::new("icloud:///kloset")
            .with("apple_id", &self.session.apple_id)
            .with("trust_token", &self.session.trust_token)
            .with("cookies", &self.session.cookies)
    }

    /// Starts a separate process, as plakar does.
    pub async fn store(&self, settings: &Settings) -> Store {
        let host = Host::new(Executable::with_role_argument(program_path()), self.surroundings());
        let store = host.store(settings).await.unwrap();
        self.hosts.lock().unwrap().push(host);
        store
    }

    /// Stores a packfile before the test.
    pub fn packfile(&self, number: u8, size: u64) -> Mac {
        let mac = [number; 32];
        self.simulator.put_file(&path("packfiles", mac), content(number, size), 1_700_000_000_000);
        mac
    }

    pub fn requests(&self, kind: RequestKind) -> u64 {
        self.simulator.counts().of(kind)
    }

    /// Returns the number of bytes of content that the service has sent.
    pub fn fetched(&self) -> u64 {
        self.simulator.counts().kinds.get(&RequestKind::ContentGet).map_or(0, |count| count.bytes_out)
    }
}

pub fn program_path() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_plakar-icloud"))
}

pub fn content(seed: u8, size: u64) -> Content {
    Content::Generated { seed: seed.into(), size }
}

pub fn bytes(seed: u8, size: u64) -> Bytes {
    content(seed, size).read(0, size)
}

pub fn path(folder: &str, mac: Mac) -> String {
    format!("kloset/{folder}/{}", hex::encode(mac))
}

pub async fn get(store: &Store, mac: Mac, offset: u64, length: u64) -> plakar_host::Result<Bytes> {
    let range = Range { offset, length: length.try_into().unwrap() };
    store.get(Resource::Packfile, mac, Some(range)).await
}

pub fn status(status: u16) -> FaultAction {
    FaultAction::Status { status, body: String::new(), headers: BTreeMap::new() }
}
