//! Processes that serve a kloset in the simulated iCloud.

use plakar_host::{Executable, Host, Store};

use super::{
    Failure,
    service::{PROGRAM, Service},
};

/// The location of the klosets.
pub const KLOSET: &str = "icloud:///kloset";

impl Service {
    /// Starts a separate process. Returns it with its home, which must outlive it.
    pub async fn store(&self) -> Result<(Host, Store), Failure> {
        let host = Host::new(Executable::with_role_argument(PROGRAM), self.surroundings()?);
        let store = host.store(&self.settings(KLOSET)).await?;
        Ok((host, store))
    }
}
