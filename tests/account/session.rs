//! Renewing, sharing and ending a session.

use std::{collections::BTreeMap, fs};

use icloud_simulator::{Content, FaultAction, FaultRule, RequestKind, Simulator};
use plakar_host::{Backup, Options, Settings};

use crate::person::{Person, finished};

#[test]
fn an_ended_session_is_renewed_without_a_code() {
    for status in [401, 421] {
        let person = Person::signed_in();
        person.simulator.end_sessions(status);
        person.run(&["status"]).ends(0);
        assert_eq!(person.count(RequestKind::AccountLogin), 1, "{status}");
        assert_eq!(person.count(RequestKind::PushCode), 0);
        // The next process uses the session of this one.
        person.simulator.reset_counts();
        person.run(&["status"]).ends(0);
        assert_eq!(person.count(RequestKind::AccountLogin), 0);
    }
}

#[test]
fn six_processes_sign_in_once() {
    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    let processes: Vec<_> = (0..6).map(|_| person.spawn(&["status"])).collect();
    for process in processes {
        finished(process).ends(0);
    }
    assert_eq!(person.count(RequestKind::AccountLogin), 1);
}

#[test]
fn the_cookies_for_protected_data_are_renewed() {
    let person = Person::new();
    person.simulator.rules(|rules| rules.account.advanced_data_protection = true);
    person.sign_in();
    person.simulator.end_pcs();
    person.run(&["status"]).ends(0);
}

#[test]
fn ended_trust_needs_a_login_and_pushes_no_code() {
    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    person.simulator.end_trust();
    for _ in 0..2 {
        let status = person.run(&["status"]).ends(10);
        assert!(status.stdout.contains("plakar-icloud login icloud"), "{status:?}");
    }
    assert_eq!(person.count(RequestKind::SigninComplete), 1);
    assert_eq!(person.count(RequestKind::PushCode), 0);
    person.sign_in();
    person.run(&["status"]).ends(0);
}

#[test]
fn a_changed_password_is_sent_once() {
    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    person.simulator.rules(|rules| rules.account.password = "another".to_owned());
    for _ in 0..3 {
        person.run(&["status"]).ends(10);
    }
    assert_eq!(person.count(RequestKind::SigninComplete), 1);
}

#[test]
fn the_error_about_a_malformed_session_file_names_it() {
    let person = Person::signed_in();
    let file = person.session_file();
    fs::write(&file, "{").unwrap();
    person.simulator.reset_counts();
    let begin: &[&str] = &["login", "--password-stdin", "--restart", "--no-wait"];
    for command in [&["status"][..], &["config", "show", "--secrets"], begin] {
        let ran = person.run_with(command, crate::person::PASSWORD).ends(1);
        assert!(ran.stderr.contains(file.to_str().unwrap()) && ran.stderr.contains("sign in again"), "{ran:?}");
    }
    assert_eq!(person.count(RequestKind::PushCode), 0, "a code that could not be used");
    let report = person.run(&["doctor"]).ends(1);
    assert!(report.text().contains(file.to_str().unwrap()), "{report:?}");
    assert!(!report.text().contains("--state-dir"), "{report:?}");
    fs::remove_file(file).unwrap();
    person.sign_in();
    person.run(&["status"]).ends(0);
}

/// The files belong to another user, as in a read-only file system, because root can write to its
/// own files regardless of their mode.
#[test]
fn no_sign_in_is_made_with_a_read_only_state_folder() {
    let person = Person::signed_in();
    person.let_everybody_read();
    finished(person.spawn_as_nobody(&["status"])).ends(0);
    person.simulator.end_sessions(421);
    for _ in 0..2 {
        let status = finished(person.spawn_as_nobody(&["status"])).ends(1);
        assert_eq!(status.stderr, "", "{status:?}");
        assert!(status.stdout.contains("its outcome cannot be recorded: the session file"), "{status:?}");
    }
    assert_eq!(person.count(RequestKind::Authorize), 0);
}

/// Creates six folders of three files.
fn furnish(simulator: &Simulator) {
    for folder in 0..6_u64 {
        for file in 0..3_u64 {
            let content = Content::Generated { seed: folder * 10 + file, size: 5_000 };
            simulator.put_file(&format!("folder {folder}/{file}.bin"), content, 1_700_000_000_000);
        }
    }
}

#[tokio::test]
async fn a_session_that_ends_during_a_backup_is_renewed_and_no_file_is_missing() {
    let person = Person::signed_in();
    furnish(&person.simulator);
    let host = person.host();
    let (settings, options) = (Settings::new("icloud://"), Options::default());
    for status in [401, 421, 423] {
        for requests in [0, 3, 9, 20] {
            person.simulator.reset_counts();
            person.simulator.end_sessions_after(requests, status);
            let snapshot = host.backup(&settings, &options, Backup::first()).await.unwrap();
            assert_eq!(snapshot.errors.len(), 0, "{status} after {requests}: {:?}", snapshot.errors);
            assert_eq!(snapshot.contents().len(), 18, "{status} after {requests}");
            assert_eq!(person.count(RequestKind::AccountLogin), 1, "{status} after {requests}");
        }
    }
    assert_eq!(person.count(RequestKind::PushCode), 0);
}

/// A sign-in host fails once during the renewal of the session.
#[tokio::test]
async fn no_file_is_missing_after_a_failed_attempt_at_a_renewal() {
    let person = Person::signed_in();
    furnish(&person.simulator);
    let host = person.host();
    let (settings, options) = (Settings::new("icloud://"), Options::default());
    for (kind, status) in [
        (RequestKind::AccountLogin, 503),
        (RequestKind::SigninInit, 503),
        (RequestKind::Authorize, 403),
        (RequestKind::Federate, 400),
    ] {
        person.simulator.reset_counts();
        person.simulator.end_sessions_after(9, 421);
        let failure = FaultAction::Status { status, body: String::new(), headers: BTreeMap::new() };
        person.simulator.add_fault(FaultRule::new(kind, failure).times(1));
        let snapshot = host.backup(&settings, &options, Backup::first()).await.unwrap();
        assert_eq!(snapshot.errors.len(), 0, "{kind:?} {status}: {:?}", snapshot.errors);
        assert_eq!(snapshot.contents().len(), 18, "{kind:?} {status}");
        assert_eq!(person.count(RequestKind::SigninComplete), 1, "{kind:?} {status}");
    }
}

#[tokio::test]
async fn six_connectors_share_a_renewal() {
    let person = Person::signed_in();
    furnish(&person.simulator);
    let host = person.host();
    let settings = Settings::new("icloud://").with("account", "icloud");
    let options = Options::default();
    let (first, second) =
        (host.importer(&settings, &options).await.unwrap(), host.importer(&settings, &options).await.unwrap());
    let exporter = host.exporter(&settings, &options).await.unwrap();
    let stores = [
        host.store(&settings).await.unwrap(),
        host.store(&settings).await.unwrap(),
        host.store(&settings).await.unwrap(),
    ];
    person.simulator.end_sessions(421);
    let (a, b, c, d, e, f) = tokio::join!(
        first.ping(),
        second.ping(),
        exporter.ping(),
        stores[0].ping(),
        stores[1].ping(),
        stores[2].ping()
    );
    for ping in [a, b, c, d, e, f] {
        ping.unwrap();
    }
    assert_eq!(person.count(RequestKind::AccountLogin), 1);
}

/// Photos use the session of the account, which is renewed as for the drive.
#[tokio::test]
async fn photos_use_the_session_of_the_account() {
    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    let settings = Settings::new("icloud://").with("account", "icloud").with("service", "photos");
    let importer = person.host().importer(&settings, &Options::default()).await.unwrap();
    importer.ping().await.unwrap();
    assert_eq!(person.count(RequestKind::PhotosZones), 3); // one was refused
    assert_eq!(person.count(RequestKind::AccountLogin), 1);
    assert_eq!(person.count(RequestKind::SigninComplete), 1);

    person.simulator.end_sessions(421);
    person.simulator.end_trust();
    let importer = person.host().importer(&settings, &Options::default()).await.unwrap();
    let error = importer.ping().await.unwrap_err().to_string();
    assert!(error.contains("plakar-icloud login"), "{error}");
    assert_eq!(person.count(RequestKind::PushCode), 0);
}

#[tokio::test]
async fn the_access_to_protected_photos_is_stored() {
    let person = Person::new();
    person.simulator.rules(|rules| rules.account.advanced_data_protection = true);
    person.sign_in();
    let requested = person.count(RequestKind::RequestPcs);
    let settings = Settings::new("icloud://").with("account", "icloud").with("service", "photos");
    for _ in 0..2 {
        let importer = person.host().importer(&settings, &Options::default()).await.unwrap();
        importer.ping().await.unwrap();
        assert_eq!(person.count(RequestKind::RequestPcs), requested + 1);
    }
    let status = person.run(&["status"]).ends(0).stdout;
    assert!(status.contains("the access to photos was approved before"), "{status}");
}

#[tokio::test]
async fn the_renewal_of_a_session_imported_from_rclone_is_stored() {
    let person = Person::new();
    furnish(&person.simulator);
    let minted = person.simulator.mint_session();
    let settings = Settings::new("icloud://")
        .with("apple_id", &minted.apple_id)
        .with("password", &minted.password)
        .with("trust_token", &minted.trust_token)
        .with("cookies", &minted.cookies);
    person.simulator.end_sessions(421);
    let host = person.host();
    for sign_ins in [1, 1] {
        let snapshot = host.backup(&settings, &Options::default(), Backup::first()).await.unwrap();
        assert_eq!(snapshot.contents().len(), 18);
        // The second backup has the same stale cookies in its configuration.
        assert_eq!(person.count(RequestKind::AccountLogin), sign_ins);
    }
    assert_eq!(person.session()["apple_id"], crate::person::APPLE_ID);
}
