//! The work during which the fault happens, and the conditions that must hold afterwards.

use std::collections::BTreeSet;
use std::fmt::Display;

use icloud_simulator::{Counts, MintedSession};
use plakar_host::{Backup, Exported, Kloset, Options, PATIENCE, Settings, Snapshot, Tree};

use crate::cells::Cell;
use crate::icloud::{ICloud, digests};

/// rclone's obscured form of the account's password.
const PASSWORD: &str = "H2D5a-RoBnhONFDwZlDkGiAXI3NszwApGyshKJI";

/// The option `silence`: how long a response may stall before the request is cancelled.
const SILENCE: &str = "3s";

/// The use of an account.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    Backup,
    Restore,
    Kloset,
}

/// Why a cell failed.
type Verdict = Result<(), String>;

impl Work {
    /// Returns the requests of a run without faults.
    pub async fn requests(self) -> Counts {
        let mut counts = Counts::default();
        let outcome = self.run_with(|_| (), |icloud| counts = icloud.simulator.counts()).await;
        outcome.expect("a run without faults");
        counts
    }

    /// Runs the work with one fault.
    pub async fn run(self, cell: &Cell) -> Verdict {
        self.run_with(|icloud| _ = icloud.simulator.add_fault(cell.rule()), |_| ()).await
    }

    async fn run_with(self, begin: impl FnOnce(&ICloud), end: impl FnOnce(&ICloud)) -> Verdict {
        let icloud = ICloud::new();
        let settings = signing_in(&icloud.simulator.mint_session());
        match self {
            Self::Backup => backup(&icloud, &settings, begin, end).await,
            Self::Restore => restore(&icloud, &settings, begin, end).await,
            Self::Kloset => kloset(&icloud, &settings, begin, end).await,
        }
    }
}

/// Returns settings with a password and trust but without a session, so that the first request
/// signs in.
fn signing_in(session: &MintedSession) -> Settings {
    Settings::new("icloud://")
        .with("apple_id", &session.apple_id)
        .with("trust_token", &session.trust_token)
        .with("password", PASSWORD)
        .with("silence", SILENCE)
}

async fn backup(
    icloud: &ICloud,
    settings: &Settings,
    begin: impl FnOnce(&ICloud),
    end: impl FnOnce(&ICloud),
) -> Verdict {
    icloud.furnish();
    icloud.simulator.reset_counts();
    begin(icloud);
    let outcome = icloud.host.backup(settings, &Options::default(), Backup::first()).await;
    end(icloud);
    let Some(snapshot) = acceptable(outcome)? else { return Ok(()) };
    require_empty(&snapshot.violations, "violations of the protocol")?;
    let saved = digests(&snapshot);
    for (path, digest) in icloud.contents() {
        let failed = snapshot.errors.keys().any(|failed| path == *failed || path.starts_with(&format!("{failed}/")));
        match saved.get(&path) {
            Some(saved) if *saved == digest => {}
            Some(_) => return Err(format!("{path} was saved with other content")),
            None if failed => {}
            None => return Err(format!("{path} was lost without an error")),
        }
    }
    Ok(())
}

async fn restore(
    icloud: &ICloud,
    settings: &Settings,
    begin: impl FnOnce(&ICloud),
    end: impl FnOnce(&ICloud),
) -> Verdict {
    let tree = Tree::new()
        .folder("/")
        .file("/a.txt", "new a")
        .file("/b.txt", "new b")
        .folder("/sub")
        .file("/sub/c.txt", vec![3; 70_000])
        .folder("/new")
        .file("/new/d.txt", "d")
        .file("/new/empty.txt", "");
    for (path, content) in [("to/a.txt", "old a"), ("to/sub/c.txt", "old c"), ("to/sub/untouched.txt", "untouched")] {
        icloud.put(path, content.as_bytes());
    }
    let before: BTreeSet<String> = icloud.contents().into_values().collect();
    icloud.simulator.reset_counts();
    begin(icloud);
    let settings = settings.clone().at("icloud:///to");
    let (outcome, stderr) = restore_with_stderr(icloud, &settings, &tree).await;
    end(icloud);
    icloud.simulator.clear_faults();

    let trashed = icloud.simulator.trash().into_iter().filter_map(|item| item.sha256);
    let kept: BTreeSet<String> = icloud.contents().into_values().chain(trashed).collect();
    require_empty(&before.difference(&kept).collect::<Vec<_>>(), "contents that are lost")?;
    let Some(exported) = acceptable(outcome)? else { return Ok(()) };
    let failed = exported.errors().into_keys().map(str::to_owned).collect::<BTreeSet<_>>();
    if exported.end.is_ok() && !failed.is_empty() {
        return Err(format!("the restore succeeded although {failed:?} failed"));
    }
    let mut stored = icloud.contents();
    for (path, content) in tree.contents() {
        let digest = crate::icloud::hex(&plakar_host::digest(content));
        let is_there = stored.remove(&format!("/to{path}")) == Some(digest);
        if !is_there && !failed.contains(path) && exported.end.is_ok() {
            return Err(format!("{path} was not restored, without an error; stderr: {stderr}"));
        }
    }
    stored.remove("/to/sub/untouched.txt");
    if exported.end.is_ok() {
        require_empty(&stored.into_keys().collect::<Vec<_>>(), "files that the restore left behind")?;
    }
    Ok(())
}

/// Runs a whole restore. Returns its outcome and what the connector wrote to stderr.
async fn restore_with_stderr(
    icloud: &ICloud,
    settings: &Settings,
    tree: &Tree,
) -> (plakar_host::Result<Exported>, String) {
    let exporter = match icloud.host.exporter(settings, &Options::default()).await {
        Ok(exporter) => exporter,
        Err(error) => return (Err(error), String::new()),
    };
    let exported = exporter.export(tree).await;
    let closed = exporter.close().await;
    let mut connector = exporter.into_connector();
    connector.hang_up();
    let ended = connector.wait(PATIENCE).await;
    let outcome = exported.and_then(|exported| closed.and(ended).map(|_| exported));
    (outcome, connector.stderr())
}

async fn kloset(
    icloud: &ICloud,
    settings: &Settings,
    begin: impl FnOnce(&ICloud),
    end: impl FnOnce(&ICloud),
) -> Verdict {
    let first = snapshot_of(icloud, &[("a.txt", "a"), ("sub/b.txt", "b")]).await;
    let second = snapshot_of(icloud, &[("a.txt", "a"), ("sub/c.txt", "c")]).await;
    let at = |settings: Settings| settings.at("icloud:///kloset");
    let clean = at(icloud.settings("icloud://"));
    let store = icloud.host.store(&clean).await.map_err(text)?;
    let created = Kloset::create(&store).await.map_err(text)?.backup(&first).await.map_err(text)?;
    store.into_connector().leave().await.map_err(text)?;
    icloud.simulator.reset_counts();
    begin(icloud);
    let outcome = back_up_into(icloud, &at(settings.clone()), &second).await;
    end(icloud);
    icloud.simulator.clear_faults();

    let added = acceptable(outcome)?;
    let store = icloud.host.store(&clean).await.map_err(text)?;
    let kloset = Kloset::open(&store).await.map_err(text)?;
    for (id, snapshot) in [(Some(created), &first), (added, &second)] {
        let Some(id) = id else { continue };
        kloset.check(id).await.map_err(text)?;
        if digests(&kloset.load(id).await.map_err(text)?) != digests(snapshot) {
            return Err(format!("snapshot {} is not what was backed up", crate::icloud::hex(&id)));
        }
    }
    Ok(())
}

async fn back_up_into(
    icloud: &ICloud,
    settings: &Settings,
    snapshot: &Snapshot,
) -> plakar_host::Result<plakar_host::Mac> {
    let store = icloud.host.store(settings).await?;
    let id = Kloset::open(&store).await?.backup(snapshot).await?;
    store.close().await?;
    store.into_connector().leave().await?;
    Ok(id)
}

/// Returns a snapshot of files in another drive.
async fn snapshot_of(icloud: &ICloud, files: &[(&str, &str)]) -> Snapshot {
    for (path, content) in files {
        icloud.put(&format!("from/{path}"), content.as_bytes());
    }
    icloud.backup("icloud:///from").await
}

/// Returns the result of a run that succeeded, or none if it failed with an error that plakar
/// shows, which is acceptable. Violations of the protocol and runs that do not end are not
/// acceptable.
fn acceptable<T>(outcome: plakar_host::Result<T>) -> Result<Option<T>, String> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error @ plakar_host::Error::Refused { .. }) if error.message().is_empty() => {
            Err(String::from("it failed without a message"))
        }
        Err(plakar_host::Error::Refused { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn require_empty<T: std::fmt::Debug>(found: &[T], what: &str) -> Verdict {
    if found.is_empty() { Ok(()) } else { Err(format!("{what}: {found:?}")) }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
