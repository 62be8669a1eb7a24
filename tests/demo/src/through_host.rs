//! The steps of the demo through the host of the tests.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use plakar_host::{Backup, Executable, Host, Kloset, Options, Settings, Snapshot, SnapshotId, Store, Tree};
use tempfile::TempDir;

use super::{FILES, Failure, KLOSET, RESTORED, Way};
use crate::drive::{Drive, program};

pub struct ThroughHost {
    host: Host,
    files: Settings,
    restored: Settings,
    kloset: Settings,
    folder: TempDir,
    options: Options,
    /// The last backup of the drive.
    snapshot: RefCell<Option<Snapshot>>,
    kept: RefCell<Option<SnapshotId>>,
}

impl ThroughHost {
    pub fn new(drive: &Drive) -> Result<Self, Failure> {
        Ok(Self {
            host: Host::new(Executable::with_role_argument(program()?), drive.surroundings()?),
            files: drive.settings(FILES),
            restored: drive.settings(RESTORED),
            kloset: drive.settings(KLOSET),
            folder: TempDir::new()?,
            options: Options::default(),
            snapshot: RefCell::default(),
            kept: RefCell::default(),
        })
    }

    fn tree(&self) -> Result<Tree, Failure> {
        let snapshot = self.snapshot.borrow();
        let snapshot = snapshot.as_ref().ok_or("there is no backup")?;
        Ok(snapshot.restore(&snapshot.root))
    }

    async fn restore(&self, settings: &Settings, tree: &Tree) -> Result<(), Failure> {
        Ok(self.host.restore(settings, &self.options, tree).await?.end?)
    }

    fn kept(&self) -> Result<SnapshotId, Failure> {
        Ok(self.kept.borrow().ok_or("the kloset is empty")?)
    }

    async fn store(&self) -> Result<Store, Failure> {
        Ok(self.host.store(&self.kloset).await?)
    }
}

impl Way for ThroughHost {
    const NAME: &str = "through the host that the tests use, for plakar is not on PATH";

    async fn back_up_drive(&self) -> Result<(), Failure> {
        let parent = self.snapshot.take();
        let backup = parent.as_ref().map_or_else(Backup::first, Backup::after);
        let snapshot = sound(self.host.backup(&self.files, &self.options, backup).await?)?;
        self.snapshot.replace(Some(snapshot));
        Ok(())
    }

    async fn restore_into_drive(&self) -> Result<(), Failure> {
        self.restore(&self.restored, &self.tree()?).await
    }

    async fn restore_here(&self) -> Result<PathBuf, Failure> {
        let folder = self.folder.path().join("restored");
        self.restore(&local(&folder), &self.tree()?).await?;
        Ok(folder)
    }

    async fn make_kloset(&self) -> Result<(), Failure> {
        let store = self.store().await?;
        Kloset::create(&store).await?;
        leave(store).await
    }

    async fn keep(&self) -> Result<(), Failure> {
        let source = local(&self.folder.path().join("restored"));
        let snapshot = sound(self.host.backup(&source, &self.options, Backup::first()).await?)?;
        let store = self.store().await?;
        let id = Kloset::open(&store).await?.backup(&snapshot).await?;
        self.kept.replace(Some(id));
        leave(store).await
    }

    async fn check(&self) -> Result<(), Failure> {
        let store = self.store().await?;
        Kloset::open(&store).await?.check(self.kept()?).await?;
        leave(store).await
    }

    async fn restore_kept(&self) -> Result<PathBuf, Failure> {
        let store = self.store().await?;
        let snapshot = Kloset::open(&store).await?.load(self.kept()?).await?;
        leave(store).await?;
        let folder = self.folder.path().join("kept");
        self.restore(&local(&folder), &snapshot.restore(&snapshot.root)).await?;
        Ok(folder)
    }

    async fn leave(self) -> Result<(), Failure> {
        Ok(())
    }
}

fn local(folder: &Path) -> Settings {
    Settings::new(&format!("rclone://{}", folder.display())).with("rclone_type", "local")
}

async fn leave(store: Store) -> Result<(), Failure> {
    store.close().await?;
    Ok(store.into_connector().leave().await?)
}

/// Checks that a backup left nothing out.
fn sound(snapshot: Snapshot) -> Result<Snapshot, Failure> {
    match snapshot.errors.first_key_value() {
        Some((path, reason)) => Err(format!("{path}: {reason}").into()),
        None => Ok(snapshot),
    }
}
