//! Starts connectors.

use crate::error::Result;
use crate::exporter::{Exported, Exporter};
use crate::handshake::{Options, Settings};
use crate::importer::{Backup, Importer};
use crate::process::{Connector, Executable, Role, Surroundings};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tree::Tree;

/// An executable and the environment of its processes.
#[derive(Debug)]
pub struct Host {
    executable: Executable,
    surroundings: Surroundings,
}

impl Host {
    /// Returns a host that starts this executable.
    pub fn new(executable: Executable, surroundings: Surroundings) -> Self {
        Self { executable, surroundings }
    }

    /// Returns the environment of the connectors.
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Returns the environment of the connectors that are started from now on.
    pub fn surroundings_mut(&mut self) -> &mut Surroundings {
        &mut self.surroundings
    }

    /// Starts a connector without a call.
    ///
    /// # Errors
    /// Fails if it does not start or does not speak HTTP/2.
    pub async fn connect(&self, role: Role) -> Result<Connector> {
        Connector::spawn(&self.executable, role, &self.surroundings).await
    }

    /// Starts an importer up to Init.
    ///
    /// # Errors
    /// Fails if it does not start, or refuses the settings.
    pub async fn importer(&self, settings: &Settings, options: &Options) -> Result<Importer> {
        Importer::init(self.connect(Role::Importer).await?, settings, options).await
    }

    /// Starts an exporter up to Init.
    ///
    /// # Errors
    /// Fails if it does not start, or refuses the settings.
    pub async fn exporter(&self, settings: &Settings, options: &Options) -> Result<Exporter> {
        Exporter::init(self.connect(Role::Exporter).await?, settings, options).await
    }

    /// Starts a store up to Init.
    ///
    /// # Errors
    /// Fails if it does not start, or refuses the settings.
    pub async fn store(&self, settings: &Settings) -> Result<Store> {
        Store::init(self.connect(Role::Storage).await?, settings).await
    }

    /// Runs a whole backup with two importers, one of which only counts, unless the source can be
    /// listed only once. Both have exited at the end.
    ///
    /// # Errors
    /// Returns the errors that would make `plakar backup` fail. Files that could not be read are in
    /// the errors of the snapshot.
    pub async fn backup(&self, settings: &Settings, options: &Options, backup: Backup<'_>) -> Result<Snapshot> {
        let importer = self.importer(settings, options).await?;
        if importer.identity().is_stream() {
            let snapshot = importer.import(backup).await?;
            importer.close().await?;
            importer.into_connector().leave().await?;
            return Ok(snapshot);
        }
        let twin = self.importer(settings, options).await?;
        let (snapshot, _) = tokio::join!(importer.import(backup), twin.count());
        let snapshot = snapshot?;
        twin.close().await?;
        importer.close().await?;
        twin.into_connector().leave().await?;
        importer.into_connector().leave().await?;
        Ok(snapshot)
    }

    /// Runs a whole restore.
    ///
    /// # Errors
    /// Fails if the connector does not start, or refuses the settings. The outcome of the export is
    /// in the result.
    pub async fn restore(&self, settings: &Settings, options: &Options, tree: &Tree) -> Result<Exported> {
        let exporter = self.exporter(settings, options).await?;
        let exported = exporter.export(tree).await?;
        exporter.close().await?;
        exporter.into_connector().leave().await?;
        Ok(exported)
    }
}
