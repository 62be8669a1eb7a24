//! Signing in.

use std::{fs, os::unix::fs::PermissionsExt};

use icloud_simulator::{CodeAnswer, RequestKind, SrpProtocol, TrustedPhone};

use crate::person::{APPLE_ID, CODE, PASSWORD, Person, finished};

#[test]
fn a_script_signs_in_with_two_calls() {
    for protocol in [SrpProtocol::S2k, SrpProtocol::S2kFo] {
        let person = Person::new();
        person.simulator.rules(|rules| rules.account.protocol = protocol);
        let begun = person.begin(&[]).ends(10);
        assert!(begun.stderr.contains("sent a code to your trusted devices"), "{begun:?}");
        assert_eq!(begun.stdout, "");
        let done = person.run(&["login", "--code", "123 456"]).ends(0);
        assert!(done.stdout.contains("plakar source add icloud icloud:// account=icloud\n"), "{done:?}");
        assert_eq!(person.count(RequestKind::SigninComplete), 1);
        assert_eq!(person.count(RequestKind::PushCode), 1);
        person.run(&["status"]).ends(0);
    }
}

#[test]
fn only_the_owner_can_read_the_state() {
    let person = Person::new();
    person.begin(&[]).ends(10);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = |folder: &str| {
        fs::read_dir(person.state().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    // The challenge contains tokens, too.
    assert!(files("sessions").iter().any(|path| path.to_string_lossy().ends_with(".challenge")));
    let check = || {
        for folder in ["accounts", "sessions"] {
            assert_eq!(mode(&person.state().join(folder)), 0o700, "{folder}");
            files(folder).iter().for_each(|path| assert_eq!(mode(path), 0o600, "{}", path.display()));
        }
    };
    check();
    person.run(&["login", "--code", CODE]).ends(0);
    check();
    assert!(!files("sessions").iter().any(|path| path.to_string_lossy().ends_with(".challenge")));
}

#[test]
fn a_wrong_code_does_not_end_the_sign_in() {
    for status in [401, 400, 412] {
        let person = Person::new();
        person.simulator.rules(|rules| rules.account.wrong_code_status = status);
        person.begin(&[]).ends(10);
        let wrong = person.run(&["login", "--code", "000000"]).ends(10);
        assert!(wrong.stderr.contains("not the code"), "{wrong:?}");
        person.run(&["login", "--code", CODE]).ends(0);
        assert_eq!(person.count(RequestKind::SigninInit), 1);
        assert_eq!(person.count(RequestKind::PushCode), 1);
    }
}

#[test]
fn a_right_code_is_accepted_with_any_known_response() {
    for answer in [
        CodeAnswer::NoContent,
        CodeAnswer::ConflictWithToken,
        CodeAnswer::ConflictWithoutToken,
        CodeAnswer::PreconditionFailed,
    ] {
        let person = Person::new();
        person.simulator.rules(|rules| rules.account.code_answer = answer);
        person.sign_in();
        person.run(&["status"]).ends(0);
    }
}

#[test]
fn a_refused_push_is_reported_with_alternatives() {
    let person = Person::new();
    person.simulator.rules(|rules| rules.account.push_refused = true);
    let begun = person.begin(&["--json"]).ends(10).json();
    assert_eq!(begun["how"], "Apple did not send a code to your devices");
    let ways: Vec<&str> = begun["ways"].as_array().unwrap().iter().map(|way| way["answer"].as_str().unwrap()).collect();
    assert_eq!(ways, ["resend", "sms 1", "voice 1"]);
    let sent = person.run(&["login", "--sms", "--no-wait"]).ends(10);
    assert!(sent.stderr.contains("SMS to +00 ••• ••• ••12"), "{sent:?}");
    person.run(&["login", "--code", "654321"]).ends(0);
    assert_eq!(person.count(RequestKind::SigninInit), 1);
}

#[test]
fn the_phone_can_be_chosen() {
    let phone = |id, number: &str| TrustedPhone { id, number: number.to_owned(), mode: "sms".to_owned() };
    for nested in [false, true] {
        let person = Person::new();
        person.simulator.rules(|rules| {
            rules.account.trusted_devices = false;
            rules.account.nested_auth_state = nested;
            rules.account.phones = vec![phone(3, "+00 12"), phone(7, "+00 34")];
        });
        let begun = person.begin(&[]).ends(10);
        assert!(begun.stderr.contains("SMS to +00 12"), "{begun:?}");
        let other = person.run(&["login", "--sms", "--phone", "2", "--no-wait"]).ends(10);
        assert!(other.stderr.contains("SMS to +00 34"), "{other:?}");
        let called = person.run(&["login", "--call", "--phone", "2", "--no-wait"]).ends(10);
        assert!(called.stderr.contains("calls +00 34"), "{called:?}");
        let none = person.run(&["login", "--sms", "--phone", "3", "--no-wait"]).ends(2);
        assert!(none.stderr.contains("2 trusted phones; there is no number 3"), "{none:?}");
        person.run(&["login", "--code", "654321"]).ends(0);
        assert_eq!((person.count(RequestKind::PushCode), person.count(RequestKind::SendSms)), (0, 3));
    }
}

/// The requested code would invalidate a code that was pushed before.
#[test]
fn the_code_is_sent_only_as_requested() {
    let person = Person::new();
    let begun = person.begin(&["--sms"]).ends(10);
    assert!(begun.stderr.contains("SMS to +00"), "{begun:?}");
    assert_eq!((person.count(RequestKind::PushCode), person.count(RequestKind::SendSms)), (0, 1));
    person.run(&["login", "--code", "654321"]).ends(0);

    let none = person.begin(&["--restart", "--call", "--phone", "2"]).ends(10);
    assert!(none.stderr.contains("1 trusted phones; there is no number 2"), "{none:?}");
    assert_eq!((person.count(RequestKind::PushCode), person.count(RequestKind::SendSms)), (0, 1));
}

#[test]
fn a_code_is_sent_again_only_on_request() {
    let person = Person::new();
    person.simulator.rules(|rules| rules.account.push_renews_code = true);
    person.begin(&[]).ends(10);
    // The same call continues the pending sign-in.
    person.run(&["login", "--no-wait"]).ends(10);
    assert_eq!(person.count(RequestKind::PushCode), 1);
    person.run(&["login", "--resend", "--no-wait"]).ends(10);
    assert_eq!(person.count(RequestKind::PushCode), 2);
    person.run(&["login", "--code", CODE]).ends(10);
    person.run(&["login", "--code", "123457"]).ends(0);
    assert_eq!(person.count(RequestKind::SigninInit), 1);
}

#[test]
fn an_account_without_a_second_factor_needs_no_code() {
    for repair in [false, true] {
        let person = Person::new();
        person.simulator.rules(|rules| {
            rules.account.two_factor = false;
            rules.account.repair_required = repair;
        });
        person.begin(&[]).ends(0);
        person.run(&["status"]).ends(0);
    }
}

#[test]
fn protected_data_is_approved_at_the_login() {
    let person = Person::new();
    person.simulator.rules(|rules| {
        rules.account.advanced_data_protection = true;
        rules.account.pcs_approval_after = 1;
    });
    person.begin(&[]).ends(10);
    let done = person.run(&["login", "--code", CODE]).ends(0);
    assert!(done.stderr.contains("Access iCloud Data on the Web"), "{done:?}");
    assert_eq!(person.count(RequestKind::RequestPcs), 2);
    person.run(&["status"]).ends(0);
    assert_eq!(person.count(RequestKind::RequestPcs), 2);
    assert_eq!(person.count(RequestKind::DeviceConsent), 1, "the devices show one request");
}

#[test]
fn a_sign_in_succeeds_only_if_the_drive_responds() {
    let person = Person::new();
    person.begin(&[]).ends(10);
    person.respond(RequestKind::List, 503, &[("Retry-After", "3600")]);
    let refused = person.run(&["login", "--code", CODE, "--json"]).ends(1).json();
    assert_eq!(refused["cause"], "throttled");
    person.simulator.clear_faults();
    // The code is used up, and the session exists.
    person.run(&["status"]).ends(0);
    assert_eq!(person.count(RequestKind::SigninInit), 1);
}

#[test]
fn an_account_name_belongs_to_one_apple_id() {
    let person = Person::signed_in();
    for name in [&["icloud"][..], &[]] {
        let arguments = [&["login", "--apple-id", "other@example.com", "--password-stdin"], name].concat();
        let other = person.run_with(&arguments, PASSWORD).ends(2);
        assert!(other.stderr.contains("user@example.com"), "{other:?}");
    }
    for name in ["a b", "../x", "-x", "é", &"x".repeat(65)] {
        let odd = person.run(&["login", "--apple-id", APPLE_ID, "--", name]).ends(2);
        assert!(odd.stderr.contains("letters, digits"), "{odd:?}");
    }
    assert_eq!(person.simulator.counts().total.requests, 0);
}

#[test]
fn one_of_two_concurrent_sign_ins_can_be_completed() {
    let person = Person::new();
    let arguments = ["login", "--apple-id", APPLE_ID, "--password-stdin", "--no-wait"];
    let begun: Vec<_> = (0..2).map(|_| person.spawn(&arguments)).collect();
    for mut process in begun {
        std::io::Write::write_all(&mut process.stdin.take().unwrap(), PASSWORD.as_bytes()).unwrap();
        finished(process).ends(10);
    }
    person.run(&["login", "--code", CODE]).ends(0);
    person.run(&["status"]).ends(0);
}

#[test]
fn add_runs_the_command_lines_for_plakar() {
    let mut person = Person::new();
    let record = person.file("ran");
    let plakar = person.file("plakar");
    fs::write(&plakar, format!("#!/bin/sh\necho \"$@\" >> {}\n", record.display())).unwrap();
    fs::set_permissions(&plakar, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", plakar.parent().unwrap().display());
    person.variables.insert("PATH", path);
    person.begin(&[]).ends(10);
    person.run(&["login", "--code", CODE, "--add"]).ends(0);
    let ran = fs::read_to_string(record).unwrap();
    let expected = "source add icloud icloud:// account=icloud\n\
                    destination add icloud icloud:// account=icloud\n\
                    store add icloud icloud:///plakar account=icloud\n";
    assert_eq!(ran, expected, "the name, and no secret");
}

#[test]
fn accounts_that_share_an_apple_id_are_removed_one_by_one() {
    let person = Person::signed_in();
    person.run_with(&["login", "work", "--apple-id", APPLE_ID, "--password-stdin", "--no-wait"], PASSWORD).ends(10);
    person.run(&["login", "work", "--code", CODE]).ends(0);
    let listed = person.run(&["accounts"]).ends(0);
    assert_eq!(listed.stdout.lines().count(), 2, "{listed:?}");
    let several = person.run(&["status"]).ends(2);
    assert!(several.stderr.contains("icloud, work"), "{several:?}");
    person.run(&["logout", "icloud"]).ends(0);
    // The session belongs to the Apple ID, which has another account.
    person.run(&["status"]).ends(0);
    person.run(&["logout"]).ends(0);
    assert!(
        !person
            .state()
            .join("sessions")
            .read_dir()
            .unwrap()
            .any(|entry| { entry.unwrap().path().extension().is_some_and(|ending| ending == "json") })
    );
}

#[test]
fn without_a_terminal_the_error_names_the_required_flags() {
    let person = Person::new();
    let ran = person.run(&["login", "--apple-id", APPLE_ID]).ends(2);
    assert!(ran.stderr.contains("--password-stdin"), "{ran:?}");
    assert_eq!(person.simulator.counts().total.requests, 0);
}
