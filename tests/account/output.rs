//! Exit codes, JSON, and characters that a terminal must not get.

use std::fs;

use icloud_simulator::Content;
use plakar_host::{Backup, Options, PATIENCE, Settings};

use crate::person::{APPLE_ID, Person};

/// ESC, BEL, CR, DEL, a C1 control and a change of the direction of writing.
const OBEYED: &str = "\u{1b}]0;x\u{7}\r\u{7f}\u{9b}31m\u{202e}";

/// Returns a control character of a text, if it has one.
fn raw(text: &str) -> Option<char> {
    text.chars().find(|&character| {
        (character.is_control() && character != '\n') || ('\u{202a}'..='\u{202e}').contains(&character)
    })
}

#[test]
fn an_early_error_is_json_where_json_was_asked_for() {
    let person = Person::new();
    for command in [&["status", "--json"][..], &["login", "nobody/here", "--json"]] {
        let failed = person.run(command);
        let error = failed.json();
        assert_eq!(error["state"], "failed", "{failed:?}");
        assert!(!error["error"].as_str().unwrap().is_empty(), "{failed:?}");
        assert!(failed.code == 1 || failed.code == 2, "{failed:?}");
    }
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let person = Person::signed_in();
    person.run(&["status", "a/b"]).ends(2);
    person.run(&["login", "--apple-id", "other@example.com", "--password-stdin"]).ends(2);
    fs::copy(person.state().join("accounts/icloud.json"), person.state().join("accounts/second.json")).unwrap();
    person.run(&["status"]).ends(2);
    person.run(&["status", "nobody"]).ends(1);
    person.run(&["--no-such-option"]).ends(2);
}

#[test]
fn nothing_that_a_terminal_obeys_comes_from_an_account() {
    let person = Person::signed_in();
    let file = person.state().join("accounts/icloud.json");
    let text = fs::read_to_string(&file).unwrap();
    let odd = format!("odd{OBEYED}@example.com");
    fs::write(&file, text.replace(APPLE_ID, serde_json::to_string(&odd).unwrap().trim_matches('"'))).unwrap();
    fs::write(person.state().join(format!("accounts/{OBEYED}.json")), "").unwrap();
    for command in [
        &["accounts"][..],
        &["accounts", "--json"],
        &["status"],
        &["status", "--json"],
        &["doctor", "--json"],
        &["status", OBEYED],
        &["login", "--apple-id", OBEYED],
    ] {
        let shown = person.run(command).text();
        assert_eq!(raw(&shown), None, "{command:?}: {shown:?}");
    }
    assert_eq!(person.run(&["accounts", "--json"]).ends(0).json()[0]["apple_id"], odd);
}

/// The messages of a connector about files and folders with unusual names, at the highest log
/// level.
#[tokio::test]
async fn nothing_that_a_terminal_obeys_comes_from_a_name() {
    let mut person = Person::signed_in();
    person.variables.insert("PLAKAR_ICLOUD_LOG", "debug".to_owned());
    let name = format!("a{OBEYED}b");
    person.simulator.put_file(&name, Content::from(&b"a"[..]), 1_700_000_000_000);
    person.simulator.put_file(&format!("folder{OBEYED}/{name}"), Content::from(&b"a"[..]), 1_700_000_000_000);
    let host = person.host();
    let mut seen = Vec::new();
    for location in ["icloud://".to_owned(), format!("icloud:///folder{OBEYED}"), format!("icloud:///none{OBEYED}")] {
        let settings = Settings::new(&location).with("account", "icloud");
        let importer = host.importer(&settings, &Options::default()).await.unwrap();
        let outcome = importer.import(Backup::first()).await;
        let of_files = |errors: &[String]| errors.join("\n");
        match outcome {
            Ok(snapshot) => seen.push(of_files(&snapshot.errors.values().cloned().collect::<Vec<_>>())),
            Err(error) => seen.push(error.message()),
        }
        let mut connector = importer.into_connector();
        connector.hang_up();
        connector.wait(PATIENCE).await.unwrap();
        seen.push(connector.stderr());
    }
    for settings in [
        Settings::new("icloud://").with("account", OBEYED),
        Settings::new("icloud://").with(OBEYED, "x"),
        Settings::new(&format!("{OBEYED}://")),
        Settings::new("icloud://").with("uploads", OBEYED),
    ] {
        seen.push(host.importer(&settings, &Options::default()).await.unwrap_err().message());
    }
    assert!(seen.iter().any(|text| text.contains("\\u{1b}")), "no name was shown: {seen:?}");
    for text in seen {
        assert_eq!(raw(&text), None, "{text:?}");
    }
}

/// Passwords are in memory, and a core dump would write them to a disk.
#[tokio::test]
async fn a_connector_leaves_no_core_dump() {
    let person = Person::signed_in();
    let host = person.host();
    // A connector that has read a configuration has started.
    let settings = Settings::new("icloud://").with("account", "icloud");
    let connector = host.importer(&settings, &Options::default()).await.unwrap().into_connector();
    let limits = fs::read_to_string(format!("/proc/{}/limits", connector.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(line.split_whitespace().filter(|word| *word == "0").count(), 2, "{line}");
    connector.leave().await.unwrap();
}
