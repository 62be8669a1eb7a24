//! The process: its start and end, its inputs, and what it leaves behind.

use std::path::PathBuf;
use std::time::Duration;

use icloud_simulator::{FaultAction, FaultRule, RequestKind, Simulator};
use plakar_host::{
    Backup, Connector, Executable, Host, Importer, Kloset, Options, PATIENCE, Role, Settings, Signal, Surroundings,
    Tree,
};

use crate::disk::Disk;
use crate::icloud::{ICloud, program};

/// The time within which a connector must exit after plakar has died.
const EXIT_LIMIT: Duration = Duration::from_secs(2);
/// rclone's obscured form of "correct horse".
const OBSCURED: &str = "H2D5a-RoBnhONFDwZlDkGiAXI3NszwApGyshKJI";
const ROLES: [Role; 3] = [Role::Importer, Role::Exporter, Role::Storage];

#[tokio::test]
async fn the_end_of_stdin_ends_the_process() {
    let disk = Disk::new();
    for role in ROLES {
        let mut connector = disk.host.connect(role).await.unwrap();
        connector.end_input();
        assert!(connector.wait(EXIT_LIMIT).await.unwrap().success(), "{role:?}");
        assert_eq!(connector.stderr(), "", "{role:?}");
    }
}

/// plakar 1.2 can run a connector in a container and connect to its socket.
#[tokio::test]
async fn a_connector_listens_on_the_socket_that_plakar_names() {
    let icloud = ICloud::new();
    icloud.furnish();
    let surroundings = icloud.host.surroundings();
    let socket = surroundings.root().join("plugin.sock");
    let connector = Connector::listening(&program(), Role::Importer, surroundings, &socket).await.unwrap();
    let options = Options::default();
    let importer = Importer::init(connector, &icloud.settings("icloud:///docs"), &options).await.unwrap();
    let snapshot = importer.import(Backup::first()).await.unwrap();
    assert!(snapshot.contents().keys().any(|path| path.ends_with("/large.bin")), "{:?}", snapshot.contents());
    importer.close().await.unwrap();
    importer.into_connector().leave().await.unwrap();

    let mut refused = std::process::Command::new(env!("CARGO_BIN_EXE_plakar-icloud"));
    refused.arg("storage").env("PLAKAR_PLUGIN_LISTEN", "tcp://127.0.0.1:1");
    let refused = refused.output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("PLAKAR_PLUGIN_LISTEN") && message.contains("unix://"), "{message}");
}

/// If plakar's log is on a full disk, messages are lost, but nothing else fails.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_log_that_cannot_be_written_causes_no_failure() {
    let disk = Disk::new();
    disk.put("a.txt", "a");
    let full = disk.path("full");
    let script = format!("#!/bin/sh\nexec {} \"$@\" 2>/dev/full\n", env!("CARGO_BIN_EXE_plakar-icloud"));
    std::fs::write(&full, script).unwrap();
    std::fs::set_permissions(&full, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let surroundings = Surroundings::new().unwrap().with("PLAKAR_ICLOUD_LOG", "debug");
    let host = Host::new(Executable::with_role_argument(&full), surroundings);
    let snapshot = host.backup(&disk.settings(), &Options::default(), Backup::first()).await.unwrap();
    assert!(snapshot.contents().contains_key("/a.txt"));
    let ended = std::process::Command::new(&full).args(["status", "nobody"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "it panicked");
}

/// Ctrl-C reaches every process of a terminal, and plakar handles it.
#[tokio::test]
async fn an_interrupt_is_ignored() {
    let disk = Disk::new();
    let store = disk.host.store(&disk.settings()).await.unwrap();
    store.connector().signal(Signal::INT).unwrap();
    store.ping().await.unwrap();
    store.into_connector().leave().await.unwrap();
}

#[tokio::test]
async fn no_other_file_is_left_behind() {
    let icloud = ICloud::new();
    icloud.furnish();
    let snapshot = icloud.backup("icloud:///docs").await;
    let options = Options::default();
    let tree = snapshot.restore("/docs");
    icloud.host.restore(&icloud.settings("icloud:///to"), &options, &tree).await.unwrap().end.unwrap();
    let store = icloud.host.store(&icloud.settings("icloud:///kloset")).await.unwrap();
    Kloset::create(&store).await.unwrap().backup(&snapshot).await.unwrap();
    store.close().await.unwrap();
    store.into_connector().leave().await.unwrap();
    assert_eq!(icloud.traces(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn cookies_that_the_service_replaces_are_stored() {
    let icloud = ICloud::new();
    let body = r#"[{"drivewsid":"FOLDER::com.apple.CloudDocs::root","status":"OK","numberOfItems":0,"items":[]}]"#;
    let headers = [("set-cookie".to_owned(), "X-APPLE-NEW=replaced".to_owned())].into();
    let cookies = FaultAction::Status { status: 200, body: body.to_owned(), headers };
    icloud.simulator.add_fault(FaultRule::new(RequestKind::List, cookies));
    icloud.backup("icloud://").await;
    let sessions = icloud.host.surroundings().home().join(".local/state/plakar-icloud/sessions");
    let mut files = std::fs::read_dir(sessions).unwrap().map(|entry| entry.unwrap().path());
    let session = files.find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
    assert!(std::fs::read_to_string(session).unwrap().contains("X-APPLE-NEW"));
}

#[tokio::test]
async fn the_debug_log_is_on_stderr_and_contains_no_secret() {
    let mut icloud = ICloud::new();
    icloud.furnish();
    icloud.host.surroundings_mut().set("PLAKAR_ICLOUD_LOG", "debug");
    let settings = icloud.settings("icloud://").with("passphrase", "horse battery");
    let importer = icloud.host.importer(&settings, &Options::default()).await.unwrap();
    let snapshot = importer.import(Backup::first()).await.unwrap();
    assert_eq!(snapshot.contents().len(), 6);
    let mut connector = importer.into_connector();
    connector.hang_up();
    connector.wait(PATIENCE).await.unwrap();
    let log = connector.stderr();
    assert!(!log.is_empty(), "no debug log");
    assert_no_secret(&log, &settings);
}

fn assert_no_secret(text: &str, settings: &Settings) {
    let parameters = settings.parameters();
    for key in ["trust_token", "cookies", "password", "passphrase"] {
        for secret in parameters.get(key).into_iter().flat_map(|value| value.split("; ")) {
            let secret = secret.split_once('=').map_or(secret, |(_, value)| value);
            assert!(secret.len() < 6 || !text.contains(secret), "{key} is in:\n{text}");
        }
    }
}

/// The proxy and the certificate authority are taken from the environment. The variables that
/// configure rclone's own program have no effect.
#[tokio::test]
async fn only_the_variables_of_the_network_have_an_effect() {
    let mut icloud = ICloud::new();
    icloud.furnish();
    let surroundings = icloud.host.surroundings_mut();
    for (name, value) in [
        ("RCLONE_CONFIG", "/dev/null/none"),
        ("RCLONE_EXCLUDE", "*"),
        ("RCLONE_MAX_DEPTH", "1"),
        ("RCLONE_DRY_RUN", "true"),
        ("RCLONE_TRANSFERS", "0"),
        ("RCLONE_VERBOSE", "2"),
        ("RCLONE_ICLOUDDRIVE_APPLE_ID", "other@example.com"),
        ("RCLONE_CONFIG__PLAKAR_APPLE_ID", "other@example.com"),
    ] {
        surroundings.set(name, value);
    }
    let snapshot = icloud.backup("icloud://").await;
    assert_eq!(snapshot.contents().len(), 6);
    assert_eq!(snapshot.origin, "user@example.com");
    let tree = Tree::new().folder("/").file("/a", "a");
    let settings = icloud.settings("icloud:///to");
    icloud.host.restore(&settings, &Options::default(), &tree).await.unwrap().end.unwrap();
    assert!(icloud.contents().contains_key("/to/a"));
}

#[tokio::test]
async fn rclones_variable_for_the_certificate_authority_is_used() {
    let icloud = ICloud::new();
    icloud.put("a", b"a");
    let surroundings = Surroundings::new().unwrap();
    let authority = surroundings.root().join("ca.pem");
    icloud.simulator.write_ca(&authority).unwrap();
    let surroundings = surroundings.with("https_proxy", icloud.simulator.proxy_url()).with("RCLONE_CA_CERT", authority);
    let host = Host::new(program(), surroundings);
    let importer = host.importer(&icloud.settings("icloud://"), &Options::default()).await.unwrap();
    importer.ping().await.unwrap();
}

#[tokio::test]
async fn the_error_about_an_unknown_authority_names_the_certificate() {
    let icloud = ICloud::new();
    let surroundings = Surroundings::new().unwrap().with("HTTPS_PROXY", icloud.simulator.proxy_url());
    let host = Host::new(program(), surroundings);
    let importer = host.importer(&icloud.settings("icloud://"), &Options::default()).await.unwrap();
    let message = importer.ping().await.unwrap_err().message();
    assert!(message.contains("certificate"), "{message}");
}

#[tokio::test]
async fn errors_name_the_invalid_setting() {
    let icloud = ICloud::new();
    let disk = Disk::new();
    for (settings, named) in [
        (icloud.settings("icloud://").without("apple_id"), "apple_id"),
        (icloud.settings("icloud://").with("colour", "red"), "colour"),
        (icloud.settings("icloud:///a/../b"), ".."),
        (disk.settings().without("rclone_type"), "rclone_type"),
        (disk.settings().with("rclone_type", "floppy"), "floppy"),
        (
            Settings::new("rclone://").with("rclone_type", "crypt").with("rclone_remote", "_plakar:x"),
            "refers to itself",
        ),
    ] {
        let message = disk.host.importer(&settings, &Options::default()).await.unwrap_err().message();
        assert!(message.contains(named), "{named} is not in: {message}");
        assert!(!message.contains('\n'), "{message}");
        assert_no_secret(&message, &settings);
    }
    assert_eq!(icloud.simulator.counts().total.requests, 0);
}

#[tokio::test]
async fn the_error_about_an_unknown_option_lists_all_options() {
    let disk = Disk::new();
    let settings = disk.settings().with("read_ahed", "3");
    let message = disk.host.importer(&settings, &Options::default()).await.unwrap_err().message();
    for known in ["read_ahed", "encoding", "read_ahead", "spool_dir", "on_event"] {
        assert!(message.contains(known), "{known} is not in: {message}");
    }
}

#[tokio::test]
async fn the_error_about_a_missing_remote_names_it() {
    let disk = Disk::new();
    let settings = Settings::new("rclone://")
        .with("rclone_type", "crypt")
        .with("rclone_remote", "drive:hidden")
        .with("rclone_password", OBSCURED);
    let importer = disk.host.importer(&settings, &Options::default()).await.unwrap();
    let message = importer.ping().await.unwrap_err().message();
    assert!(message.contains("drive"), "{message}");
}

/// The text that `rclone config show` prints for a password is not used as a password.
#[tokio::test]
async fn a_hidden_password_is_ignored() {
    let icloud = ICloud::new();
    icloud.put("a", b"a");
    let settings = icloud.settings("icloud://").with("password", "*** ENCRYPTED ***");
    let importer = icloud.host.importer(&settings, &Options::default()).await.unwrap();
    importer.ping().await.unwrap();
}

/// Options may have the prefix that `plakar source import -rclone` adds.
#[tokio::test]
async fn settings_imported_from_rclone_work_unchanged() {
    let icloud = ICloud::new();
    icloud.put("a", b"a");
    let plain = icloud.settings("icloud://");
    let prefixed = plain.parameters().iter().filter(|(key, _)| *key != "location");
    let settings = prefixed
        .fold(Settings::new("rclone://"), |settings, (key, value)| settings.with(&format!("rclone_{key}"), value));
    let settings = settings.with("rclone_type", "iclouddrive");
    let snapshot = icloud.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap();
    assert_eq!((snapshot.origin.as_str(), snapshot.kind.as_str()), ("user@example.com", "rclone"));
    assert_eq!(snapshot.contents().into_keys().collect::<Vec<_>>(), ["/a"]);
}

/// `crypt` over iCloud: two remotes in one configuration.
#[tokio::test]
async fn a_remote_may_refer_to_another() {
    let icloud = ICloud::new();
    let plain = icloud.settings("icloud://");
    let below = plain.parameters().iter().filter(|(key, _)| *key != "location");
    let crypt = Settings::new("rclone://")
        .with("rclone_type", "crypt")
        .with("rclone_remote", "drive:hidden")
        .with("rclone_password", OBSCURED)
        .with("remote.drive.type", "iclouddrive");
    let settings = below.fold(crypt, |settings, (key, value)| settings.with(&format!("remote.drive.{key}"), value));
    let tree = Tree::new().folder("/").folder("/sub").file("/sub/secret.txt", "secret");
    icloud.host.restore(&settings, &Options::default(), &tree).await.unwrap().end.unwrap();
    let stored = icloud.contents();
    assert_eq!(stored.len(), 1);
    assert!(stored.keys().all(|path| path.starts_with("/hidden/") && !path.contains("secret")), "{stored:?}");
    let snapshot = icloud.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap();
    assert_eq!(snapshot.contents().into_keys().collect::<Vec<_>>(), ["/sub/secret.txt"]);
    assert_eq!(snapshot.entries["/sub/secret.txt"].content.as_ref().unwrap().bytes.as_deref(), Some(&b"secret"[..]));
}

#[tokio::test]
async fn a_simulator_refuses_every_other_host() {
    let icloud = ICloud::new();
    let simulator: &Simulator = &icloud.simulator;
    let settings = Settings::new("rclone://").with("rclone_type", "webdav").with("rclone_url", "https://dav.example/");
    let importer = icloud.host.importer(&settings, &Options::default()).await.unwrap();
    importer.ping().await.unwrap_err();
    assert!(simulator.counts().of(RequestKind::RefusedHost) > 0);
}
