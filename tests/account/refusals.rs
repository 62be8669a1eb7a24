//! Apple's refusals. Each has one cause and one next step, and no refused request is repeated.

use std::collections::BTreeMap;

use icloud_simulator::{AccountRules, FaultAction, FaultRule, RequestKind};

use crate::person::{APPLE_ID, CODE, Person, Ran};

/// Returns the cause that a login with JSON output reports at its end.
#[track_caller]
fn cause(ran: Ran, code: i32) -> String {
    ran.ends(code).json()["cause"].as_str().unwrap_or_default().to_owned()
}

fn refused_at_once(change: impl FnOnce(&mut AccountRules), code: i32) -> (Person, String) {
    let person = Person::new();
    person.simulator.rules(|rules| change(&mut rules.account));
    let cause = cause(person.begin(&["--json"]), code);
    (person, cause)
}

fn refused_after_the_code(change: impl FnOnce(&mut AccountRules), code: i32) -> (Person, String) {
    let person = Person::new();
    person.simulator.rules(|rules| change(&mut rules.account));
    person.begin(&[]).ends(10);
    let cause = cause(person.run(&["login", "--code", CODE, "--json"]), code);
    (person, cause)
}

#[test]
fn a_wrong_password_is_sent_once_and_not_stored() {
    let person = Person::new();
    let arguments = ["login", "--apple-id", APPLE_ID, "--password-stdin", "--no-wait", "--json"];
    assert_eq!(cause(person.run_with(&arguments, "wrong battery"), 10), "wrong-password");
    assert_eq!(person.count(RequestKind::SigninComplete), 1);
    assert_eq!(person.run(&["accounts"]).stdout, "");
}

#[test]
fn a_locked_account_is_reported() {
    let (person, cause) = refused_at_once(|rules| rules.locked = true, 10);
    assert_eq!(cause, "locked");
    assert_eq!(person.count(RequestKind::SigninComplete), 1);
}

#[test]
fn security_keys_are_reported_with_their_names() {
    let (person, cause) = refused_at_once(|rules| rules.security_keys = vec!["blue key".to_owned()], 10);
    assert_eq!(cause, "security-keys");
    assert_eq!(person.count(RequestKind::PushCode), 0);
    let text = person.begin(&[]).stderr;
    assert!(text.contains("blue key"), "{text}");
}

#[test]
fn a_throttled_sign_in_is_not_repeated() {
    use RequestKind::{Authorize, Federate, SigninComplete, SigninInit};
    for (status, kind) in [(503, Authorize), (429, Federate), (503, SigninInit), (429, SigninComplete)] {
        let person = Person::new();
        person.respond(kind, status, &[("Retry-After", "600")]);
        let refused = person.begin(&["--json"]).ends(1).json();
        assert_eq!(refused["cause"], "throttled");
        assert_eq!(refused["retry_after"], 600);
        assert!(refused["said"].as_str().unwrap().contains("asks to wait 10m0s"), "{refused}");
        assert_eq!(person.count(kind), 1);
    }
}

/// The response to an old client or a stale configuration.
#[test]
fn an_invalid_session_token_does_not_cause_repeated_proofs() {
    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    let body = r#"{"success":false,"error":"Invalid Session Token"}"#.to_owned();
    let refusal = FaultAction::Status { status: 400, body, headers: BTreeMap::new() };
    person.simulator.add_fault(FaultRule::new(RequestKind::AccountLogin, refusal));
    let refused = person.run(&["status", "--json"]).ends(10).json()["refused"].clone();
    assert_eq!(refused["cause"], "session-over");
    assert!(refused["text"].as_str().unwrap().contains("Invalid Session Token"), "{refused}");
    // The host also responds like this to valid requests. So the request is repeated, but the
    // password is not proven again.
    assert_eq!(person.count(RequestKind::AccountLogin), 3);
    assert_eq!(person.count(RequestKind::SigninComplete), 1);
    assert!(person.run(&["status", "--offline"]).stdout.contains("Invalid Session Token"));
    person.run(&["status"]).ends(10);
    person.run(&["status"]).ends(10);
    assert_eq!(person.count(RequestKind::SigninComplete), 2);
    person.simulator.clear_faults();
    person.sign_in();
}

/// A configuration of rclone that was completed without the code.
#[test]
fn a_configuration_without_a_trust_token_needs_a_login() {
    let person = Person::new();
    let section = format!("[drive]\ntype = iclouddrive\napple_id = {APPLE_ID}\n");
    person.run_with(&["config", "import"], &section).ends(0);
    let status = person.run(&["status", "--json"]).ends(10).json();
    assert_eq!(status["state"], "needs-login");
    assert!(status["reason"].as_str().unwrap().contains("not signed in"), "{status}");
    assert_eq!(person.simulator.counts().total.requests, 0);
}

#[test]
fn too_many_wrong_codes_are_reported() {
    let person = Person::new();
    person.simulator.rules(|rules| rules.account.code_tries = 2);
    person.begin(&[]).ends(10);
    for _ in 0..2 {
        person.run(&["login", "--code", "000000"]).ends(10);
    }
    assert_eq!(cause(person.run(&["login", "--code", CODE, "--json"]), 10), "too-many-codes");
}

#[test]
fn a_code_without_a_pending_sign_in_is_refused() {
    let person = Person::new();
    assert_eq!(cause(person.run(&["login", "--code", CODE, "--json"]), 10), "no-challenge");
    assert_eq!(person.simulator.counts().total.requests, 0);
}

#[test]
fn an_expired_challenge_is_refused() {
    let person = Person::new();
    person.begin(&[]).ends(10);
    let mut path = None;
    for entry in person.state().join("sessions").read_dir().unwrap() {
        path = Some(entry.unwrap().path()).filter(|path| path.to_string_lossy().ends_with(".challenge")).or(path);
    }
    let path = path.unwrap();
    let mut challenge: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    challenge["expires"] = "2020-01-01T00:00:00Z".into();
    std::fs::write(&path, challenge.to_string()).unwrap();
    assert_eq!(cause(person.run(&["login", "--code", CODE, "--json"]), 10), "no-challenge");
    assert!(!path.exists());
    assert_eq!(person.count(RequestKind::VerifyCode), 0);
}

#[test]
fn pending_terms_are_reported() {
    assert_eq!(refused_after_the_code(|rules| rules.terms_pending = true, 10).1, "terms-pending");
}

#[test]
fn disabled_web_access_is_reported() {
    for protected in [false, true] {
        let refused = refused_after_the_code(
            |rules| {
                rules.web_access = false;
                rules.advanced_data_protection = protected;
            },
            10,
        );
        assert_eq!(refused.1, "web-access-off", "protected: {protected}");
    }
}
