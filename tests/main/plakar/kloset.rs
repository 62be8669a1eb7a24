//! Klosets in the drive.

use icloud_simulator::{Content, RequestKind};
use plakar_host::{Role, Signal};

use super::{Installed, files};
use crate::icloud::MODIFIED;

/// A second creation is refused and does not change the configuration. No lock is left at the end.
#[tokio::test]
async fn a_kloset_in_the_drive_is_created_used_checked_and_restored() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    let from = plakar.path("from");
    installed.define("source", "drive", "icloud:///docs").await;
    installed.at_plain(&["backup", "@drive"]).await;
    installed.at_plain(&["restore", "-to", &from]).await;

    let store = icloud.settings("icloud:///kloset").with("passphrase", "correct horse battery staple");
    plakar.define("store", "there", &store).await.unwrap();
    let outcome = plakar.run(["at", "@there", "ls"]).await.unwrap();
    assert_eq!(outcome.status, Some(66), "{}", outcome.output);
    plakar.must(["at", "@there", "create"]).await.unwrap();
    let config = icloud.contents()["/kloset/CONFIG"].clone();
    let outcome = plakar.run(["at", "@there", "create"]).await.unwrap();
    assert_eq!(outcome.status, Some(1), "{}", outcome.output);
    assert!(outcome.output.contains("already"), "{}", outcome.output);
    assert_eq!(icloud.contents()["/kloset/CONFIG"], config);

    for _ in 0..2 {
        plakar.must(["at", "@there", "backup", &from]).await.unwrap();
    }
    plakar.must(["at", "@there", "check"]).await.unwrap();
    let info = plakar.must(["at", "@there", "info"]).await.unwrap();
    assert!(!info.contains("EiB"), "{info}");
    let target = plakar.path("restored");
    plakar.must(["at", "@there", "restore", "-to", &target]).await.unwrap();
    assert_eq!(files(target.as_ref()), files(from.as_ref()));
    plakar.must(["at", "@there", "maintenance"]).await.unwrap();
    plakar.surroundings().deserted().await.unwrap();
    let locks = icloud.contents().into_keys().filter(|path| path.contains("/locks/")).count();
    assert_eq!(locks, 0, "a lock was left");
}

/// The kloset is left out of the five backups.
#[tokio::test]
async fn a_drive_that_is_backed_up_into_itself_does_not_grow_by_its_kloset() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    for n in 0..4 {
        let content = Content::Generated { seed: n, size: 500_000 };
        icloud.simulator.put_file(&format!("documents/{n}.bin"), content, MODIFIED);
    }
    installed.define("source", "drive", "icloud://").await;
    installed.create_kloset("icloud:///Backups/kloset").await;
    let size = || -> u64 {
        let stored = icloud.simulator.snapshot().into_iter();
        stored.filter(|item| !item.folder && item.path.starts_with("Backups/")).map(|item| item.size).sum()
    };
    plakar.must(["at", "@there", "backup", "@drive"]).await.unwrap();
    let first = size();
    assert!(first >= 2_000_000, "{first} bytes after the first backup");
    for _ in 0..4 {
        plakar.must(["at", "@there", "backup", "@drive"]).await.unwrap();
    }
    assert!(size() * 2 <= first * 5, "{first} bytes after the first backup, {} after the fifth", size());
}

/// Both klosets have a passphrase, which is never shown.
#[tokio::test]
async fn klosets_are_synchronised_in_both_directions() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    installed.define("source", "drive", "icloud:///docs").await;
    let settings = icloud.settings("icloud:///kloset").with("passphrase", "correct horse battery staple");
    plakar.define("store", "there", &settings).await.unwrap();
    let here = plakar_host::Settings::new(&plakar.path("plain"));
    plakar.define("store", "here", &here).await.unwrap();
    plakar.must(["at", "@there", "create"]).await.unwrap();
    installed.at_plain(&["backup", "@drive"]).await;
    plakar.must(["at", "@here", "sync", "to", "@there"]).await.unwrap();
    plakar.must(["at", "@there", "check"]).await.unwrap();

    let other = plakar.path("other");
    plakar.must(["at", &other, "create", "-plaintext"]).await.unwrap();
    let output = plakar.must(["at", &other, "sync", "from", "@there"]).await.unwrap();
    assert!(!output.contains("battery"), "{output}");
    plakar.must(["at", &other, "check"]).await.unwrap();
    let target = plakar.path("restored");
    plakar.must(["at", &other, "restore", "-to", &target]).await.unwrap();
    let mut expected = icloud.contents();
    expected.retain(|path, _| path.starts_with("/docs/"));
    let expected = expected.into_iter().map(|(path, digest)| (path["/docs".len()..].to_owned(), digest));
    assert_eq!(files(target.as_ref()), expected.collect());
}

#[tokio::test]
async fn a_full_drive_fails_the_backup_but_does_not_damage_the_kloset() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    let from = plakar.path("from");
    installed.define("source", "drive", "icloud:///docs").await;
    installed.at_plain(&["backup", "@drive"]).await;
    installed.at_plain(&["restore", "-to", &from]).await;
    installed.create_kloset("icloud:///kloset").await;
    icloud.simulator.rules(|rules| rules.drive.quota = 3_500_000);
    let outcome = plakar.run(["at", "@there", "backup", &from]).await.unwrap();
    assert_eq!(outcome.status, Some(1), "{}", outcome.output);
    assert!(outcome.output.contains("free some space in iCloud"), "{}", outcome.output);
    icloud.simulator.rules(|rules| rules.drive.quota = u64::MAX);
    plakar.must(["at", "@there", "backup", &from]).await.unwrap();
    plakar.must(["at", "@there", "check"]).await.unwrap();
}

/// Temporary failures of the service, at every kind of request, are not visible to plakar.
#[tokio::test]
async fn temporary_failures_are_retried() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    installed.define("source", "drive", "icloud:///docs").await;
    installed.define("store", "there", "icloud:///kloset").await;
    for kind in [
        RequestKind::List,
        RequestKind::ById,
        RequestKind::ContentGet,
        RequestKind::UploadWeb,
        RequestKind::ContentPost,
    ] {
        icloud.simulator.add_fault(icloud.fail(kind, 503).skip(1).times(1));
    }
    plakar.must(["at", "@there", "create", "-plaintext"]).await.unwrap();
    let output = plakar.must(["at", "@there", "backup", "@drive"]).await.unwrap();
    assert!(output.contains("without errors"), "{output}");
    plakar.must(["at", "@there", "check"]).await.unwrap();
}

#[tokio::test]
async fn commands_work_after_the_connector_of_plakars_daemon_was_killed() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.furnish();
    installed.define("source", "drive", "icloud:///docs").await;
    installed.create_kloset("icloud:///kloset").await;
    plakar.must(["at", "@there", "backup", "@drive"]).await.unwrap();
    let left = plakar.surroundings().processes();
    let connectors: Vec<_> = left.iter().filter(|process| process.serves(Role::Storage)).collect();
    assert!(!connectors.is_empty(), "{left:?}");
    for connector in connectors {
        connector.signal(Signal::KILL).unwrap();
    }
    plakar.surroundings().deserted().await.unwrap();
    plakar.must(["at", "@there", "check"]).await.unwrap();
}
