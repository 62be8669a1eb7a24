//! Klosets below the location of a backup.

use plakar_host::{Backup, Host, Options, PATIENCE, Settings, Snapshot};

use crate::{disk::Disk, icloud::ICloud};

const KLOSET: [&str; 4] = ["Backups/kloset/CONFIG", "Backups/kloset/packfiles/p", "Backups/kloset/states/s", "a.txt"];

fn contents(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.contents().into_keys().collect()
}

/// Runs a backup. Returns the snapshot and what the connector wrote to stderr.
async fn backup(host: &Host, settings: &Settings) -> (Snapshot, String) {
    let importer = host.importer(settings, &Options::default()).await.unwrap();
    let snapshot = importer.import(Backup::first()).await.unwrap();
    let mut connector = importer.into_connector();
    connector.hang_up();
    connector.wait(PATIENCE).await.unwrap();
    (snapshot, connector.stderr())
}

#[tokio::test]
async fn a_kloset_is_left_out_unless_include_klosets_is_set() {
    let (icloud, disk) = (ICloud::new(), Disk::new());
    for path in KLOSET {
        icloud.put(path, b"content");
        disk.put(path, b"content");
    }
    icloud.simulator.make_folders("Backups/kloset/locks");
    for (host, settings, root) in [
        (&icloud.host, icloud.settings("icloud://"), String::new()),
        (&disk.host, disk.settings(), disk.path("").to_string_lossy().trim_end_matches('/').to_owned()),
    ] {
        let (snapshot, stderr) = backup(host, &settings).await;
        assert_eq!(contents(&snapshot), ["/a.txt"]);
        let lines: Vec<&str> = stderr.lines().collect();
        assert!(
            matches!(lines[..], [line, _summary] if line.contains("/Backups/kloset") && line.contains("include_klosets=true")),
            "{stderr}"
        );
        assert!(snapshot.entries.contains_key(&format!("{root}/Backups/kloset")));
        let (snapshot, stderr) = backup(host, &settings.with("include_klosets", "true")).await;
        assert_eq!(contents(&snapshot), KLOSET.map(|path| format!("/{path}")));
        assert_eq!(stderr.lines().count(), 1, "more than the summary: {stderr}");
    }
}

#[tokio::test]
async fn a_kloset_at_the_location_is_backed_up() {
    let icloud = ICloud::new();
    for path in KLOSET {
        icloud.put(path, b"content");
    }
    let snapshot = icloud.backup("icloud:///Backups/kloset").await;
    assert_eq!(contents(&snapshot), ["/CONFIG", "/packfiles/p", "/states/s"]);
}

/// The folders resemble a kloset in part.
#[tokio::test]
async fn folders_that_resemble_a_kloset_are_backed_up() {
    let icloud = ICloud::new();
    for path in [
        "a/CONFIG/x",
        "a/packfiles/p",
        "a/states/s",
        "b/CONFIG",
        "b/packfiles/p",
        "c/CONFIG",
        "c/states",
        "c/packfiles/p",
    ] {
        icloud.put(path, b"content");
    }
    let snapshot = icloud.backup("icloud://").await;
    assert_eq!(contents(&snapshot).len(), 8, "{:?}", contents(&snapshot));
}
