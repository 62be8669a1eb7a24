//! The diagnosis of a single cause, and the round trip.

use std::fs;

use icloud_simulator::{FaultAction, FaultRule, RequestKind};

use crate::person::{Person, Ran};

#[track_caller]
fn cause(ran: Ran, code: i32) -> String {
    let report = ran.ends(code).json();
    let failed = report["checks"].as_array().unwrap().iter().filter(|check| !check["cause"].is_null()).count();
    assert_eq!(failed, 1, "one cause: {report}");
    report["found"]["cause"].as_str().unwrap().to_owned()
}

fn examine(person: &Person, code: i32) -> String {
    cause(person.run(&["doctor", "--json"]), code)
}

#[test]
fn a_successful_check_leaves_nothing_behind() {
    let person = Person::signed_in();
    let report = person.run(&["doctor"]).ends(0);
    for step in ["list", "write", "read", "remove"] {
        assert!(report.stdout.contains(step), "{report:?}");
    }
    assert_eq!(person.simulator.snapshot(), []);
    person.simulator.reset_counts();
    person.run(&["doctor", "--read-only"]).ends(0);
    assert_eq!(person.count(RequestKind::UploadWeb), 0);
}

#[test]
fn causes_of_the_account_are_found() {
    assert_eq!(examine(&Person::new(), 10), "not-signed-in");

    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    person.simulator.end_trust();
    // The first time, Apple reports it. Then it is stored on this machine.
    for _ in 0..2 {
        assert_eq!(examine(&person, 10), "trust-over");
    }
    assert_eq!(person.count(RequestKind::PushCode), 0);

    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    person.simulator.rules(|rules| rules.account.password = "another".to_owned());
    for _ in 0..2 {
        assert_eq!(examine(&person, 10), "wrong-password");
    }

    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    person.simulator.rules(|rules| rules.account.locked = true);
    assert_eq!(examine(&person, 10), "locked");

    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    person.simulator.end_trust();
    person.simulator.rules(|rules| rules.account.security_keys = vec!["blue key".to_owned()]);
    let found = examine(&person, 10);
    assert!(["security-keys", "trust-over"].contains(&&*found), "{found}");
}

#[test]
fn causes_that_the_owner_has_to_resolve_with_apple_are_found() {
    let person = Person::signed_in();
    person.simulator.rules(|rules| rules.account.web_access = false);
    assert_eq!(examine(&person, 10), "web-access-off");

    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    person.simulator.rules(|rules| rules.account.terms_pending = true);
    assert_eq!(examine(&person, 10), "terms-pending");

    let person = Person::signed_in();
    person.simulator.rules(|rules| {
        rules.account.advanced_data_protection = true;
        rules.account.pcs_approval_after = 1_000;
    });
    assert_eq!(examine(&person, 10), "adp-not-approved");
}

#[test]
fn causes_of_the_connection_are_found() {
    let mut person = Person::signed_in();
    person.variables.remove("SSL_CERT_FILE");
    assert_eq!(examine(&person, 1), "certificate");

    let mut person = Person::signed_in();
    person.variables.insert("HTTPS_PROXY", "http://127.0.0.1:9".to_owned());
    assert_eq!(examine(&person, 1), "proxy");

    let mut person = Person::signed_in();
    person.variables.remove("HTTPS_PROXY");
    assert_eq!(examine(&person, 1), "no-network");

    let person = Person::signed_in();
    person.respond(RequestKind::Unknown, 200, &[("date", "Sat, 01 Jan 2022 00:00:00 GMT")]);
    assert_eq!(examine(&person, 1), "clock");
}

#[test]
fn throttling_is_found_without_a_second_attempt() {
    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    person.respond(RequestKind::SigninInit, 503, &[("Retry-After", "600")]);
    assert_eq!(examine(&person, 1), "throttled");
    assert_eq!(person.count(RequestKind::SigninInit), 1);
}

#[test]
fn a_failure_of_the_whole_service_is_reported_after_few_requests() {
    for session_over in [false, true] {
        let person = Person::signed_in();
        if session_over {
            person.simulator.end_sessions(421);
        }
        let unavailable = FaultAction::Status { status: 503, body: String::new(), headers: Default::default() };
        person.simulator.add_fault(FaultRule::any(unavailable));
        let found = person.run(&["doctor"]);
        assert_eq!(found.code, 1, "{found:?}");
        assert!(found.stdout.contains("503"), "{found:?}");
        assert!(person.simulator.counts().total.requests < 40, "too many requests");
    }
}

#[test]
fn causes_of_the_machine_are_found() {
    let mut person = Person::signed_in();
    let file = person.file("no-folder");
    fs::write(&file, "").unwrap();
    person.variables.insert("PLAKAR_ICLOUD_STATE_DIR", file.display().to_string());
    assert_eq!(examine(&person, 1), "state-folder");

    let mut person = Person::signed_in();
    let program = person.file("plakar");
    fs::write(&program, "#!/bin/sh\necho plakar/v1.0.6\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    person.variables.insert("PATH", path);
    assert_eq!(examine(&person, 1), "plakar-version");
}
