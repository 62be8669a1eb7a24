//! Whole klosets.

use std::time::{Duration, SystemTime};

use plakar_host::{Backup, Executable, Host, Kloset, Options, Resource, Surroundings, skipped};

use crate::disk::Disk;
use crate::icloud::{ICloud, assert_sound, digests};

#[tokio::test]
async fn a_snapshot_in_a_kloset_has_the_same_contents() {
    let icloud = ICloud::new();
    icloud.furnish();
    let snapshot = icloud.backup("icloud:///docs").await;
    assert_sound(&snapshot);
    let settings = icloud.settings("icloud:///backup/kloset");
    let store = icloud.host.store(&settings).await.unwrap();
    let kloset = Kloset::create(&store).await.unwrap().with_packfiles_of(1_000_000);
    let config = kloset.config().clone();
    let id = kloset.backup(&snapshot).await.unwrap();
    assert!(kloset.check(id).await.unwrap().bytes > 3_000_000);
    store.close().await.unwrap();
    store.into_connector().leave().await.unwrap();

    let store = icloud.host.store(&settings).await.unwrap();
    let kloset = Kloset::open(&store).await.unwrap();
    assert_eq!(*kloset.config(), config);
    assert_eq!(kloset.snapshots().await.unwrap(), [id]);
    let restored = kloset.load(id).await.unwrap();
    assert_eq!(digests(&restored), digests(&snapshot));
    assert_eq!(store.list(Resource::Lock).await.unwrap().len(), 0);
    let packfiles = store.list(Resource::Packfile).await.unwrap().len();
    kloset.backup(&restored).await.unwrap();
    assert_eq!(store.list(Resource::Packfile).await.unwrap().len(), packfiles);
    store.close().await.unwrap();
    store.into_connector().leave().await.unwrap();
}

/// plakar 1.2 adds flags to its requests about objects.
#[tokio::test]
async fn a_kloset_accepts_the_flags_of_newer_plakars() {
    let icloud = ICloud::new();
    icloud.furnish();
    let snapshot = icloud.backup("icloud:///docs").await;
    let store = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap().hot();
    let kloset = Kloset::create(&store).await.unwrap();
    let id = kloset.backup(&snapshot).await.unwrap();
    assert_eq!(digests(&kloset.load(id).await.unwrap()), digests(&snapshot));
    assert_eq!(store.list(Resource::Lock).await.unwrap().len(), 0);
    store.close().await.unwrap();
    store.into_connector().leave().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_that_is_copied_from_a_disk_to_icloud_is_the_same() {
    let (icloud, disk) = (ICloud::new(), Disk::new());
    for (path, content) in [("from/a", "a"), ("from/sub/b", "b"), ("from/empty", "")] {
        disk.put(path, content);
    }
    let options = Options::default();
    let snapshot = disk.host.backup(&disk.settings_at("from"), &options, Backup::first()).await.unwrap();
    let here = disk.host.store(&disk.settings_at("kloset")).await.unwrap();
    let local = Kloset::create(&here).await.unwrap();
    let there = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    let remote = Kloset::create(&there).await.unwrap();
    let id = local.backup(&snapshot).await.unwrap();
    let id = remote.backup(&local.load(id).await.unwrap()).await.unwrap();
    remote.check(id).await.unwrap();
    assert_eq!(digests(&remote.load(id).await.unwrap()), digests(&snapshot));
}

/// A lock that is older than ten minutes is removed by the next backup.
#[tokio::test]
async fn locks_of_others_are_respected_until_they_are_stale() {
    let icloud = ICloud::new();
    icloud.put("files/a", b"a");
    let snapshot = icloud.backup("icloud:///files").await;
    let store = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    let kloset = Kloset::create(&store).await.unwrap();
    let exclusive = kloset.leave_lock(SystemTime::now(), true).await.unwrap();
    kloset.backup(&snapshot).await.unwrap_err();
    assert_eq!(store.list(Resource::Lock).await.unwrap(), [exclusive]);
    store.delete(Resource::Lock, exclusive).await.unwrap();
    kloset.leave_lock(SystemTime::now() - Duration::from_secs(3600), true).await.unwrap();
    kloset.backup(&snapshot).await.unwrap();
    assert_eq!(store.list(Resource::Lock).await.unwrap().len(), 0);
}

/// A kloset of the Go plugin can be read and written, and vice versa. `PLAKAR_RCLONE_PLUGIN` names
/// the folder of the Go plugin's executables.
#[tokio::test]
async fn klosets_of_the_go_plugin_are_read_and_written() {
    let Some(plugin) = std::env::var_os("PLAKAR_RCLONE_PLUGIN") else {
        skipped("PLAKAR_RCLONE_PLUGIN is not set");
        return;
    };
    let go = Host::new(Executable::one_for_each_role(plugin), Surroundings::new().unwrap());
    let disk = Disk::new();
    disk.put("from/a", vec![1; 3_000_000]);
    disk.put("from/sub/b", "b");
    let options = Options::default();
    let snapshot = disk.host.backup(&disk.settings_at("from"), &options, Backup::first()).await.unwrap();
    for (name, maker, other) in [("theirs", &go, &disk.host), ("ours", &disk.host, &go)] {
        let settings = disk.settings_at(name);
        let store = maker.store(&settings).await.unwrap();
        let id = Kloset::create(&store).await.unwrap().backup(&snapshot).await.unwrap();
        store.into_connector().leave().await.unwrap();
        let store = other.store(&settings).await.unwrap();
        let kloset = Kloset::open(&store).await.unwrap();
        kloset.check(id).await.unwrap();
        assert_eq!(digests(&kloset.load(id).await.unwrap()), digests(&snapshot), "{name}");
        kloset.backup(&snapshot).await.unwrap();
        assert_eq!(kloset.snapshots().await.unwrap().len(), 2);
        store.into_connector().leave().await.unwrap();
    }
}
