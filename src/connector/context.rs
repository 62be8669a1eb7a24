//! The state that all calls to a connector share: the configuration from Init, and the drive.

use std::collections::HashMap;

use tokio::sync::OnceCell;
use tonic::Status;

use super::status;
use crate::{
    config::{self, Config},
    drive::{Drive, DrivePath},
    rclone::{Kind, Rclone},
};

/// The configuration of a connector, set once by Init, and its drive, which is opened by the first
/// call that needs the network. A process serves one connector.
#[derive(Debug, Default)]
pub struct Context {
    config: OnceCell<Config>,
    drive: OnceCell<Drive>,
}

impl Context {
    /// Checks a configuration and stores it. Does not use the network, because plakar starts two
    /// importers for a backup, and one to check a configuration.
    ///
    /// # Errors
    /// Fails if the configuration is invalid or is already set.
    pub async fn configure(&self, map: HashMap<String, String>) -> Result<&Config, Status> {
        let config = Config::read(map).map_err(status::of)?;
        let checked = Rclone::start().check(&config.section, config.sections.clone(), config::names()).await;
        checked.map_err(status::of)?;
        self.config.set(config).map_err(|_| status::of("Init was called twice"))?;
        self.config()
    }

    /// Returns the configuration.
    ///
    /// # Errors
    /// Fails if Init was not called.
    pub fn config(&self) -> Result<&Config, Status> {
        self.config.get().ok_or_else(|| status::of("Init was not called"))
    }

    /// Returns the drive. The first call opens it.
    ///
    /// # Errors
    /// Fails if the drive cannot be opened. The next call then tries again.
    pub async fn drive(&self) -> Result<&Drive, Status> {
        let config = self.config()?;
        self.drive.get_or_try_init(|| open(config)).await
    }

    /// Returns the folder or file that the location names.
    ///
    /// # Errors
    /// Fails if Init was not called.
    pub fn top(&self) -> Result<&DrivePath, Status> {
        Ok(&self.config()?.top)
    }

    /// Checks that the service responds to a request for the top folder. With `must_exist`, a
    /// missing folder is an error.
    ///
    /// # Errors
    /// Fails if the service does not respond or the folder is missing.
    pub async fn ping(&self, must_exist: bool) -> Result<(), Status> {
        let (drive, top) = (self.drive().await?, self.top()?);
        match drive.list_usable(top).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() != Kind::NotFound => Err(status::of(error)),
            Err(_) if !must_exist => Ok(()),
            // The top may be a file.
            Err(error) => match drive.stat(top).await.map_err(status::of)? {
                Some(_) => Ok(()),
                None => Err(status::of(error)),
            },
        }
    }

    /// Closes the drive, which saves the account's session, and warns if a person has to sign in.
    pub async fn close(&self) {
        let Some(drive) = self.drive.get() else {
            return;
        };
        if let Err(error) = drive.close().await {
            log::warn!("{error}");
        }
        if let Some(config) = self.config.get() {
            forecast(config).await;
        }
    }
}

async fn open(config: &Config) -> Result<Drive, Status> {
    forecast(config).await;
    let leftovers = config.leftovers.as_deref();
    let opened = Drive::open(&config.section, config.sections.clone(), &config.limits, &config.top, leftovers).await;
    opened.map_err(status::of)
}

async fn forecast(config: &Config) {
    if let Some(access) = &config.access {
        config.forecast.warn(access).await;
    }
}
