//! A simulated iCloud, and the connectors on it.

use std::{collections::BTreeMap, path::PathBuf};

use icloud_simulator::{Config, Content, FaultAction, FaultRule, HoldAt, MintedSession, RequestKind, Simulator};
use plakar_host::{Backup, Executable, Host, Mac, Options, PATIENCE, Settings, Snapshot, Surroundings, until};

/// The creation time of files, in milliseconds since 1970. iCloud stores whole seconds.
pub const MODIFIED: i64 = 1_700_000_000_000;

/// A separate drive, a signed-in account, and a host whose connectors can reach only that drive.
pub struct ICloud {
    pub simulator: Simulator,
    pub host: Host,
    session: MintedSession,
}

impl ICloud {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        let simulator = Simulator::start(config).unwrap();
        let surroundings = Surroundings::new().unwrap();
        let authority = surroundings.root().join("ca.pem");
        simulator.write_ca(&authority).unwrap();
        let surroundings = surroundings.with("HTTPS_PROXY", simulator.proxy_url()).with("SSL_CERT_FILE", authority);
        Self { session: simulator.mint_session(), host: Host::new(program(), surroundings), simulator }
    }

    /// Returns settings for a location, with the session but without the password, as plakar
    /// imports them from `rclone config show`.
    pub fn settings(&self, location: &str) -> Settings {
        Settings::new(location)
            .with("apple_id", &self.session.apple_id)
            .with("trust_token", &self.session.trust_token)
            .with("cookies", &self.session.cookies)
    }

    pub fn put(&self, path: &str, content: &[u8]) {
        self.simulator.put_file(path, Content::from(content), MODIFIED);
    }

    /// Creates three folders, one of them empty, and six files, one of them empty and one larger
    /// than a message.
    pub fn furnish(&self) {
        for (path, size) in [("a.txt", 100), ("docs/b.txt", 2_000), ("docs/deep/c.bin", 70_000), ("docs/deep/d", 1)] {
            self.simulator.put_file(path, Content::Generated { seed: size, size }, MODIFIED);
        }
        self.put("docs/empty.txt", b"");
        self.simulator.put_file("docs/large.bin", Content::Generated { seed: 9, size: 3_000_001 }, MODIFIED);
        self.simulator.make_folders("docs/nothing");
    }

    /// Makes listings of a folder empty, while the service still counts its items.
    pub fn hide_from_listing(&self, path: &str, items: usize) -> FaultRule {
        let id = self.drive_id(path);
        let text = format!(r#"[{{"drivewsid":"{id}","status":"OK","numberOfItems":{items},"items":[]}}]"#);
        FaultRule::new(RequestKind::List, FaultAction::Replace { text, effect: false }).matching(id)
    }

    /// Makes listings of a folder show the files that it contains now, even after later changes.
    pub fn listing(&self, folder: &str) -> FaultRule {
        let id = self.drive_id(folder);
        let below = format!("{folder}/");
        let items: Vec<String> = self
            .simulator
            .snapshot()
            .into_iter()
            .filter_map(|item| {
                let (name, size) = (item.path.strip_prefix(&below)?, item.size);
                let docid = item.drive_id.rsplit("::").next()?;
                Some(format!(
                    r#"{{"drivewsid":"{}","docwsid":"{docid}","parentId":"{id}","zone":"com.apple.CloudDocs","name":"{name}","size":{size},"type":"FILE","etag":"{}","dateModified":"2023-11-14T22:13:20Z"}}"#,
                    item.drive_id, item.etag
                ))
            })
            .collect();
        let (count, items) = (items.len(), items.join(","));
        let text = format!(r#"[{{"drivewsid":"{id}","status":"OK","numberOfItems":{count},"items":[{items}]}}]"#);
        FaultRule::new(RequestKind::List, FaultAction::Replace { text, effect: false }).matching(id)
    }

    /// Returns the contents of the drive by path, with a leading slash.
    pub fn contents(&self) -> BTreeMap<String, String> {
        let file = |item: icloud_simulator::ItemInfo| Some((format!("/{}", item.path), item.sha256?));
        self.simulator.snapshot().into_iter().filter_map(file).collect()
    }

    /// Waits until no path of the drive contains `part`.
    pub async fn until_gone(&self, part: &str) {
        until(|| !self.contents().keys().any(|path| path.contains(part))).await;
    }

    pub fn drive_id(&self, path: &str) -> String {
        let items = self.simulator.snapshot();
        items.into_iter().find(|item| item.path == path).expect("no such item").drive_id
    }

    pub async fn backup(&self, location: &str) -> Snapshot {
        self.host.backup(&self.settings(location), &Options::default(), Backup::first()).await.unwrap()
    }

    pub async fn backup_after(&self, location: &str, parent: &Snapshot) -> Snapshot {
        self.host.backup(&self.settings(location), &Options::default(), Backup::after(parent)).await.unwrap()
    }

    /// Returns the files and folders that are left behind, except the sessions, the last runs and
    /// the small caches of the state folder.
    pub fn traces(&self) -> Vec<PathBuf> {
        let surroundings = self.host.surroundings();
        let state = surroundings.home().join(".local/state/plakar-icloud");
        let mut traces = surroundings.traces().unwrap();
        for kept in ["sessions", "kept", "runs"].map(|folder| state.join(folder)) {
            traces.retain(|path| !path.starts_with(&kept) && !kept.starts_with(path));
        }
        traces
    }

    pub fn fail(&self, kind: RequestKind, status: u16) -> FaultRule {
        FaultRule::new(kind, FaultAction::Status { status, body: String::new(), headers: BTreeMap::new() })
    }

    /// Makes requests for the content of one file fail with a status.
    pub fn fail_content(&self, path: &str, status: u16) {
        let drive_id = self.drive_id(path);
        let document = drive_id.rsplit("::").next().expect("an id has parts");
        for kind in [RequestKind::ById, RequestKind::DownloadBatch] {
            self.simulator.add_fault(self.fail(kind, status).matching(document));
        }
    }

    /// Makes requests of a kind wait until `release(gate)`.
    pub fn hold(&self, kind: RequestKind, gate: &str) {
        let hold = FaultAction::Hold { gate: gate.to_owned(), at: HoldAt::Arrival };
        self.simulator.add_fault(FaultRule::new(kind, hold));
    }

    pub async fn until(&self, kind: RequestKind, count: u64) {
        self.simulator.wait_for(kind, count, PATIENCE).await.unwrap();
    }

    pub fn count(&self, kind: RequestKind) -> u64 {
        self.simulator.counts().of(kind)
    }
}

/// Returns surroundings from which only the simulator can be reached.
pub fn surroundings(simulator: &Simulator) -> Surroundings {
    let surroundings = Surroundings::new().unwrap();
    let authority = surroundings.root().join("ca.pem");
    simulator.write_ca(&authority).unwrap();
    surroundings.with("HTTPS_PROXY", simulator.proxy_url()).with("SSL_CERT_FILE", authority)
}

/// Returns the program under test.
pub fn program() -> Executable {
    Executable::with_role_argument(env!("CARGO_BIN_EXE_plakar-icloud"))
}

/// Returns the names of a snapshot's files with their digests in the simulator's form.
pub fn digests(snapshot: &Snapshot) -> BTreeMap<String, String> {
    snapshot.contents().into_iter().map(|(path, digest)| (path.to_owned(), hex(&digest))).collect()
}

pub fn hex(mac: &Mac) -> String {
    ::hex::encode(mac)
}

/// Asserts that nothing failed and that there was no violation that plakar would not report.
pub fn assert_sound(snapshot: &Snapshot) {
    assert_eq!(snapshot.errors, BTreeMap::new());
    assert_eq!(snapshot.violations, Vec::<String>::new());
}
