//! Who makes a kloset.

use std::{fs, time::Duration};

use bytes::Bytes;
use rustix::{io::Errno, process::Pid};
use xxhash_rust::xxh3::xxh3_64;

use super::{CONFIG, Error, Kloset, inside};
use crate::rclone::{Deletion, File, Item, Replacement, Time};

/// The intention to make a kloset, as a file that others see.
///
/// rclone has no way to make a file only if there is none. So who makes a kloset
/// first says so, then looks whether somebody else has: of two that overlap at
/// least one sees the other. Whoever sees another withdraws and tries again after
/// a pause of its own length. The name tells the machine and the process, so that
/// the claim of one that was killed is known as such.
pub struct Claim {
    name: String,
    id: u64,
    file: File,
}

const CLAIM: &str = "plakar-claim-";
/// An older claim was left by a process that was killed, on whatever machine.
const CLAIM_LIFE_SECONDS: i64 = 300;

impl Claim {
    /// Makes one, which others see from now on.
    ///
    /// # Errors
    /// If it cannot be stored.
    pub async fn make(kloset: &Kloset) -> Result<Self, Error> {
        let process = std::process::id();
        let id = xxh3_64(format!("{:?} {process}", Time::now()).as_bytes());
        let name = format!("{CLAIM}{}{process}-{id:016x}", of_this_machine());
        let content = Bytes::from_static(b"a kloset is being made here").into();
        let file =
            kloset.drive.upload(&inside(&kloset.top, &name), Time::now(), &content, Replacement::Awaited).await?;
        Ok(Self { name, id, file })
    }

    /// What to wait before the next try, up to two seconds.
    pub fn pause(&self) -> Duration {
        Duration::from_millis(self.id % 2000)
    }

    /// Makes sure that nobody else makes a kloset here, and that there is none.
    /// Removes what killed processes have left.
    ///
    /// # Errors
    /// [`Error::BeingMade`], [`Error::Exists`], or if the folder cannot be listed.
    pub async fn must_be_alone(&self, kloset: &Kloset) -> Result<(), Error> {
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
                return Err(Error::BeingMade { path, seconds: CLAIM_LIFE_SECONDS - age });
            }
            if let Item::File(file) = &entry.item {
                kloset.drive.delete(&inside(&kloset.top, name), Some(file), Deletion::Recoverable).await?;
            }
        }
        Ok(())
    }

    /// Removes it. One that stays is no more after [`CLAIM_LIFE_SECONDS`].
    pub async fn withdraw(self, kloset: &Kloset) {
        let path = inside(&kloset.top, &self.name);
        if let Err(error) = kloset.drive.delete(&path, Some(&self.file), Deletion::Recoverable).await {
            log::warn!("{error}");
        }
    }
}

/// Begins the rest of a claim's name where process numbers mean the same as here.
/// Two machines or containers may have one host name, so the boot and the
/// namespace of processes are part of it on Linux.
fn of_this_machine() -> String {
    let mut told = rustix::system::uname().nodename().to_bytes().to_vec();
    told.extend(fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    told.extend(fs::read_link("/proc/self/ns/pid").unwrap_or_default().into_os_string().into_encoded_bytes());
    format!("{:08x}-", xxh3_64(&told) >> 32)
}

/// Whether a claim is of a process of this machine that is no more.
fn is_abandoned(claim: &str) -> bool {
    let process = claim.strip_prefix(CLAIM).and_then(|rest| rest.strip_prefix(&of_this_machine()));
    let process = process.and_then(|rest| Pid::from_raw(rest.split_once('-')?.0.parse().ok()?));
    process.is_some_and(|process| rustix::process::test_kill_process(process) == Err(Errno::SRCH))
}
