//! The lock of a backup.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::{Mac, Resource, Store};

/// The age at which a lock is stale if it was not refreshed.
const STALE: Duration = Duration::from_secs(10 * 60);

#[derive(Serialize, Deserialize)]
struct Lock {
    taken: SystemTime,
    exclusive: bool,
}

pub(super) async fn put(store: &Store, id: Mac, taken: SystemTime, exclusive: bool) -> Result<()> {
    let encoded = serde_json::to_vec(&Lock { taken, exclusive }).map_err(std::io::Error::from)?;
    store.put(Resource::Lock, id, encoded.into()).await.map(drop)
}

/// Stores a lock, examines all locks, and removes the stale ones.
pub(super) async fn acquire(store: &Store, id: Mac) -> Result<()> {
    put(store, id, SystemTime::now(), false).await?;
    for other in store.list(Resource::Lock).await? {
        let encoded = store.get(Resource::Lock, other, None).await?;
        let lock: Lock = serde_json::from_slice(&encoded).map_err(std::io::Error::from)?;
        if lock.taken.elapsed().is_ok_and(|age| age > STALE) {
            store.delete(Resource::Lock, other).await?;
        } else if lock.exclusive {
            store.delete(Resource::Lock, id).await?;
            return Err(Error::Kloset("it is locked by a maintenance".to_owned()));
        }
    }
    Ok(())
}
