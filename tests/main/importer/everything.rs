//! A drive with all that people keep in one, which every part of a backup must save.

use std::collections::BTreeMap;

use bytes::Bytes;
use icloud_simulator::{LatencyProfile, RequestKind, SeedTree};
use plakar_host::{Backup, Options};
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use crate::icloud::{ICloud, MODIFIED, assert_sound, digests, hex};

/// If this variable is set, the simulator takes the measured times of the service.
const MEASURED: &str = "PLAKAR_ICLOUD_MEASURED_TIMES";

/// The number of packages of each kind.
const PACKAGES: usize = 30;

const ODD: [&str; 20] = [
    " lead",
    "trail ",
    "dot.",
    ".hidden",
    "a:b",
    "what?",
    "*",
    "\"quoted\"",
    "<angle>",
    "pipe|pipe",
    "caf\u{e9}",
    "e\u{301}te\u{301}",
    "\u{1f600}",
    "%41",
    "two  spaces",
    "tab\there",
    "new\nline",
    "CON",
    "~#&;$'",
    "\u{202e}right",
];

/// A drive of 2,000 files, 60 packages, 3 shared trees, 10 folders of apps and 100 odd names.
pub struct Everything {
    pub icloud: ICloud,
    /// The items of each package.
    pub packages: BTreeMap<String, Vec<(String, Bytes)>>,
}

impl Everything {
    pub fn new(icloud: ICloud) -> Self {
        let simulator = &icloud.simulator;
        if std::env::var_os(MEASURED).is_some() {
            simulator.rules(|rules| rules.transport.latency_profile = LatencyProfile::Measured);
        }
        let prefix = "files".to_owned();
        simulator.seed(&SeedTree { prefix, files: 2000, folders: 60, size: 700, seed: 1, modified_ms: MODIFIED });
        let mut packages = BTreeMap::new();
        for number in 0..2 * PACKAGES {
            // Only opening shows that a document of the second kind is a package.
            let kind = if number < PACKAGES { ".band" } else { ".unknown" };
            let path = format!("packages/{number}{kind}");
            let entries = vec![
                ("Media/".to_owned(), Bytes::new()),
                ("Media/sound".to_owned(), Bytes::from(vec![number as u8; 3000 + number])),
                ("data".to_owned(), Bytes::from(path.clone())),
            ];
            simulator.put_package(&path, &entries, None, MODIFIED);
            packages.insert(format!("/{path}"), entries);
        }
        for tree in 0..3 {
            for folder in ["", "/one", "/one/two", "/one/two/three"] {
                let path = format!("theirs {tree}{folder}/file.txt");
                icloud.put(&path, path.as_bytes());
            }
            simulator.share(&format!("theirs {tree}")).unwrap();
        }
        for number in 0..9 {
            let name = if number == 0 { "Notes".to_owned() } else { format!("App {number}") };
            simulator.add_app_library(&name, &format!("com.example.app{number}"));
            let path = format!("{name}/document.txt");
            icloud.put(&path, path.as_bytes());
        }
        simulator.add_app_library("Notes", "com.example.app9");
        for number in 0..100 {
            let path = format!("odd {}/{}", number / ODD.len(), ODD[number % ODD.len()]);
            icloud.put(&path, path.as_bytes());
        }
        Self { icloud, packages }
    }

    /// Returns the contents of the drive without the packages, under composed names.
    pub fn files(&self) -> BTreeMap<String, String> {
        composed(self.icloud.contents().into_iter().filter(|(path, _)| !self.packages.contains_key(path)))
    }

    /// Checks the archive of a package.
    pub fn check_package(&self, path: &str, archive: Vec<u8>) {
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
        let folder = path.rsplit('/').next().unwrap();
        for (name, content) in &self.packages[path] {
            let mut entry = archive.by_name(&format!("{folder}/{name}")).unwrap();
            let mut read = Vec::new();
            std::io::copy(&mut entry, &mut read).unwrap();
            assert_eq!(&Bytes::from(read), content, "{path}: {name}");
        }
    }

    pub fn downloads(&self) -> u64 {
        self.icloud.count(RequestKind::ContentGet) + self.icloud.count(RequestKind::ById)
    }
}

/// The service returns decomposed names.
pub fn composed(files: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    files.into_iter().map(|(path, digest)| (path.nfc().collect(), digest)).collect()
}

#[tokio::test]
async fn everything_is_saved_and_an_unchanged_drive_is_not_read_again() {
    let drive = Everything::new(ICloud::new());
    let Everything { icloud, packages } = &drive;
    let summary = icloud.host.surroundings().root().join("summary.json");
    let settings = icloud.settings("icloud://").with("summary", summary.to_str().unwrap());
    let numbers = || -> Value { serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap() };
    let first = icloud.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap();
    assert_sound(&first);
    let (saved, archives): (BTreeMap<_, _>, BTreeMap<_, _>) =
        digests(&first).into_iter().partition(|(path, _)| !packages.contains_key(path));
    assert_eq!(composed(saved), drive.files());
    assert_eq!(archives.keys().collect::<Vec<_>>(), packages.keys().collect::<Vec<_>>());
    for path in packages.keys() {
        let content = first.entries[path].content.as_ref().unwrap();
        drive.check_package(path, content.bytes.clone().unwrap().to_vec());
        assert_eq!(hex(&plakar_host::digest(content.bytes.as_ref().unwrap())), archives[path]);
    }
    for item in icloud.simulator.snapshot() {
        let path: String = format!("/{}", item.path).nfc().collect();
        let entry = first.entries.iter().find(|(name, _)| name.nfc().eq(path.chars()));
        let (_, entry) = entry.unwrap_or_else(|| panic!("{path} is not saved"));
        if item.sha256.is_some() && !packages.contains_key(&path) {
            assert_eq!(u64::try_from(entry.info.size).unwrap(), item.size, "{path}");
        }
    }
    assert_eq!(first.entries.keys().filter(|path| path.starts_with("/Notes")).count(), 3);
    let files = drive.files().len() + packages.len();
    let members = |names: &[&str]| -> Vec<u64> {
        let summary = numbers();
        names.iter().map(|name| summary[name].as_u64().unwrap()).collect()
    };
    let names = ["files", "read", "unchanged", "packages", "missing", "failed"];
    assert_eq!(members(&names), [files as u64, files as u64, 0, 60, 0, 0]);
    assert_eq!(members(&["shared"]), [3 * 8]);

    icloud.simulator.reset_counts();
    let second = icloud.host.backup(&settings, &Options::default(), Backup::after(&first)).await.unwrap();
    assert_sound(&second);
    assert_eq!((second.opened.len(), drive.downloads()), (0, 0), "{:?}", second.opened);
    assert_eq!(digests(&second), digests(&first));
    assert_eq!(members(&names), [files as u64, 0, files as u64, 60, 0, 0]);
}
