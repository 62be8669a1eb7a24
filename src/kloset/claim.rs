//! The claim of a process that is creating a kloset.

use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{Error, Kloset, inside, layout::CONFIG, process::ProcessId};
use crate::{
    drive::Slot,
    rclone::{Deletion, File, Item, Replacement, Time},
};

/// A file that announces that a process is creating a kloset in a folder.
///
/// rclone has no operation that creates a file only if it does not exist. So a process stores a
/// claim first and then lists the folder. Of two concurrent processes, at least one finds the claim
/// of the other. A process that finds another claim withdraws its own and tries again after a pause
/// whose length differs between processes. The name of a claim identifies the process, so that the
/// claim of a killed process is recognised.
pub struct Claim {
    name: String,
    id: u64,
    file: File,
}

const CLAIM: &str = "plakar-claim-";
/// The age at which a claim is ignored: its process was killed, possibly on another machine.
const CLAIM_LIFE_SECONDS: i64 = 300;

impl Claim {
    /// Stores a claim.
    ///
    /// # Errors
    /// Fails if the claim cannot be stored.
    pub async fn store(kloset: &Kloset) -> Result<Self, Error> {
        let process = ProcessId::own();
        let id = xxh3_64(format!("{:?} {process}", Time::now()).as_bytes());
        let name = format!("{CLAIM}{process}-{id:016x}");
        let content = Bytes::from_static(b"a kloset is being created here").into();
        let path = inside(&kloset.top, &name);
        let stored = kloset.drive.upload(&path, Time::now(), &content, Replacement::Awaited, Slot::Awaited).await?;
        Ok(Self { name, id, file: stored.file })
    }

    /// Returns the time to wait before the next attempt, at most two seconds.
    pub fn pause(&self) -> Duration {
        Duration::from_millis(self.id % 2000)
    }

    /// Checks that there is no kloset and that no other process is creating one. Removes the claims
    /// of killed processes.
    ///
    /// # Errors
    /// Returns [`Error::BeingCreated`] or [`Error::Exists`], or fails if the folder cannot be listed.
    pub async fn check_alone(&self, kloset: &Kloset) -> Result<(), Error> {
        for entry in kloset.drive.list_usable(&kloset.top).await? {
            let name = entry.name();
            if name == CONFIG {
                return Err(Error::Exists(kloset.top.clone()));
            }
            if !name.starts_with(CLAIM) || name == self.name {
                continue;
            }
            let age = Time::now().seconds - entry.modified.seconds;
            if age < CLAIM_LIFE_SECONDS && !is_abandoned(name) {
                let path = inside(&kloset.top, name);
                return Err(Error::BeingCreated { path, seconds: CLAIM_LIFE_SECONDS - age });
            }
            if let Item::File(file) = &entry.item {
                kloset.drive.delete(&inside(&kloset.top, name), Some(file), Deletion::Permanent).await?;
            }
        }
        Ok(())
    }

    /// Removes the claim. If that fails, it expires after [`CLAIM_LIFE_SECONDS`].
    pub fn withdraw(self, kloset: &Kloset) -> impl Future<Output = ()> + Send + 'static {
        let (drive, path) = (kloset.drive.clone(), inside(&kloset.top, &self.name));
        async move {
            if let Err(error) = drive.delete(&path, Some(&self.file), Deletion::Permanent).await {
                log::warn!("{error}");
            }
        }
    }
}

/// Reports whether the process of a claim is known to have ended.
fn is_abandoned(claim: &str) -> bool {
    let process = claim.strip_prefix(CLAIM).and_then(|rest| rest.rsplit_once('-'));
    process.and_then(|(process, _)| ProcessId::parse(process)).is_some_and(|process| process.has_ended())
}
