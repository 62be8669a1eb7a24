//! iCloud Photos as a source.

mod albums;
mod changes;
mod failures;
mod library;
mod odd;
mod protection;
mod shared_albums;
mod sidecars;

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use icloud_simulator::{Content, NewAsset, PRIMARY_ZONE, RequestKind};
use plakar_host::{Backup, Options, Snapshot};

use crate::icloud::{ICloud, hex};

/// 2026-11-05 10:00:00 UTC in milliseconds.
const NOVEMBER: i64 = 1_793_872_800_000;
/// 2024-02-01 00:00:00 UTC in milliseconds.
const FEBRUARY_2024: i64 = 1_706_745_600_000;
const DAY: i64 = 24 * 60 * 60 * 1000;

/// A photo library, and the digests of the files that a backup of it must have.
struct Photos {
    icloud: ICloud,
    expected: BTreeMap<String, String>,
    made: u64,
}

impl Photos {
    fn new() -> Self {
        Self { icloud: ICloud::new(), expected: BTreeMap::new(), made: 0 }
    }

    /// Returns content that no other file has.
    fn content(&mut self, size: u64) -> Content {
        self.made += 1;
        Content::Generated { seed: 1_000 + self.made, size }
    }

    fn expect(&mut self, path: &str, content: &Content) {
        self.expected.insert(path.to_owned(), content.sha256());
    }

    /// Adds an image that was uploaded long ago, which the backup must have at a path.
    fn add(&mut self, path: &str, taken_ms: i64) -> String {
        let content = self.content(3_000);
        self.expect(path, &content);
        let name = path.rsplit('/').next().unwrap_or_default();
        let (modified_ms, master_modified_ms) = (FEBRUARY_2024, FEBRUARY_2024);
        self.put(NewAsset { modified_ms, master_modified_ms, ..NewAsset::image(name, taken_ms, content) })
    }

    /// Adds an image that was uploaded a moment ago, which the backup must have at a path.
    fn add_recent(&mut self, path: &str) -> String {
        let content = self.content(3_000);
        self.expect(path, &content);
        let name = path.rsplit('/').next().unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        self.put(NewAsset {
            master_modified_ms: i64::try_from(now).unwrap(),
            ..NewAsset::image(name, NOVEMBER, content)
        })
    }

    fn put(&self, asset: NewAsset) -> String {
        self.icloud.simulator.photos(|photos| photos.add(PRIMARY_ZONE, asset))
    }

    /// Changes the library as another device would.
    fn change<T>(&self, change: impl FnOnce(&mut icloud_simulator::Photos) -> T) -> T {
        self.icloud.simulator.photos(change)
    }

    async fn backup(&self) -> Snapshot {
        self.icloud.backup("icloud://photos").await
    }

    async fn backup_with(&self, options: &[(&str, &str)]) -> Snapshot {
        let mut settings = self.icloud.settings("icloud://photos");
        for (key, value) in options {
            settings = settings.with(key, *value);
        }
        self.icloud.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap()
    }

    async fn backup_after(&self, parent: &Snapshot) -> Snapshot {
        self.icloud.backup_after("icloud://photos", parent).await
    }

    /// Returns the number of requests for contents.
    fn contents(&self) -> u64 {
        self.icloud.count(RequestKind::ContentGet)
    }

    /// Returns the number of requests to the hosts of Photos.
    fn calls(&self) -> u64 {
        [
            RequestKind::PhotosQuery,
            RequestKind::PhotosLookup,
            RequestKind::PhotosCount,
            RequestKind::PhotosZones,
            RequestKind::PhotosChanges,
            RequestKind::SharedAlbums,
            RequestKind::SharedAlbumPhotos,
            RequestKind::SharedAlbumCount,
        ]
        .into_iter()
        .map(|kind| self.icloud.count(kind))
        .sum()
    }
}

/// Returns the digests of the photos and videos, without the files that the program generates.
fn media(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let files = snapshot.files().filter(|(path, _)| !path.ends_with(".xmp") && !path.ends_with("/album.txt"));
    files.map(|(path, content)| (path.to_owned(), hex(&content.digest))).collect()
}

/// Returns the targets of the links by path.
fn links(snapshot: &Snapshot) -> BTreeMap<&str, &str> {
    let links = snapshot.entries.iter().filter(|(_, entry)| !entry.target.is_empty());
    links.map(|(path, entry)| (path.as_str(), entry.target.as_str())).collect()
}

fn text(snapshot: &Snapshot, path: &str) -> String {
    let content = snapshot.entries.get(path).and_then(|entry| entry.content.as_ref()).expect("no such file");
    String::from_utf8(content.bytes.as_ref().expect("its bytes are not kept").to_vec()).unwrap()
}
