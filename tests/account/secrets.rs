//! The absence of secrets where they do not belong.

use std::fs;

use plakar_host::{Backup, Options, PATIENCE, Plakar, Settings};

use crate::person::{APPLE_ID, CODE, PASSWORD, Person};

/// Returns all secrets: those in the state folder, and those that the user has typed.
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
fn no_output_has_a_secret_even_with_the_debug_log() {
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
    assert_no_secret(&seen, first.iter().chain(&last));
}

#[track_caller]
fn assert_no_secret<'a>(seen: &[String], secrets: impl Iterator<Item = &'a String>) {
    assert!(seen.iter().any(|text| text.contains("debug")), "the log was on");
    for secret in secrets {
        for text in seen {
            assert!(!text.contains(secret), "{secret} is in:\n{text}");
        }
    }
}

/// Checks the log of a backup whose session is renewed during it and ends afterwards.
#[tokio::test]
async fn no_connector_logs_a_secret() {
    let mut person = Person::new();
    person.variables.insert("PLAKAR_ICLOUD_LOG", "debug".to_owned());
    let minted = person.simulator.mint_session();
    person.simulator.put_file("a.txt", icloud_simulator::Content::from(&b"a"[..]), 1_700_000_000_000);
    let settings = Settings::new("icloud://")
        .with("apple_id", &minted.apple_id)
        .with("password", &minted.password)
        .with("trust_token", &minted.trust_token)
        .with("cookies", &minted.cookies);
    let mut seen = Vec::new();
    let mut known = vec![minted.password.clone(), minted.trust_token.clone()];
    for step in 0..3 {
        if step > 0 {
            person.simulator.end_sessions(421);
        }
        if step > 1 {
            person.simulator.end_trust();
        }
        let importer = person.host().importer(&settings, &Options::default()).await.unwrap();
        let outcome = importer.import(Backup::first()).await;
        assert_eq!(outcome.is_ok(), step < 2, "{outcome:?}");
        seen.push(format!("{:?}", outcome.err().map(|error| error.to_string())));
        let session = person.session();
        known.extend(session["session_token"].as_str().map(str::to_owned));
        let cookies = session["cookies"].as_array().unwrap().iter().map(|cookie| cookie["value"].as_str().unwrap());
        known.extend(cookies.filter(|value| value.len() > 5).map(str::to_owned));
        let mut connector = importer.into_connector();
        connector.hang_up();
        connector.wait(PATIENCE).await.unwrap();
        seen.push(connector.stderr());
    }
    assert_no_secret(&seen, known.iter());
}

/// plakar's configuration contains only the name of the account.
#[test]
fn plakars_configuration_has_no_secret() {
    let Some(executable) = Plakar::for_test() else { return };
    let mut person = Person::signed_in();
    person.variables.insert("PATH", format!("{}:/usr/bin:/bin", executable.parent().unwrap().display()));
    person.run_program(&executable, &["-disable-security-check"]).ends(0);
    person.begin(&[]).ends(10);
    person.run(&["login", "--code", CODE, "--add"]).ends(0);
    for section in ["source", "destination", "store"] {
        let shown = person.run_program(&executable, &[section, "show", "-secrets", "icloud"]).ends(0).stdout;
        assert!(shown.contains("account: icloud"), "{shown}");
        for secret in secrets(&person) {
            assert!(!shown.contains(&secret), "{secret} is in:\n{shown}");
        }
    }
}
