//! What Init sets up and every later call needs.

use std::{collections::HashMap, sync::OnceLock};

use tokio::sync::OnceCell;
use tonic::Status;

use super::status;
use crate::{
    account::{Access, Forecast},
    config::{Config, OPTIONS},
    drive::{Drive, DrivePath},
    rclone::{Kind, Rclone},
};

/// The account in use. A process serves one connector, and that one account.
static WATCHED: OnceLock<(Forecast, Access)> = OnceLock::new();
/// The drive in use, likewise.
static OPENED: OnceLock<Drive> = OnceLock::new();

/// Ends what a connector has begun: saves what the session has become, and tells if
/// it has ended meanwhile.
pub async fn end() {
    if let Some(drive) = OPENED.get()
        && let Err(error) = drive.close().await
    {
        log::warn!("{error}");
    }
    if let Some((forecast, access)) = WATCHED.get() {
        forecast.tell(access).await;
    }
}

/// A connector's configuration, and its drive once something needs the network.
#[derive(Debug)]
pub struct Session {
    /// The checked configuration.
    pub config: Config,
    drive: OnceCell<Drive>,
}

impl Session {
    /// Checks a configuration. Uses no network: plakar starts two importers for
    /// a backup, and one for a mere look at the configuration.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub async fn begin(map: HashMap<String, String>) -> Result<Self, Status> {
        let config = Config::read(map).map_err(status::of)?;
        let checked = Rclone::start().check(&config.section, config.sections.clone(), &OPTIONS).await;
        checked.map_err(status::of)?;
        Ok(Self { config, drive: OnceCell::new() })
    }

    /// The drive, opened by whoever needs it first.
    ///
    /// # Errors
    /// If it cannot be opened; the next call tries again.
    pub async fn drive(&self) -> Result<&Drive, Status> {
        self.drive.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<Drive, Status> {
        let Config { section, sections, origin, limits, access, forecast, .. } = &self.config;
        if let Some(access) = access {
            forecast.tell(access).await;
            WATCHED.set((forecast.clone(), access.clone())).ok();
        }
        let drive = Drive::open(section, sections.clone(), origin, limits).await.map_err(status::of)?;
        OPENED.set(drive.clone()).ok();
        Ok(drive)
    }

    /// The folder or file that the location names.
    pub fn top(&self) -> &DrivePath {
        &self.config.top
    }

    /// Asks the service for the top folder. `must_exist` says whether a missing
    /// one is an error.
    ///
    /// # Errors
    /// If the service does not answer, or the folder is missing.
    pub async fn ping(&self, must_exist: bool) -> Result<(), Status> {
        let drive = self.drive().await?;
        match drive.list_one(self.top()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() != Kind::NotFound => Err(status::of(error)),
            Err(_) if !must_exist => Ok(()),
            // It may be a file.
            Err(error) => match drive.stat(self.top()).await.map_err(status::of)? {
                Some(_) => Ok(()),
                None => Err(status::of(error)),
            },
        }
    }
}
