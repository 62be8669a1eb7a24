//! A restore over existing files whose process is killed.

use std::collections::{BTreeMap, BTreeSet};

use icloud_simulator::{Content, RequestKind};
use plakar_host::{Options, PATIENCE, Signal, Tree};

use super::scale::sized;
use crate::icloud::ICloud;

/// Half of the files replace others.
const FILES: u64 = 24;
const REPLACED: u64 = 12;

/// A generator of pseudo-random numbers (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// Returns a generator with the seed in `PLAKAR_ICLOUD_SEED`, or another one for each run. A
    /// failed test shows the seed.
    #[expect(clippy::print_stderr, reason = "a failed test needs it")]
    pub fn seeded() -> Self {
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos().into();
        let seed = std::env::var("PLAKAR_ICLOUD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now);
        eprintln!("PLAKAR_ICLOUD_SEED={seed}");
        Self(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }
}

fn old(folder: &str, n: u64) -> String {
    format!("old content {n} of {folder}")
}

fn new(n: u64) -> String {
    format!("content of the snapshot {n}")
}

fn digest(text: &str) -> String {
    Content::from(text.as_bytes()).sha256()
}

/// Returns the names and contents of the files of the snapshot.
pub fn snapshot() -> Vec<(String, String)> {
    (0..FILES).map(|n| (format!("{n:02}.txt"), new(n))).collect()
}

/// Stores some of the files in a folder of a drive, with other contents.
pub fn put_old(icloud: &ICloud, folder: &str) {
    (0..REPLACED).for_each(|n| icloud.put(&format!("{folder}/{n:02}.txt"), old(folder, n).as_bytes()));
}

/// Returns the contents of a folder of a drive.
pub fn below(icloud: &ICloud, folder: &str) -> BTreeMap<String, String> {
    let start = format!("/{folder}/");
    let strip = |(path, digest): (String, String)| Some((path.strip_prefix(&start)?.to_owned(), digest));
    icloud.contents().into_iter().filter_map(strip).collect()
}

/// Returns the contents of a folder after a complete restore.
pub fn complete() -> BTreeMap<String, String> {
    snapshot().into_iter().map(|(name, text)| (name, digest(&text))).collect()
}

/// Checks that no content of a folder is lost and none is under a wrong name. Returns the number of
/// files whose new content is there, under their names or so that the backend shows it under them.
pub fn assert_nothing_lost(icloud: &ICloud, folder: &str) -> u64 {
    let (contents, trash) = (below(icloud, folder), icloud.simulator.trash());
    let trashed: BTreeSet<String> = trash.into_iter().filter_map(|item| item.sha256).collect();
    let there: BTreeSet<&String> = contents.values().collect();
    let mut stored = 0;
    for n in 0..FILES {
        let (old, new) = (digest(&old(folder, n)), digest(&new(n)));
        let named = contents.get(&format!("{n:02}.txt"));
        assert!(named.is_none_or(|named| *named == old || *named == new), "{n} has other content");
        if n < REPLACED {
            assert!(there.contains(&old) || trashed.contains(&old), "the old content of {n} is lost");
            assert!(there.contains(&old) || there.contains(&new), "neither content of {n} is in the drive");
        }
        stored += u64::from(named == Some(&new) || named.is_none() && there.contains(&new));
    }
    stored
}

/// Old and new contents survive a death at any request, and the next restore uploads what is missing.
#[tokio::test]
async fn a_killed_restore_loses_nothing() {
    let mut random = Random::seeded();
    // The number of requests of an undisturbed restore.
    let icloud = ICloud::new();
    put_old(&icloud, "to");
    let settings = |icloud: &ICloud| icloud.settings("icloud:///to").with("uploads", "6");
    let tree = snapshot().into_iter();
    let tree = tree.fold(Tree::new().folder("/"), |tree, (name, text)| tree.file(&format!("/{name}"), text));
    icloud.host.restore(&settings(&icloud), &Options::default(), &tree).await.unwrap().end.unwrap();
    let requests = icloud.simulator.counts().total.requests;
    for round in 0..sized(12, 50) {
        let icloud = ICloud::new();
        put_old(&icloud, "to");
        let settings = settings(&icloud);
        let exporter = icloud.host.exporter(&settings, &Options::default()).await.unwrap();
        let point = random.below(requests);
        let killing = async {
            plakar_host::until(|| icloud.simulator.counts().total.requests > point).await;
            let _ = exporter.connector().signal(Signal::KILL); // the process may have ended
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = exporter.export(&tree) => {} // also if this restore makes fewer requests
            () = killing => {}
        }
        let _ = exporter.connector().signal(Signal::KILL);
        let _ = exporter.into_connector().wait(PATIENCE).await;
        let stored = assert_nothing_lost(&icloud, "to");
        let before = icloud.count(RequestKind::ContentPost);
        icloud.host.restore(&settings, &Options::default(), &tree).await.unwrap().end.unwrap();
        assert_eq!(below(&icloud, "to"), complete(), "round {round}, killed at request {point}");
        let sent = icloud.count(RequestKind::ContentPost) - before;
        assert!(sent <= FILES - stored, "round {round}: {sent} sent, {stored} of {FILES} were there");
        assert_nothing_lost(&icloud, "to");
        let shown = crate::icloud::digests(&icloud.backup("icloud:///to").await).into_iter();
        let shown: BTreeMap<String, String> = shown.map(|(path, digest)| (path[1..].to_owned(), digest)).collect();
        assert_eq!(shown, complete(), "a leftover is shown");
    }
}
