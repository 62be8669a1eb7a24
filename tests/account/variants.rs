//! Responses of Apple that differ from those of the simulator. A sign-in accepts them if rclone's
//! client does.

use std::collections::BTreeMap;

use icloud_simulator::{FaultAction, FaultRule, RequestKind};

use crate::person::{CODE, Person, Ran};

fn respond_with(person: &Person, kind: RequestKind, status: u16, headers: &[(&str, &str)], body: &str) {
    let headers: BTreeMap<_, _> = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    person.simulator.add_fault(FaultRule::new(kind, FaultAction::Status { status, body: body.to_owned(), headers }));
}

#[track_caller]
fn cause(ran: Ran, code: i32) -> String {
    ran.ends(code).json()["cause"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_description_of_the_second_factor_may_be_missing() {
    for (status, body) in [(404, ""), (500, "{}"), (200, "<html>"), (200, "{}"), (204, "")] {
        let person = Person::new();
        respond_with(&person, RequestKind::AuthState, status, &[], body);
        person.sign_in();
    }
}

#[test]
fn a_push_may_be_refused_or_unknown() {
    for status in [404, 409, 412, 500] {
        let person = Person::new();
        respond_with(&person, RequestKind::PushCode, status, &[], "");
        let begun = person.begin(&[]).ends(10);
        assert!(begun.stderr.contains("did not send a code"), "{begun:?}");
        person.run(&["login", "--code", CODE]).ends(0);
    }
}

#[test]
fn security_keys_may_be_reported_in_the_response_to_the_password() {
    let person = Person::new();
    let body = r#"{"authType":"hsa2","fsaChallenge":{"challenge":"c2ltdWxhdGVk"},"keyNames":["blue key"]}"#;
    respond_with(&person, RequestKind::SigninComplete, 409, &[], body);
    assert_eq!(cause(person.begin(&["--json"]), 10), "security-keys");
    assert_eq!(person.count(RequestKind::PushCode), 0);
}

#[test]
fn a_failed_proof_may_have_the_status_200() {
    let person = Person::new();
    respond_with(&person, RequestKind::SigninComplete, 200, &[("X-Apple-I-Rscd", "401")], "{}");
    assert_eq!(cause(person.begin(&["--json"]), 10), "wrong-password");
}

#[test]
fn a_conflict_without_details_is_a_wrong_code() {
    for body in ["", "{}", r#"{"securityCode":{"valid":false}}"#] {
        let person = Person::new();
        person.begin(&[]).ends(10);
        respond_with(&person, RequestKind::VerifyCode, 409, &[], body);
        let wrong = person.run(&["login", "--code", CODE]).ends(10);
        assert!(wrong.stderr.contains("not the code"), "{wrong:?}");
        person.simulator.clear_faults();
        person.run(&["login", "--code", CODE]).ends(0);
    }
}

/// The session of a right code can be used as long as it lasts.
#[test]
fn trust_may_be_refused() {
    for (status, body) in [(412, "{}"), (204, "")] {
        let person = Person::new();
        person.begin(&[]).ends(10);
        respond_with(&person, RequestKind::Trust, status, &[], body);
        person.run(&["login", "--code", CODE]).ends(0);
        person.run(&["status"]).ends(0);
    }
}

#[test]
fn facts_about_the_account_may_be_missing_in_the_response_to_a_sign_in() {
    let services = r#""webservices":{
        "drivews":{"url":"https://p123-drivews.icloud.com:443"},
        "docws":{"url":"https://p123-docws.icloud.com:443"}}"#;
    for (rest, code) in [
        ("", 0),
        (r#","dsInfo":null"#, 0),
        (r#","dsInfo":{"hsaVersion":0},"hsaChallengeRequired":true"#, 0),
        (r#","dsInfo":{"hsaVersion":1},"hsaChallengeRequired":true"#, 0),
        (r#","dsInfo":{"hsaVersion":2},"hsaChallengeRequired":true"#, 10),
    ] {
        let person = Person::signed_in();
        let cookie = person.session()["cookies"].as_array().unwrap().iter().fold(String::new(), |found, cookie| {
            let name = cookie["name"].as_str().unwrap();
            if name == "X-APPLE-WEBAUTH-TOKEN" {
                format!("{name}={}", cookie["value"].as_str().unwrap())
            } else {
                found
            }
        });
        // A listing and the validation fail as if the session had ended, although the cookie is
        // still valid.
        for kind in [RequestKind::List, RequestKind::Validate] {
            let over = FaultAction::Status { status: 421, body: String::new(), headers: BTreeMap::new() };
            person.simulator.add_fault(FaultRule::new(kind, over).times(1));
        }
        respond_with(
            &person,
            RequestKind::AccountLogin,
            200,
            &[("Set-Cookie", &cookie)],
            &format!("{{{services}{rest}}}"),
        );
        person.run(&["status"]).ends(code);
    }
}

#[test]
fn the_state_of_web_access_may_be_missing() {
    let person = Person::new();
    person.simulator.rules(|rules| {
        rules.account.advanced_data_protection = true;
        rules.account.pcs_approval_after = 1;
    });
    respond_with(&person, RequestKind::WebAccessState, 404, &[], "");
    person.sign_in();

    let person = Person::new();
    person.simulator.rules(|rules| {
        rules.account.advanced_data_protection = true;
        rules.account.pcs_approval_after = 1;
    });
    respond_with(&person, RequestKind::DeviceConsent, 404, &[], "");
    person.sign_in();
}

#[test]
fn services_may_be_missing() {
    let person = Person::new();
    person.begin(&[]).ends(10);
    respond_with(&person, RequestKind::AccountLogin, 200, &[], r#"{"dsInfo":{"hsaVersion":2},"webservices":{}}"#);
    assert_eq!(cause(person.run(&["login", "--code", CODE, "--json"]), 1), "no-drive");
}
