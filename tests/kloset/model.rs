//! Random operations and faults, compared with a store in memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use icloud_simulator::{FaultAction, FaultRule, RequestKind};
use plakar_host::{Mac, Range, Resource, Store, digest};
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, RngSeed},
};

use plakar_host::until;

use crate::drive::{Drive, bytes, path, status};

const OBJECTS: u8 = 4;

#[derive(Debug, Clone)]
enum Step {
    Put {
        resource: Resource,
        object: u8,
    },
    Get {
        resource: Resource,
        object: u8,
        from: f64,
        length: u32,
    },
    GetWhole {
        resource: Resource,
        object: u8,
    },
    Delete {
        resource: Resource,
        object: u8,
    },
    List {
        resource: Resource,
    },
    /// The other process runs the following steps.
    Switch,
    /// A process ends, and a new one replaces it.
    Restart,
    Fault {
        kind: RequestKind,
        action: FaultAction,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let resource = || select(vec![Resource::Packfile, Resource::Packfile, Resource::State, Resource::Lock]);
    let object = || 0..OBJECTS;
    let step = prop_oneof![
        5 => (resource(), object()).prop_map(|(resource, object)| Step::Put { resource, object }),
        8 => (resource(), object(), 0.0..1.0_f64, 1..2_000_000_u32)
            .prop_map(|(resource, object, from, length)| Step::Get { resource, object, from, length }),
        2 => (resource(), object()).prop_map(|(resource, object)| Step::GetWhole { resource, object }),
        2 => (resource(), object()).prop_map(|(resource, object)| Step::Delete { resource, object }),
        2 => resource().prop_map(|resource| Step::List { resource }),
        2 => Just(Step::Switch),
        1 => Just(Step::Restart),
        3 => (kind(), action()).prop_map(|(kind, action)| Step::Fault { kind, action }),
    ];
    prop::collection::vec(step, 5..40)
}

fn kind() -> impl Strategy<Value = RequestKind> {
    select(vec![
        RequestKind::List,
        RequestKind::ById,
        RequestKind::ContentGet,
        RequestKind::UploadWeb,
        RequestKind::ContentPost,
        RequestKind::UpdateDocuments,
        RequestKind::Trash,
    ])
}

fn action() -> impl Strategy<Value = FaultAction> {
    select(vec![
        status(503),
        status(429),
        FaultAction::ResetBefore,
        FaultAction::ResetAfter,
        FaultAction::ResetStream,
        FaultAction::Truncate { bytes: 100, clean: false },
        FaultAction::Truncate { bytes: 100, clean: true },
    ])
}

/// Returns the content of a packfile: one is empty, one is small, and one is larger than the limit
/// up to which a file is fetched whole.
fn packed(object: u8) -> Bytes {
    bytes(object, [0, 1_000, 700_001, 5_300_000][usize::from(object)])
}

struct Run {
    drive: Drive,
    stores: [Store; 2],
    acting: usize,
    expected: BTreeMap<(u8, Mac), Bytes>,
    /// All contents that were ever stored under a name.
    past: BTreeMap<(u8, Mac), Vec<Bytes>>,
    /// The objects that each process has stored and not deleted.
    stored: [BTreeSet<(u8, Mac)>; 2],
    /// The objects that each process has deleted and not stored again.
    deleted: [BTreeSet<(u8, Mac)>; 2],
    /// A counter, so that a lock is never stored twice with the same content.
    locks: u32,
}

fn folder(resource: Resource) -> u8 {
    match resource {
        Resource::Packfile => 0,
        Resource::State => 1,
        Resource::Lock => 2,
    }
}

fn folder_name(resource: Resource) -> &'static str {
    ["packfiles", "states", "locks"][usize::from(folder(resource))]
}

fn mac(resource: Resource, object: u8) -> Mac {
    match resource {
        Resource::Packfile => digest(&packed(object)),
        Resource::State => [object | 0x40; 32],
        Resource::Lock => [object | 0x80; 32],
    }
}

/// Describes the failure of a step.
fn described(step: &Step, error: &plakar_host::Error) -> String {
    format!("{step:?}: {}", error.message())
}

impl Run {
    async fn new() -> Self {
        let drive = Drive::new();
        // The cache is so small that blocks are evicted constantly.
        let settings = drive.settings().with("cache_memory", "2");
        let stores = [drive.store(&settings).await, drive.store(&settings).await];
        stores[0].create("config").await.unwrap();
        Self {
            drive,
            stores,
            acting: 0,
            expected: BTreeMap::new(),
            past: BTreeMap::new(),
            stored: Default::default(),
            deleted: Default::default(),
            locks: 0,
        }
    }

    async fn restart(&mut self) {
        let settings = self.drive.settings().with("cache_memory", "2");
        self.stores[self.acting] = self.drive.store(&settings).await;
        self.stored[self.acting].clear();
        self.deleted[self.acting].clear();
    }

    async fn apply(&mut self, step: &Step) {
        let store = &self.stores[self.acting];
        match *step {
            Step::Put { resource, object } => self.put(step, resource, object).await,
            Step::Get { resource, object, from, length } => {
                let mac = mac(resource, object);
                let expected = self.expected.get(&(folder(resource), mac));
                let size = expected.map_or(1000, Bytes::len);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a size")]
                let offset = (from * size as f64) as u64;
                let got = store.get(resource, mac, Some(Range { offset, length })).await;
                let part = |content: &Bytes| {
                    // Another content that the object once had may be shorter.
                    let start = content.len().min(offset as usize);
                    content.slice(start..content.len().min(start + length as usize))
                };
                let past = self.past(resource, mac).map(part).collect();
                self.compare(step, got, expected.map(part), past);
            }
            Step::GetWhole { resource, object } => {
                let mac = mac(resource, object);
                let got = store.get(resource, mac, None).await;
                let expected = self.expected.get(&(folder(resource), mac)).cloned();
                self.compare(step, got, expected, self.past(resource, mac).cloned().collect());
            }
            Step::Delete { resource, object } => {
                let mac = mac(resource, object);
                store.delete(resource, mac).await.unwrap_or_else(|error| panic!("{}", described(step, &error)));
                let name = path(folder_name(resource), mac);
                until(|| !self.drive.simulator.snapshot().iter().any(|item| item.path == name)).await;
                if self.expected.remove(&(folder(resource), mac)).is_some() {
                    self.deleted[self.acting].insert((folder(resource), mac));
                }
                self.stored[self.acting].remove(&(folder(resource), mac));
            }
            Step::List { resource } => self.list(step, resource).await,
            Step::Switch => self.acting = 1 - self.acting,
            Step::Restart => self.restart().await,
            Step::Fault { kind, ref action } => {
                self.drive.simulator.add_fault(FaultRule::new(kind, action.clone()).times(1));
            }
        }
    }

    async fn put(&mut self, step: &Step, resource: Resource, mut object: u8) {
        let store = &self.stores[self.acting];
        let content = if resource == Resource::Lock {
            // Each process has its own locks.
            object = object / 2 * 2 + u8::from(self.acting == 1);
            self.locks += 1;
            Bytes::from(format!("lock {}", self.locks))
        } else {
            packed(object)
        };
        let size = content.len() as i64;
        let mac = mac(resource, object);
        let written = store
            .put(resource, mac, content.clone())
            .await
            .unwrap_or_else(|error| panic!("{}", described(step, &error)));
        assert_eq!(written, size);
        self.past.entry((folder(resource), mac)).or_default().push(content.clone());
        self.expected.insert((folder(resource), mac), content);
        self.stored[self.acting].insert((folder(resource), mac));
        self.deleted[self.acting].remove(&(folder(resource), mac));
    }

    async fn list(&self, step: &Step, resource: Resource) {
        let store = &self.stores[self.acting];
        let listed = store.list(resource).await.unwrap_or_else(|error| panic!("{}", described(step, &error)));
        let mut listed: BTreeSet<_> = listed.into_iter().map(|mac| (folder(resource), mac)).collect();
        // A listing of iCloud may lag behind. So a process lists an object that it has
        // stored in the last minute even if the other process has deleted it, and hides an
        // object that it has deleted in the last minute even if the other process has
        // stored it again.
        listed.retain(|key| self.expected.contains_key(key) || !self.stored[self.acting].contains(key));
        let is_there = |key: &&(u8, Mac)| {
            key.0 == folder(resource) && (listed.contains(*key) || !self.deleted[self.acting].contains(*key))
        };
        let expected: BTreeSet<_> = self.expected.keys().filter(is_there).copied().collect();
        assert_eq!(listed, expected, "{step:?}");
    }

    fn past(&self, resource: Resource, mac: Mac) -> impl Iterator<Item = &Bytes> {
        self.past.get(&(folder(resource), mac)).into_iter().flatten()
    }

    /// Checks the result of a read. An object that the other process has deleted may still be read,
    /// but only with a content that was stored under its name.
    fn compare(&self, step: &Step, got: plakar_host::Result<Bytes>, expected: Option<Bytes>, past: Vec<Bytes>) {
        match (got, expected) {
            (Ok(got), Some(expected)) => assert_eq!(got, expected, "{step:?}"),
            (Err(error), Some(_)) => panic!("{step:?}: {}", error.message()),
            (Ok(got), None) => assert!(past.contains(&got), "{step:?}: {} bytes that were never stored", got.len()),
            (Err(_), None) => {}
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: cases(), rng_seed: seed(), failure_persistence: None, max_shrink_iters: 40, ..Config::default() })]

    #[test]
    fn a_kloset_behaves_as_a_store_in_memory(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for step in &steps {
                run.apply(step).await;
            }
        });
    }
}

/// Returns the number of cases. `PROPTEST_CASES`, which `Config::default` reads, increases it.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(6)
}

/// Returns the seed of the cases: the same in each run, unless `PROPTEST_RNG_SEED`, which
/// `Config::default` reads, names another.
fn seed() -> RngSeed {
    match Config::default().rng_seed {
        RngSeed::Random => RngSeed::Fixed(7),
        fixed => fixed,
    }
}
