//! The steps of the demo through the real plakar.

use std::path::{Path, PathBuf};

use plakar_host::Plakar;

use super::{FILES, Failure, KLOSET, RESTORED, Way};
use crate::drive::{Drive, program};

pub struct ThroughPlakar {
    plakar: Plakar,
    /// A kloset on this machine, for the backups of the drive.
    here: String,
}

impl ThroughPlakar {
    pub async fn new(executable: PathBuf, drive: &Drive) -> Result<Self, Failure> {
        let plakar = Plakar::new(executable, drive.surroundings()?).await?;
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifest.yaml");
        let package = plakar.pack(&manifest, &program()?).await?;
        plakar.install(&package).await?;
        for (role, name, folder) in
            [("source", "drive", FILES), ("destination", "drive", RESTORED), ("store", "there", KLOSET)]
        {
            plakar.define(role, name, &drive.settings(folder)).await?;
        }
        let here = plakar.path("kloset");
        plakar.must(["at", &here, "create", "-plaintext"]).await?;
        Ok(Self { plakar, here })
    }

    async fn must(&self, arguments: &[&str]) -> Result<(), Failure> {
        Ok(self.plakar.must(arguments).await.map(drop)?)
    }

    async fn restored(&self, kloset: &str, name: &str) -> Result<PathBuf, Failure> {
        let target = self.plakar.path(name);
        self.must(&["at", kloset, "restore", "-to", &target]).await?;
        Ok(target.into())
    }
}

impl Way for ThroughPlakar {
    const NAME: &str = "through plakar";

    async fn back_up_drive(&self) -> Result<(), Failure> {
        self.must(&["at", &self.here, "backup", "@drive"]).await
    }

    async fn restore_into_drive(&self) -> Result<(), Failure> {
        self.must(&["at", &self.here, "restore", "-to", "@drive"]).await
    }

    async fn restore_here(&self) -> Result<PathBuf, Failure> {
        self.restored(&self.here, "restored").await
    }

    async fn make_kloset(&self) -> Result<(), Failure> {
        self.must(&["at", "@there", "create", "-plaintext"]).await
    }

    async fn keep(&self) -> Result<(), Failure> {
        self.must(&["at", "@there", "backup", &self.plakar.path("restored")]).await
    }

    async fn check(&self) -> Result<(), Failure> {
        self.must(&["at", "@there", "check"]).await
    }

    async fn restore_kept(&self) -> Result<PathBuf, Failure> {
        self.restored("@there", "kept").await
    }

    /// Waits for plakar's background process, which uses the folders.
    async fn leave(self) -> Result<(), Failure> {
        Ok(self.plakar.surroundings().deserted().await?)
    }
}
