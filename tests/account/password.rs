//! Passwords that are stored, printed by a command, or missing.

use std::{fs, path::PathBuf};

use icloud_simulator::RequestKind;
use plakar_host::{Options, Settings};

use crate::person::{APPLE_ID, CODE, PASSWORD, Person, finished};

/// Returns a command that prints the password and counts its runs.
fn counting_command(person: &Person) -> (String, impl Fn() -> usize) {
    let record = person.file("runs");
    fs::write(&record, "").unwrap();
    let command = format!("echo run >> {}; echo '{PASSWORD}'", record.display());
    (command, move || fs::read_to_string(&record).unwrap().lines().count())
}

fn account_file(person: &Person) -> PathBuf {
    person.state().join("accounts/icloud.json")
}

fn signed_in_by_command(command: &str) -> Person {
    let person = Person::new();
    sign_in_by_command(&person, command);
    person
}

fn sign_in_by_command(person: &Person, command: &str) {
    person.run(&["login", "--apple-id", APPLE_ID, "--password-command", command, "--no-wait"]).ends(10);
    person.run(&["login", "--code", CODE]).ends(0);
}

#[test]
fn a_password_command_runs_once_for_each_sign_in() {
    let person = Person::new();
    let (command, runs) = counting_command(&person);
    sign_in_by_command(&person, &command);
    assert_eq!(runs(), 1);
    let account = fs::read_to_string(account_file(&person)).unwrap();
    assert!(!account.contains("\"password\"") && account.contains("password_command"), "{account}");

    person.run(&["status"]).ends(0);
    person.run(&["doctor"]).ends(0);
    assert_eq!(runs(), 1, "the session is alive");

    person.simulator.end_sessions(421);
    let processes: Vec<_> = (0..6).map(|_| person.spawn(&["status"])).collect();
    for process in processes {
        finished(process).ends(0);
    }
    assert_eq!(runs(), 2);
}

#[tokio::test]
async fn the_password_command_of_a_configuration_is_used() {
    let person = Person::new();
    person.begin(&["--no-store-password"]).ends(10);
    person.run(&["login", "--code", CODE]).ends(0);
    let (command, runs) = counting_command(&person);
    let settings = Settings::new("icloud://").with("account", "icloud").with("password_command", &command);
    let importer = person.host().importer(&settings, &Options::default()).await.unwrap();
    importer.ping().await.unwrap();
    assert_eq!(runs(), 0);
    person.simulator.end_sessions(421);
    importer.ping().await.unwrap();
    assert_eq!(runs(), 1);
}

#[test]
fn the_failure_of_a_password_command_is_reported() {
    for (command, why) in [("exit 3", "exit status 3"), ("true", "printed nothing")] {
        let person = signed_in_by_command(&format!("echo '{PASSWORD}'"));
        let account = account_file(&person);
        let mut changed: serde_json::Value = serde_json::from_slice(&fs::read(&account).unwrap()).unwrap();
        changed["password_command"] = command.into();
        fs::write(&account, changed.to_string()).unwrap();
        person.run(&["status"]).ends(0);
        person.simulator.end_sessions(421);
        person.simulator.reset_counts();
        let refused = person.run(&["status", "--json"]).ends(10).json()["refused"].clone();
        assert_eq!(refused["cause"], "no-password");
        assert!(refused["text"].as_str().unwrap().contains(why), "{refused}");
        assert_eq!(person.count(RequestKind::SigninInit), 0);
    }
}

#[test]
fn no_password_is_stored_with_no_store_password() {
    let person = Person::new();
    person.begin(&["--no-store-password"]).ends(10);
    person.run(&["login", "--code", CODE]).ends(0);
    let account = fs::read_to_string(account_file(&person)).unwrap();
    assert!(!account.contains("password"), "{account}");
}

#[test]
fn an_app_specific_password_is_not_sent() {
    let refused = |person: &Person, arguments: &[&str], stdin: &str| {
        let ran = person.run_with(&[&["login", "--apple-id", APPLE_ID, "--json"], arguments].concat(), stdin);
        assert_eq!(ran.ends(10).json()["cause"], "app-specific-password");
    };
    let person = Person::new();
    refused(&person, &["--password-stdin"], "abcd-efgh-ijkl-mnop\n");
    refused(&person, &["--password-command", "echo abcd-efgh-ijkl-mnop"], "");
    assert_eq!(person.simulator.counts().total.requests, 0);
    assert_eq!(person.run(&["accounts"]).ends(0).stdout, "");
}

/// The app-specific password is from another source, such as a configuration of rclone.
#[tokio::test]
async fn an_app_specific_password_is_not_sent_for_a_renewal() {
    let person = Person::new();
    let minted = person.simulator.mint_session();
    let settings = Settings::new("icloud://")
        .with("apple_id", &minted.apple_id)
        .with("password", "abcd-efgh-ijkl-mnop")
        .with("trust_token", &minted.trust_token)
        .with("cookies", &minted.cookies);
    person.simulator.end_sessions(421);
    let importer = person.host().importer(&settings, &Options::default()).await.unwrap();
    let error = importer.ping().await.unwrap_err().to_string();
    assert!(error.contains("app-specific"), "{error}");
    assert_eq!(person.count(RequestKind::SigninInit), 0);
}
