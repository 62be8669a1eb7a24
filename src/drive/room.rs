//! The free room of the storage.

use std::time::Duration;

use super::Drive;

/// How long [`Drive::free_room`] waits for the response of the service.
const PATIENCE: Duration = Duration::from_secs(20);

impl Drive {
    /// Returns the free room of the storage in bytes, or none if it is unknown. Makes one attempt
    /// of limited duration: a restore needs the number only to end early.
    pub async fn free_room(&self) -> Option<u64> {
        let cause = match tokio::time::timeout(PATIENCE, self.remote.free_room()).await {
            Ok(Ok(free)) => return free,
            Ok(Err(cause)) => cause.text,
            Err(_) => "no response".to_owned(),
        };
        log::debug!("the free room of the storage is unknown: {cause}");
        None
    }
}
