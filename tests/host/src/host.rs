//! Starts connectors.

use crate::error::Result;
use crate::exporter::{Exported, Exporter};
use crate::handshake::{Options, Settings};
use crate::importer::{Backup, Importer};
use crate::process::{Connector, Executable, Role, Surroundings};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tree::Tree;

/// An executable and what it inherits.
#[derive(Debug)]
pub struct Host {
    executable: Executable,
    surroundings: Surroundings,
}

impl Host {
    /// A host of this executable.
    pub fn new(executable: Executable, surroundings: Surroundings) -> Self {
        Self { executable, surroundings }
    }

    /// What the connectors inherit.
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// What the connectors that are started from now on inherit.
    pub fn surroundings_mut(&mut self) -> &mut Surroundings {
        &mut self.surroundings
    }

    /// Starts a connector and calls nothing on it.
    ///
    /// # Errors
    ///
    /// It does not start or does not speak HTTP/2.
    pub async fn connect(&self, role: Role) -> Result<Connector> {
        Connector::spawn(&self.executable, role, &self.surroundings).await
    }

    /// Starts an importer up to Init.
    ///
    /// # Errors
    ///
    /// It does not start, or refuses the settings.
    pub async fn importer(&self, settings: &Settings, options: &Options) -> Result<Importer> {
        Importer::init(self.connect(Role::Importer).await?, settings, options).await
    }

    /// Starts an exporter up to Init.
    ///
    /// # Errors
    ///
    /// It does not start, or refuses the settings.
    pub async fn exporter(&self, settings: &Settings, options: &Options) -> Result<Exporter> {
        Exporter::init(self.connect(Role::Exporter).await?, settings, options).await
    }

    /// Starts a store up to Init.
    ///
    /// # Errors
    ///
    /// It does not start, or refuses the settings.
    pub async fn store(&self, settings: &Settings) -> Result<Store> {
        Store::init(self.connect(Role::Storage).await?, settings).await
    }

    /// A whole backup: two importers, one of which only counts, both closed and
    /// gone at the end.
    ///
    /// # Errors
    ///
    /// What would make `plakar backup` fail; files that could not be read are
    /// in the snapshot's errors.
    pub async fn backup(&self, settings: &Settings, options: &Options, backup: Backup<'_>) -> Result<Snapshot> {
        let importer = self.importer(settings, options).await?;
        let twin = self.importer(settings, options).await?;
        let (snapshot, _) = tokio::join!(importer.import(backup), twin.count());
        let snapshot = snapshot?;
        twin.close().await?;
        importer.close().await?;
        twin.into_connector().leave().await?;
        importer.into_connector().leave().await?;
        Ok(snapshot)
    }

    /// A whole restore.
    ///
    /// # Errors
    ///
    /// It does not start, or refuses the settings. How the export went is in
    /// the answer.
    pub async fn restore(&self, settings: &Settings, options: &Options, tree: &Tree) -> Result<Exported> {
        let exporter = self.exporter(settings, options).await?;
        let exported = exporter.export(tree).await?;
        exporter.close().await?;
        exporter.into_connector().leave().await?;
        Ok(exported)
    }
}
