//! Creating, opening and describing a kloset.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use icloud_simulator::{Content, RequestKind};
use plakar_host::{Resource, Settings, Signal, digest};

use crate::disk::Disk;
use crate::icloud::ICloud;

/// Returns the settings of a remote that encrypts contents, but not names, and stores them in
/// iCloud. It replaces a file whose name is taken, so a process needs a claim.
fn claimed(icloud: &ICloud) -> Settings {
    let plain = icloud.settings("icloud://");
    let below = plain.parameters().iter().filter(|(key, _)| *key != "location");
    let crypt = [
        ("type", "crypt"),
        ("remote", "drive:"),
        ("password", "H2D5a-RoBnhONFDwZlDkGiAXI3NszwApGyshKJI"),
        ("filename_encryption", "off"),
        ("directory_name_encryption", "false"),
        ("suffix", "none"),
    ];
    let settings = Settings::new("rclone:///kloset").with("remote.drive.type", "iclouddrive");
    let settings =
        crypt.into_iter().fold(settings, |settings, (key, value)| settings.with(&format!("rclone_{key}"), value));
    below.fold(settings, |settings, (key, value)| settings.with(&format!("remote.drive.{key}"), value))
}

#[tokio::test]
async fn create_stores_the_configuration_byte_for_byte() {
    let icloud = ICloud::new();
    let store = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    let config: Vec<u8> = (0..=255).chain(0..=113).collect();
    store.create(config.clone()).await.unwrap();
    assert_eq!(store.open().await.unwrap(), config);
    let stored = icloud.simulator.content("kloset/CONFIG").unwrap();
    assert_eq!(stored.read(0, stored.size()), config);
    store.close().await.unwrap();
    store.into_connector().leave().await.unwrap();
}

/// plakar does not wait for the deletion, and the process continues after plakar has exited.
#[tokio::test]
async fn create_does_not_wait_until_its_claim_is_deleted() {
    let icloud = ICloud::new();
    let store = icloud.host.store(&claimed(&icloud)).await.unwrap();
    icloud.hold(RequestKind::Trash, "deletions");
    store.create(&b"config"[..]).await.unwrap();
    let mut connector = store.into_connector();
    connector.hang_up();
    icloud.until(RequestKind::Trash, 1).await;
    icloud.simulator.release("deletions");
    connector.wait(plakar_host::PATIENCE).await.unwrap();
    assert_eq!(icloud.contents().into_keys().collect::<Vec<_>>(), ["/kloset/CONFIG"]);
}

#[tokio::test]
async fn a_second_creation_is_refused_and_changes_nothing() {
    let icloud = ICloud::new();
    let settings = icloud.settings("icloud:///kloset");
    icloud.host.store(&settings).await.unwrap().create(&b"first"[..]).await.unwrap();
    let store = icloud.host.store(&settings).await.unwrap();
    let message = store.create(&b"second"[..]).await.unwrap_err().message();
    assert!(message.contains("already") && message.contains("/kloset"), "{message}");
    assert_eq!(store.open().await.unwrap(), "first");
}

#[tokio::test]
async fn the_error_about_a_missing_kloset_is_readable() {
    let icloud = ICloud::new();
    icloud.simulator.make_folders("empty");
    for folder in ["/empty", "/none"] {
        let store = icloud.host.store(&icloud.settings(&format!("icloud://{folder}"))).await.unwrap();
        let message = store.open().await.unwrap_err().message();
        assert!(message.contains(folder) && message.contains("no kloset"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

/// On a service that ignores case, the kloset would be created and then not found.
#[tokio::test]
async fn a_location_in_another_case_is_refused_by_every_command() {
    let icloud = ICloud::new();
    let at = |location: &str| icloud.settings(location);
    let made = icloud.host.store(&at("icloud:///My Backups/kl")).await.unwrap();
    made.create(&b"config"[..]).await.unwrap();
    for (location, actual) in [("/my backups/kl", "/My Backups/kl"), ("/My Backups/KL", "/My Backups/kl")] {
        let store = icloud.host.store(&at(&format!("icloud://{location}"))).await.unwrap();
        for message in
            [store.create(&b"other"[..]).await.unwrap_err().message(), store.open().await.unwrap_err().message()]
        {
            assert_eq!(message, format!("{location} is called {actual} in the drive; correct the location"));
        }
    }
    icloud.until_gone("/plakar-claim-").await;
    assert_eq!(icloud.contents().into_keys().collect::<Vec<_>>(), ["/My Backups/kl/CONFIG"]);
}

/// A backup right after `create`, on a service whose listings lag behind.
#[tokio::test]
async fn a_new_kloset_is_opened_even_if_no_listing_shows_it() {
    let icloud = ICloud::new();
    let settings = icloud.settings("icloud:///kloset");
    icloud.simulator.make_folders("kloset");
    let old = icloud.listing("kloset");
    icloud.host.store(&settings).await.unwrap().create(&b"config"[..]).await.unwrap();
    icloud.simulator.add_fault(old);
    assert_eq!(icloud.host.store(&settings).await.unwrap().open().await.unwrap(), "config");
}

/// plakar exits with 0 if only its cache daemon fails to list the states.
#[tokio::test]
async fn a_kloset_whose_states_cannot_be_listed_is_not_opened() {
    let icloud = ICloud::new();
    let settings = icloud.settings("icloud:///kloset");
    icloud.host.store(&settings).await.unwrap().create(&b"config"[..]).await.unwrap();
    icloud.put(&format!("kloset/states/{}", "ab".repeat(32)), b"state");
    let fault = icloud.simulator.add_fault(icloud.hide_from_listing("kloset/states", 1));
    let store = icloud.host.store(&settings).await.unwrap();
    let message = store.open().await.unwrap_err().message();
    assert!(message.contains("/kloset/states"), "{message}");
    icloud.simulator.remove_fault(fault);
    assert_eq!(store.open().await.unwrap(), "config");
}

#[tokio::test]
async fn of_two_concurrent_creations_one_succeeds() {
    for is_claimed in [false, true] {
        let icloud = ICloud::new();
        let settings = if is_claimed { claimed(&icloud) } else { icloud.settings("icloud:///kloset") };
        let one = icloud.host.store(&settings).await.unwrap();
        let other = icloud.host.store(&settings).await.unwrap();
        let (first, second) = tokio::join!(one.create(&b"one"[..]), other.create(&b"other"[..]));
        let winner = match (&first, &second) {
            (Ok(()), Err(_)) => "one",
            (Err(_), Ok(())) => "other",
            _ => panic!("{first:?} and {second:?}"),
        };
        assert_eq!(one.open().await.unwrap(), winner);
        assert_eq!(other.open().await.unwrap(), winner);
    }
}

/// The service determines which of several processes creates a kloset. If it stores the files of the
/// others under other names, these files are withdrawn.
#[tokio::test]
async fn of_many_concurrent_creations_one_succeeds() {
    for keeps_both in [false, true] {
        let icloud = ICloud::new();
        icloud.simulator.make_folders("kloset");
        icloud.simulator.rules(|rules| rules.drive.registration_bounces = keeps_both);
        icloud.hold(RequestKind::UpdateDocuments, "registrations");
        let settings = icloud.settings("icloud:///kloset");
        let mut stores = Vec::new();
        for _ in 0..4 {
            stores.push(icloud.host.store(&settings).await.unwrap());
        }
        let creations = stores.iter().enumerate().map(|(n, store)| store.create(vec![n as u8; 9]));
        let (results, ()) = tokio::join!(futures_util::future::join_all(creations), async {
            icloud.until(RequestKind::UpdateDocuments, 4).await;
            icloud.simulator.release("registrations");
        });
        let winners: Vec<usize> = (0..4).filter(|&n| results[n].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        for (n, result) in results.iter().enumerate().filter(|(_, result)| result.is_err()) {
            let message = result.as_ref().unwrap_err().message();
            assert!(message.contains("already"), "{n}: {message}");
        }
        icloud.until_gone("CONFIG 2").await;
        assert_eq!(icloud.contents().into_keys().collect::<Vec<_>>(), ["/kloset/CONFIG"]);
        assert_eq!(stores[0].open().await.unwrap(), vec![winners[0] as u8; 9]);
    }
}

/// The process of the claim was killed on another machine.
#[tokio::test]
async fn an_expired_claim_is_removed() {
    let icloud = ICloud::new();
    let left = "kloset/plakar-claim-00000000-1-0000000000000001";
    icloud.put(left, b"a kloset is being created here");
    let store = icloud.host.store(&claimed(&icloud)).await.unwrap();
    store.create(&b"config"[..]).await.unwrap();
    assert!(icloud.simulator.content(left).is_err());
}

/// A process that was killed on this machine is known to have ended, so its claim need not expire.
#[tokio::test]
async fn the_claim_of_a_process_killed_on_this_machine_is_removed() {
    let icloud = ICloud::new();
    icloud.simulator.make_folders("kloset");
    let settings = claimed(&icloud);
    icloud.hold(RequestKind::CreateFolders, "folders");
    let killed = icloud.host.store(&settings).await.unwrap();
    let (created, ()) = tokio::join!(killed.create(&b"killed"[..]), async {
        icloud.until(RequestKind::CreateFolders, 1).await;
        killed.connector().signal(Signal::KILL).unwrap();
    });
    created.unwrap_err();
    killed.into_connector().wait(plakar_host::PATIENCE).await.unwrap();
    icloud.simulator.release("folders");
    assert!(icloud.contents().keys().any(|path| path.starts_with("/kloset/plakar-claim-")), "{:?}", icloud.contents());

    let store = icloud.host.store(&settings).await.unwrap();
    store.create(&b"config"[..]).await.unwrap();
    icloud.until_gone("/plakar-claim-").await;
    assert_eq!(icloud.contents().into_keys().collect::<Vec<_>>(), ["/kloset/CONFIG"]);
}

#[tokio::test]
async fn the_error_about_a_concurrent_creation_names_the_claim() {
    let icloud = ICloud::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let claim = "kloset/plakar-claim-00000000-1-0000000000000001";
    icloud.simulator.put_file(claim, Content::from(&b"claim"[..]), i64::try_from(now).unwrap());
    let store = icloud.host.store(&claimed(&icloud)).await.unwrap();
    let message = store.create(&b"config"[..]).await.unwrap_err().message();
    assert!(message.contains(claim) && message.contains("seconds"), "{message}");
    assert_eq!(icloud.contents().into_keys().collect::<Vec<_>>(), [format!("/{claim}")]);
}

#[tokio::test]
async fn folders_without_objects_are_listed_as_empty() {
    let icloud = ICloud::new();
    icloud.put("kloset/CONFIG", b"config");
    let store = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    for resource in [Resource::Packfile, Resource::State, Resource::Lock] {
        assert_eq!(store.list(resource).await.unwrap(), Vec::<[u8; 32]>::new());
    }
    assert_eq!(store.size().await.unwrap(), 0);
}

#[tokio::test]
async fn the_size_of_a_kloset_is_that_of_its_objects() {
    let icloud = ICloud::new();
    let store = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    store.create(&b"config"[..]).await.unwrap();
    for (resource, size) in [(Resource::Packfile, 100_000), (Resource::Packfile, 17), (Resource::State, 1000)] {
        let content = Bytes::from(vec![1; size]);
        store.put(resource, digest(&content), content).await.unwrap();
    }
    assert_eq!(store.size().await.unwrap(), 100_000 + 17 + 1000);
}

#[tokio::test]
async fn mode_sends_no_request() {
    let icloud = ICloud::new();
    let store = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    assert_eq!(store.mode().await.unwrap(), 6);
    store.close().await.unwrap();
    assert_eq!(icloud.simulator.counts().total.requests, 0);
}

#[tokio::test]
async fn a_passphrase_in_the_settings_is_ignored_and_not_shown() {
    let icloud = ICloud::new();
    let settings =
        icloud.settings("icloud:///kloset").with("passphrase", "horse battery").with("passphrase_cmd", "cat");
    let store = icloud.host.store(&settings).await.unwrap();
    store.ping().await.unwrap();
    store.create(&b"config"[..]).await.unwrap();
    let mut connector = store.into_connector();
    connector.hang_up();
    connector.wait(plakar_host::PATIENCE).await.unwrap();
    assert!(!connector.stderr().contains("horse"), "{}", connector.stderr());
}

/// The foreign files are those that other programs leave in the folders of a kloset.
#[tokio::test]
async fn foreign_files_are_not_listed() {
    let icloud = ICloud::new();
    let name = "0123456789abcdef".repeat(4);
    for file in ["CONFIG", "packfiles/.DS_Store", "packfiles/ab/cdef", "states/readme.txt", "locks/0123"] {
        icloud.put(&format!("kloset/{file}"), b"foreign");
    }
    icloud.put(&format!("kloset/packfiles/{name}"), b"packfile");
    icloud.put(&format!("kloset/packfiles/{name} 2"), b"copy");
    icloud.simulator.make_folders(&format!("kloset/packfiles/{}", "f".repeat(64)));
    let store = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    let listed: Vec<String> = store.list(Resource::Packfile).await.unwrap().iter().map(crate::icloud::hex).collect();
    assert_eq!(listed, [name]);
    assert_eq!(store.list(Resource::State).await.unwrap().len(), 0);
    assert_eq!(store.list(Resource::Lock).await.unwrap().len(), 0);
}

/// The Go plugin and this program can open each other's stores.
#[tokio::test]
async fn the_layout_is_that_of_the_go_plugin() {
    let disk = Disk::new();
    let store = disk.host.store(&disk.settings_at("kloset")).await.unwrap();
    store.create(&b"config"[..]).await.unwrap();
    let content = Bytes::from_static(b"content");
    for (resource, folder) in
        [(Resource::Packfile, "packfiles"), (Resource::State, "states"), (Resource::Lock, "locks")]
    {
        let mac = digest(folder.as_bytes());
        store.put(resource, mac, content.clone()).await.unwrap();
        let path = disk.path("kloset").join(folder).join(crate::icloud::hex(&mac));
        assert_eq!(std::fs::read(&path).unwrap(), content, "{}", path.display());
    }
    assert_eq!(std::fs::read(disk.path("kloset/CONFIG")).unwrap(), b"config");
}

#[tokio::test]
async fn sigterm_ends_the_process() {
    let icloud = ICloud::new();
    let store = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    icloud.hold(RequestKind::List, "listings");
    let (open, ()) = tokio::join!(store.open(), async {
        icloud.until(RequestKind::List, 1).await;
        store.connector().signal(Signal::TERM).unwrap();
    });
    open.unwrap_err();
    store.into_connector().wait(plakar_host::PATIENCE).await.unwrap();
}
