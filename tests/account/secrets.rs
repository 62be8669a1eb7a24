//! That there are no secrets where they do not belong.

use std::fs;

use crate::person::{APPLE_ID, CODE, PASSWORD, Person};

/// Everything that must not be seen: what the state folder keeps, and what was typed.
fn secrets(person: &Person) -> Vec<String> {
    let session = person.session();
    let mut secrets = vec![PASSWORD.to_owned(), CODE.to_owned()];
    let mut add = |value: &serde_json::Value| {
        if let Some(text) = value.as_str().filter(|text| text.len() > 5) {
            secrets.push(text.to_owned());
        }
    };
    add(&session["trust_token"]);
    add(&session["session_token"]);
    session["cookies"].as_array().unwrap().iter().for_each(|cookie| add(&cookie["value"]));
    let account: serde_json::Value =
        serde_json::from_slice(&fs::read(person.state().join("accounts/icloud.json")).unwrap()).unwrap();
    add(&account["password"]);
    assert!(secrets.len() > 4, "{secrets:?}");
    secrets
}

#[test]
fn no_output_shows_one_even_at_the_highest_level() {
    let mut person = Person::new();
    person.variables.insert("PLAKAR_ICLOUD_LOG", "debug".to_owned());
    let mut seen = vec![person.begin(&[]).text(), person.run(&["login", "--code", CODE]).ends(0).text()];
    let first = secrets(&person);
    person.simulator.end_sessions(421);
    let bundle = person.file("bundle");
    for arguments in [
        &["status", "--json"][..],
        &["accounts", "--json"],
        &["config", "show"],
        &["doctor", "--bundle", bundle.to_str().unwrap()],
    ] {
        seen.push(person.run(arguments).ends(0).text());
    }
    person.simulator.end_sessions(421);
    person.simulator.end_trust();
    let last = secrets(&person);
    seen.push(person.run(&["doctor"]).ends(10).text());
    let bundle = fs::read_to_string(bundle).unwrap();
    assert!(!bundle.contains(APPLE_ID), "{bundle}");
    seen.push(bundle);
    assert!(seen.iter().any(|text| text.contains("debug")), "the log was on");
    for secret in first.iter().chain(&last) {
        for text in &seen {
            assert!(!text.contains(secret), "{secret} is in:\n{text}");
        }
    }
}
