//! Requests that a process saves because this machine has just changed the kloset.

use icloud_simulator::{Content, FaultAction, FaultRule, RequestKind, Simulator};
use plakar_host::{Resource, Settings, Store, until};
use tempfile::TempDir;

use crate::drive::{Drive, bytes, content, path};

const WHEN: i64 = 1_700_000_000_000;
const STATE: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [8; 32];
const SIZE: u64 = 1000;

/// A drive, and the settings of processes that share a state folder.
struct Machine {
    drive: Drive,
    settings: Settings,
    _state: TempDir,
}

impl Machine {
    fn new() -> Self {
        let (drive, state) = (Drive::new(), TempDir::new().unwrap());
        let settings = drive.settings().with("state_dir", state.path().to_string_lossy());
        Self { drive, settings, _state: state }
    }

    /// Returns a machine whose last process has stored a packfile and a state.
    async fn after_a_backup() -> Self {
        let machine = Self::new();
        for folder in ["states", "packfiles", "locks"] {
            machine.drive.simulator.make_folders(&format!("kloset/{folder}"));
        }
        machine.drive.simulator.put_file("kloset/CONFIG", Content::from(b"config".as_slice()), WHEN);
        let store = machine.opened().await;
        until(|| machine.listings("kloset/packfiles") == 1).await;
        for (resource, mac) in [(Resource::Packfile, OTHER), (Resource::State, STATE)] {
            store.put(resource, mac, bytes(mac[0], SIZE)).await.unwrap();
        }
        assert_eq!((machine.listings("kloset/packfiles"), machine.listings("kloset/states")), (1, 1));
        // A killed process makes no request at its end.
        store.connector().signal(plakar_host::Signal::KILL).unwrap();
        store.into_connector().wait(plakar_host::PATIENCE).await.unwrap();
        machine.drive.simulator.reset_counts();
        machine
    }

    async fn opened(&self) -> Store {
        let store = self.drive.store(&self.settings).await;
        store.open().await.unwrap();
        store
    }

    fn simulator(&self) -> &Simulator {
        &self.drive.simulator
    }

    fn listings(&self, folder: &str) -> usize {
        listings(&self.drive, folder)
    }
}

/// Returns how often a folder was listed.
fn listings(drive: &Drive, folder: &str) -> usize {
    let id = drive.simulator.snapshot().into_iter().find(|item| item.path == folder).unwrap().drive_id;
    let lists = |entry: &icloud_simulator::Entry| entry.kind == RequestKind::List && entry.subjects.contains(&id);
    drive.simulator.requests().iter().filter(|entry| lists(entry)).count()
}

#[tokio::test]
async fn objects_that_this_machine_has_just_stored_are_read_without_a_listing() {
    let machine = Machine::after_a_backup().await;
    let store = machine.opened().await;
    assert_eq!(store.list(Resource::State).await.unwrap(), [STATE]);
    assert_eq!(store.get(Resource::State, STATE, None).await.unwrap(), bytes(7, SIZE));
    assert_eq!(store.get(Resource::Packfile, OTHER, None).await.unwrap(), bytes(8, SIZE));
    assert_eq!((machine.listings("kloset/packfiles"), machine.listings("kloset/states")), (0, 0));
}

#[tokio::test]
async fn a_saved_listing_is_not_used_after_another_machine_has_stored_objects() {
    let machine = Machine::after_a_backup().await;
    for folder in ["states", "packfiles"] {
        machine.simulator().put_file(&path(folder, [9; 32]), content(9, SIZE), WHEN);
    }
    let store = machine.opened().await;
    let mut states = store.list(Resource::State).await.unwrap();
    states.sort_unstable();
    assert_eq!(states, [STATE, [9; 32]]);
    assert_eq!(store.get(Resource::Packfile, [9; 32], None).await.unwrap(), bytes(9, SIZE));
    assert_eq!(machine.listings("kloset/states"), 1);
}

/// The number of objects is the same, so the saved listing is used, but opening its objects fails.
#[tokio::test]
async fn objects_that_another_machine_has_replaced_are_found_despite_the_saved_listing() {
    let machine = Machine::after_a_backup().await;
    machine.simulator().put_file(&path("packfiles", OTHER), content(5, 2 * SIZE), WHEN);
    let store = machine.opened().await;
    assert_eq!(store.get(Resource::Packfile, OTHER, None).await.unwrap(), bytes(5, 2 * SIZE));
    machine.simulator().mutate(&path("states", STATE), icloud_simulator::Mutation::Erase).unwrap();
    machine.simulator().put_file(&path("states", [9; 32]), content(9, SIZE), WHEN);
    let store = machine.opened().await;
    assert_eq!(store.get(Resource::State, [9; 32], None).await.unwrap(), bytes(9, SIZE));
    store.get(Resource::State, STATE, None).await.unwrap_err();
}

/// A lock of another machine must never be missed.
#[tokio::test]
async fn the_locks_are_listed_each_time() {
    let machine = Machine::after_a_backup().await;
    let store = machine.opened().await;
    store.put(Resource::Lock, [1; 32], "own".into()).await.unwrap();
    assert_eq!(machine.listings("kloset/locks"), 0, "the name of a new lock is not looked up");
    machine.simulator().put_file(&path("locks", [2; 32]), content(2, 10), WHEN);
    let mut locks = store.list(Resource::Lock).await.unwrap();
    locks.sort_unstable();
    assert_eq!(locks, [[1; 32], [2; 32]]);
    let next = machine.opened().await;
    machine.simulator().put_file(&path("locks", [3; 32]), content(3, 10), WHEN);
    assert_eq!(next.list(Resource::Lock).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_new_kloset_is_used_without_listing_its_folder() {
    let machine = Machine::new();
    let store = machine.drive.store(&machine.settings).await;
    store.create(&b"config"[..]).await.unwrap();
    let created = machine.drive.requests(RequestKind::List);
    assert_eq!(machine.listings("kloset"), 0);
    let next = machine.drive.store(&machine.settings).await;
    assert_eq!(next.open().await.unwrap(), "config");
    next.put(Resource::Lock, [1; 32], "lock".into()).await.unwrap();
    next.put(Resource::Packfile, OTHER, bytes(8, SIZE)).await.unwrap();
    next.put(Resource::State, STATE, bytes(7, SIZE)).await.unwrap();
    assert_eq!((machine.listings("kloset"), machine.listings("kloset/locks")), (0, 0));
    assert_eq!(machine.listings("kloset/states"), 1, "which shows that the service responds");
    assert!(machine.drive.requests(RequestKind::List) <= created + 2, "the states and the packfiles");
    assert_eq!(next.list(Resource::Lock).await.unwrap(), [[1; 32]]);
}

/// The stored ids of the folders no longer exist.
#[tokio::test]
async fn a_new_kloset_that_another_device_replaces_is_found() {
    let machine = Machine::new();
    machine.drive.store(&machine.settings).await.create(&b"config"[..]).await.unwrap();
    machine.simulator().mutate("kloset", icloud_simulator::Mutation::Erase).unwrap();
    let other = machine.drive.store(&machine.drive.settings()).await;
    other.create(&b"other"[..]).await.unwrap();
    let store = machine.drive.store(&machine.settings).await;
    assert_eq!(store.open().await.unwrap(), "other");
    store.put(Resource::State, STATE, bytes(7, SIZE)).await.unwrap();
    assert!(machine.simulator().content(&path("states", STATE)).is_ok());
}

/// The next command does not have to wait for the slow first listing after a change.
#[tokio::test]
async fn changed_folders_are_listed_after_plakar_has_exited() {
    let machine = Machine::new();
    let store = machine.drive.store(&machine.settings).await;
    store.create(&b"config"[..]).await.unwrap();
    assert_eq!(machine.listings("kloset"), 0);
    store.into_connector().leave().await.unwrap();
    assert_eq!(machine.listings("kloset"), 1);
    let store = machine.opened().await;
    store.put(Resource::State, STATE, bytes(7, SIZE)).await.unwrap();
    let before = machine.listings("kloset/states");
    store.into_connector().leave().await.unwrap();
    assert_eq!(machine.listings("kloset/states"), before + 1);
}

/// Another process has stored the object since the last listing.
#[tokio::test]
async fn an_unexpected_object_of_the_same_name_is_replaced() {
    let machine = Machine::after_a_backup().await;
    let store = machine.opened().await;
    machine.simulator().put_file(&path("locks", [1; 32]), content(2, 10), WHEN);
    store.put(Resource::Lock, [1; 32], "own".into()).await.unwrap();
    assert_eq!(store.list(Resource::Lock).await.unwrap(), [[1; 32]]);
    assert_eq!(store.get(Resource::Lock, [1; 32], None).await.unwrap(), "own");
}

#[tokio::test]
async fn a_creation_succeeds_even_if_the_response_is_lost() {
    let machine = Machine::new();
    let lost = FaultRule::new(RequestKind::UpdateDocuments, FaultAction::ResetAfter).times(1);
    machine.simulator().add_fault(lost);
    let store = machine.drive.store(&machine.settings).await;
    store.create(&b"config"[..]).await.unwrap();
    assert_eq!(store.open().await.unwrap(), "config");
}
