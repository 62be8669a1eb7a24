//! The room that the destination has for a restore.
//!
//! plakar sends one file after the other without announcing how many follow, so the total size of a
//! restore is unknown until its end. Each file is compared with the free room before its upload.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Failure;
use crate::{
    drive::{Drive, DrivePath},
    rclone::Kind,
    report::Bytes,
};

/// The free room of the destination. A replaced file continues to take room in the Trash, so every
/// upload counts with its full size.
#[derive(Debug)]
pub struct Room {
    drive: Drive,
    state: Mutex<State>,
    /// Notified when a reservation ends.
    released: Notify,
    /// Held while the service is asked again.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The bytes that are neither used nor reserved, if they are known.
    free: Option<u64>,
    /// The bytes of the uploads under way.
    reserved: u64,
    /// Why nothing more fits, once a file did not.
    full: Option<Full>,
}

/// Why a file does not fit.
#[derive(Debug, Clone)]
struct Full {
    text: String,
    cause: String,
}

impl From<Full> for Failure {
    fn from(full: Full) -> Self {
        Self { text: full.text, cause: full.cause, kind: Some(Kind::Quota), is_fatal: true }
    }
}

impl Room {
    /// Returns the room of a drive, which is unknown until [`Self::ask`].
    pub fn new(drive: &Drive) -> Self {
        Self {
            drive: drive.clone(),
            state: Mutex::default(),
            released: Notify::new(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the service for the free room.
    pub async fn ask(&self) {
        let free = self.drive.free_room().await;
        self.state().free = free;
    }

    /// Reserves room for the upload of a file. The service is asked again before a file is refused,
    /// because room may have become free.
    ///
    /// # Errors
    /// Fails if the file does not fit, or if an earlier one did not. The failure ends the restore.
    pub async fn reserve(&self, path: &DrivePath, size: u64) -> Result<(), Failure> {
        if self.state().take(size)? {
            return Ok(());
        }
        let _asking = self.asking.lock().await;
        // The service may or may not count the uploads under way.
        while self.state().reserved > 0 {
            self.released.notified().await;
        }
        if self.state().take(size)? {
            return Ok(());
        }
        self.ask().await;
        let mut state = self.state();
        if state.take(size)? {
            return Ok(());
        }
        let full = self.full(path, size, state.free.unwrap_or_default());
        state.full = Some(full.clone());
        Err(full.into())
    }

    /// Ends the reservation for an upload. If it failed because the storage is full, no other file is
    /// uploaded.
    pub fn release(&self, size: u64, failure: Option<&Failure>) {
        self.state().end(size, failure);
        self.released.notify_one();
    }

    fn full(&self, path: &DrivePath, size: u64, free: u64) -> Full {
        let mut cause = format!("it has {}, and the destination has {} free; make room ", Bytes(size), Bytes(free));
        if self.drive.trashes_replaced() {
            cause += "(what is in Recently Deleted takes room too) ";
        }
        cause += "and restore again, which continues after the files that are there";
        if self.drive.trashes_replaced() {
            cause += "; plakar-icloud plan shows how much room a restore needs";
        }
        Full { text: format!("cannot restore {path}: {cause}"), cause }
    }
}

impl State {
    /// Ends a reservation, whose room is free again if the upload failed.
    fn end(&mut self, size: u64, failure: Option<&Failure>) {
        self.reserved -= size;
        let Some(failure) = failure else { return };
        self.free = self.free.map(|free| free + size);
        if failure.kind == Some(Kind::Quota) {
            self.full.get_or_insert_with(|| Full { text: failure.text.clone(), cause: failure.cause.clone() });
        }
    }

    /// Reserves room if there is enough or it is unknown. Reports whether it did.
    fn take(&mut self, size: u64) -> Result<bool, Failure> {
        if let Some(full) = &self.full {
            return Err(full.clone().into());
        }
        match self.free.map(|free| free.checked_sub(size)) {
            Some(None) => return Ok(false),
            Some(left) => self.free = left,
            None => {}
        }
        self.reserved += size;
        Ok(true)
    }
}
