//! Renewing, sharing and ending a session.

use std::{fs, os::unix::fs::PermissionsExt};

use icloud_simulator::RequestKind;

use crate::person::{Person, finished};

#[test]
fn a_dead_session_is_renewed_without_a_code() {
    for status in [401, 421] {
        let person = Person::signed_in();
        person.simulator.end_sessions(status);
        person.run(&["status"]).ends(0);
        assert_eq!(person.count(RequestKind::AccountLogin), 1, "{status}");
        assert_eq!(person.count(RequestKind::PushCode), 0);
        // The next process has what this one got.
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
fn protected_data_gets_fresh_cookies_by_itself() {
    let person = Person::new();
    person.simulator.rules(|rules| rules.account.advanced_data_protection = true);
    person.sign_in();
    person.simulator.end_pcs();
    person.run(&["status"]).ends(0);
}

#[test]
fn trust_that_is_over_needs_a_person_and_pushes_nothing() {
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
fn a_password_that_was_changed_is_tried_once() {
    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    person.simulator.rules(|rules| rules.account.password = "another".to_owned());
    for _ in 0..3 {
        person.run(&["status"]).ends(10);
    }
    assert_eq!(person.count(RequestKind::SigninComplete), 1);
}

#[test]
fn a_read_only_state_folder_is_no_failure() {
    let person = Person::signed_in();
    let folders = [person.state(), person.state().join("sessions"), person.state().join("accounts")];
    let set =
        |mode| folders.iter().for_each(|folder| fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap());
    set(0o500);
    person.simulator.end_sessions(421);
    let status = person.run(&["status"]);
    set(0o700);
    status.ends(0);
}
