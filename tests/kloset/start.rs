//! The requests of a process before it serves the first byte.

use icloud_simulator::{Content, FaultAction, FaultRule, HoldAt, Mutation, RequestKind};
use plakar_host::{Executable, Host, Resource, Settings, until};
use tempfile::TempDir;

use crate::drive::{Drive, MIB, bytes, content, get, path, program_path};

const WHEN: i64 = 1_700_000_000_000;

/// Creates a kloset with one packfile, and the state folder that its processes share.
fn kloset(configuration: &'static [u8]) -> (Drive, Settings, TempDir) {
    let drive = Drive::new();
    drive.simulator.put_file("kloset/CONFIG", Content::from(configuration), WHEN);
    drive.packfile(1, MIB);
    drive.simulator.make_folders("kloset/states");
    let state = TempDir::new().unwrap();
    let settings = drive.settings().with("state_dir", state.path().to_string_lossy());
    (drive, settings, state)
}

#[tokio::test]
async fn a_later_process_opens_a_kloset_with_one_request() {
    let (drive, settings, _state) = kloset(b"the first");
    for expected in [(3, 2), (1, 0)] {
        drive.simulator.reset_counts();
        let store = drive.store(&settings).await;
        assert_eq!(store.open().await.unwrap(), "the first");
        // The listings are those of the folders on the path and of the states. The packfiles are
        // listed concurrently.
        until(|| drive.requests(RequestKind::List) > expected.0).await;
        assert_eq!(get(&store, [1; 32], 0, MIB).await.unwrap(), bytes(1, MIB));
        let lists = drive.requests(RequestKind::List);
        let contents = drive.requests(RequestKind::ById) + drive.requests(RequestKind::ContentGet);
        assert_eq!((lists, contents), (expected.0 + 1, expected.1 + 2));
        store.into_connector().leave().await.unwrap();
    }
}

/// While plakar waits for its daemon. Most commands then read the latest snapshot.
#[tokio::test]
async fn the_ends_of_the_newest_packfiles_are_prefetched() {
    let (drive, settings, _state) = kloset(b"the first");
    let packfiles = [(2, 6 * MIB), (3, 6 * MIB), (4, MIB)];
    for (number, size) in packfiles {
        drive.simulator.put_file(
            &path("packfiles", [number; 32]),
            content(number, size),
            WHEN + 1000 * i64::from(number),
        );
    }
    let store = drive.store(&settings).await;
    store.open().await.unwrap();
    until(|| drive.requests(RequestKind::ContentGet) == 3).await; // with CONFIG
    for (number, size) in &packfiles[1..] {
        assert_eq!(
            get(&store, [*number; 32], size - 1000, 1000).await.unwrap(),
            bytes(*number, *size).slice(*size as usize - 1000..)
        );
    }
    assert_eq!(drive.requests(RequestKind::ContentGet), 3);
    assert!(drive.fetched() < 2 * MIB, "{}", drive.fetched());
    get(&store, [2; 32], 0, 1000).await.unwrap();
    assert_eq!(drive.requests(RequestKind::ContentGet), 4);
}

/// plakar's daemon requests the states and reads no packfile.
#[tokio::test]
async fn nothing_is_prefetched_after_the_states_were_requested() {
    let (drive, settings, _state) = kloset(b"the first");
    drive.packfile(2, MIB);
    let id = drive.simulator.snapshot().into_iter().find(|item| item.path == "kloset/packfiles").unwrap().drive_id;
    let hold = FaultAction::Hold { gate: "packfiles".to_owned(), at: HoldAt::default() };
    drive.simulator.add_fault(FaultRule::new(RequestKind::List, hold).matching(id).times(1));
    let store = drive.store(&settings).await;
    store.open().await.unwrap();
    store.list(Resource::State).await.unwrap();
    drive.simulator.release("packfiles");
    // The read follows the prefetch, which has listed the packfiles.
    assert_eq!(get(&store, [1; 32], 0, 10).await.unwrap(), bytes(1, MIB).slice(..10));
    assert_eq!(drive.requests(RequestKind::ContentGet), 2, "CONFIG and the requested range");
}

/// plakar's daemon and its connectors have this variable in their environment.
#[tokio::test]
async fn the_daemon_lists_no_packfiles() {
    let (drive, settings, _state) = kloset(b"the first");
    let surroundings = drive.surroundings().with("REEXEC", "1");
    let host = Host::new(Executable::with_role_argument(program_path()), surroundings);
    let store = host.store(&settings).await.unwrap();
    store.open().await.unwrap();
    store.into_connector().leave().await.unwrap();
    assert_eq!(drive.requests(RequestKind::List), 3, "the root, the kloset and the states");
}

#[tokio::test]
async fn a_replaced_configuration_is_read_again() {
    let (drive, settings, _state) = kloset(b"the first");
    assert_eq!(drive.store(&settings).await.open().await.unwrap(), "the first");
    // The new file has the same length as the other one, and a time in the same second.
    drive.simulator.put_file("kloset/CONFIG", Content::from(b"the other".as_slice()), WHEN);
    assert_eq!(drive.store(&settings).await.open().await.unwrap(), "the other");
    drive.simulator.mutate("kloset", Mutation::Trash).unwrap();
    let message = drive.store(&settings).await.open().await.unwrap_err().message();
    assert!(message.contains("holds no kloset"), "{message}");
}

/// Another configuration would make the objects unreadable, and what is stored with it, too.
#[tokio::test]
async fn a_kloset_that_has_lost_its_configuration_is_not_created_again() {
    let (drive, settings, _state) = kloset(b"the first");
    let state = format!("kloset/states/{}", "ab".repeat(32));
    drive.simulator.put_file(&state, Content::from(b"state".as_slice()), WHEN);
    drive.simulator.mutate("kloset/CONFIG", Mutation::Trash).unwrap();
    let store = drive.store(&settings).await;
    let opened = store.open().await.unwrap_err().message();
    assert!(opened.contains("CONFIG is missing"), "{opened}");
    let created = store.create("the other").await.unwrap_err().message();
    assert!(created.contains("CONFIG is missing"), "{created}");

    // A packfile alone is an object, too. Other files are not, nor are the folders of a process
    // that was killed.
    drive.simulator.mutate(&state, Mutation::Trash).unwrap();
    for refused in [store.open().await.unwrap_err(), store.create("the other").await.unwrap_err()] {
        assert!(refused.message().contains("CONFIG is missing"), "{}", refused.message());
    }
    drive.simulator.mutate(&path("packfiles", [1; 32]), Mutation::Trash).unwrap();
    drive.simulator.put_file("kloset/packfiles/.DS_Store", Content::from(b"x".as_slice()), WHEN);
    store.create("the other").await.unwrap();
    assert_eq!(drive.store(&settings).await.open().await.unwrap(), "the other");
}

#[tokio::test]
async fn a_listing_that_hides_objects_is_an_error_and_not_an_empty_kloset() {
    let (drive, settings, _state) = kloset(b"the first");
    drive.simulator.put_file(&format!("kloset/states/{}", "ab".repeat(32)), Content::from(b"state".as_slice()), WHEN);
    let id = drive.simulator.snapshot().into_iter().find(|item| item.path == "kloset/states").unwrap().drive_id;
    let text = format!(r#"[{{"drivewsid":"{id}","status":"OK","numberOfItems":1,"items":[]}}]"#);
    let fault = FaultRule::new(RequestKind::List, FaultAction::Replace { text, effect: false });
    let fault = drive.simulator.add_fault(fault.matching(id));
    let store = drive.store(&settings).await;
    let message = store.list(Resource::State).await.unwrap_err().message();
    assert!(message.contains("/kloset/states") && message.contains("0 of the 1 items"), "{message}");
    drive.simulator.remove_fault(fault);
    assert_eq!(store.list(Resource::State).await.unwrap(), [[0xab; 32]]);
}
