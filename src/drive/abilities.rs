//! What the storage can hold.

use std::time::Duration;

use super::{Drive, DrivePath, Error};
use crate::rclone::Collection;

/// How long [`Drive::free_room`] waits for the response of the service.
const FREE_ROOM_TIMEOUT: Duration = Duration::from_secs(20);

impl Drive {
    /// Reports whether folders without files can be stored.
    pub fn keeps_empty_folders(&self) -> bool {
        self.remote.keeps_empty_folders
    }

    /// Reports whether the old version of a replaced file is in the Trash of the service.
    pub fn trashes_replaced(&self) -> bool {
        self.remote.trashes_replaced
    }

    /// Reports whether a name is that of a package, which the service stores as one file. Returns
    /// false if the service has no packages.
    pub async fn is_package_name(&self, name: &str) -> bool {
        // Fails only if the remote is closed.
        self.remote.is_package_name(name).await.unwrap_or_default()
    }

    /// Returns the collections, such as photo libraries, with the numbers of their items.
    ///
    /// # Errors
    /// Returns the error of the service.
    pub async fn collections(&self) -> Result<Vec<Collection>, Error> {
        let found = self.remote.collections().await;
        found.map_err(|cause| Error::new("cannot count the items of", &DrivePath::top(), cause))
    }

    /// Returns the free room of the storage in bytes, or none if it is unknown. Makes one attempt
    /// of limited duration: a restore needs the number only to end early.
    pub async fn free_room(&self) -> Option<u64> {
        let cause = match tokio::time::timeout(FREE_ROOM_TIMEOUT, self.remote.free_room()).await {
            Ok(Ok(free)) => return free,
            Ok(Err(cause)) => cause.text,
            Err(_) => "no response".to_owned(),
        };
        log::debug!("the free room of the storage is unknown: {cause}");
        None
    }
}
