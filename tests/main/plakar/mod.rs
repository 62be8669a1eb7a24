//! The real plakar, with the program installed as a package. If plakar is not on PATH, these tests
//! report that they were skipped.

mod backup;
mod everything;
mod kloset;
mod partial;
mod photos;
mod restore;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plakar_host::{Plakar, Settings, Surroundings, digest};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::icloud::{ICloud, hex, surroundings};

/// The package, which contains a copy of the program. It is created once.
static PACKAGE: OnceCell<(TempDir, PathBuf)> = OnceCell::const_new();

async fn package(plakar: &Path) -> &'static Path {
    let pack = async || {
        let maker = Plakar::new(plakar.to_owned(), Surroundings::new().unwrap()).await.unwrap();
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifest.yaml");
        let made = maker.pack(&manifest, Path::new(env!("CARGO_BIN_EXE_plakar-icloud"))).await.unwrap();
        let folder = TempDir::new().unwrap();
        let package = folder.path().join("package.ptar");
        std::fs::copy(made, &package).unwrap();
        (folder, package)
    };
    &PACKAGE.get_or_init(pack).await.1
}

/// A simulated iCloud, a plakar with the package, and a plain kloset on disk.
pub struct Installed {
    pub icloud: ICloud,
    pub plakar: Plakar,
}

impl Installed {
    pub async fn new() -> Option<Self> {
        let executable = Plakar::for_test()?;
        let icloud = ICloud::new();
        let package = package(&executable).await;
        let plakar = Plakar::new(executable, surroundings(&icloud.simulator)).await.unwrap();
        plakar.install(package).await.unwrap();
        plakar.must(["at", &plakar.path("plain"), "create", "-plaintext"]).await.unwrap();
        Some(Self { icloud, plakar })
    }

    /// Defines a location in the drive for plakar.
    async fn define(&self, role: &str, name: &str, location: &str) {
        let settings: Settings = self.icloud.settings(location);
        self.plakar.define(role, name, &settings).await.unwrap();
    }

    /// Creates a kloset in the drive, the store `there` of plakar.
    async fn create_kloset(&self, location: &str) {
        self.define("store", "there", location).await;
        self.plakar.must(["at", "@there", "create", "-plaintext"]).await.unwrap();
    }

    /// Runs a command on the plain kloset.
    pub async fn at_plain(&self, command: &[&str]) -> String {
        let kloset = self.plakar.path("plain");
        let arguments = ["at", kloset.as_str()].into_iter().chain(command.iter().copied());
        self.plakar.must(arguments).await.unwrap()
    }
}

/// Returns the files below a folder of this machine with their digests.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = format!("/{}", path.strip_prefix(folder).unwrap().display());
                found.insert(name, hex(&digest(&std::fs::read(&path).unwrap())));
            }
        }
    }
    found
}
