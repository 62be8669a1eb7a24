//! Exit codes, JSON, and characters that a terminal must not get.

use std::fs;

use icloud_simulator::Content;
use plakar_host::{Backup, Options, PATIENCE, Settings};

use crate::person::{APPLE_ID, Person};

/// ESC, BEL, CR, DEL, a C1 control and a change of the direction of writing.
const CONTROLS: &str = "\u{1b}]0;x\u{7}\r\u{7f}\u{9b}31m\u{202e}";

/// Returns a control character of a text, if it has one.
fn raw(text: &str) -> Option<char> {
    text.chars().find(|&character| {
        (character.is_control() && character != '\n') || ('\u{202a}'..='\u{202e}').contains(&character)
    })
}

#[test]
fn early_errors_are_json_with_the_flag_json() {
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
fn invalid_usage_has_exit_code_2() {
    let person = Person::signed_in();
    person.run(&["status", "a/b"]).ends(2);
    person.run(&["login", "--apple-id", "other@example.com", "--password-stdin"]).ends(2);
    fs::copy(person.state().join("accounts/icloud.json"), person.state().join("accounts/second.json")).unwrap();
    person.run(&["status"]).ends(2);
    person.run(&["status", "nobody"]).ends(1);
    person.run(&["--no-such-option"]).ends(2);
}

#[test]
fn control_characters_of_accounts_are_escaped() {
    let person = Person::signed_in();
    let file = person.state().join("accounts/icloud.json");
    let text = fs::read_to_string(&file).unwrap();
    let odd = format!("odd{CONTROLS}@example.com");
    fs::write(&file, text.replace(APPLE_ID, serde_json::to_string(&odd).unwrap().trim_matches('"'))).unwrap();
    fs::write(person.state().join(format!("accounts/{CONTROLS}.json")), "").unwrap();
    for command in [
        &["accounts"][..],
        &["accounts", "--json"],
        &["status"],
        &["status", "--json"],
        &["doctor", "--json"],
        &["status", CONTROLS],
        &["login", "--apple-id", CONTROLS],
    ] {
        let shown = person.run(command).text();
        assert_eq!(raw(&shown), None, "{command:?}: {shown:?}");
    }
    assert_eq!(person.run(&["accounts", "--json"]).ends(0).json()[0]["apple_id"], odd);
}

/// The messages of a connector about files and folders with unusual names, at the highest log
/// level.
#[tokio::test]
async fn control_characters_of_names_are_escaped() {
    let mut person = Person::signed_in();
    person.variables.insert("PLAKAR_ICLOUD_LOG", "debug".to_owned());
    let name = format!("a{CONTROLS}b");
    person.simulator.put_file(&name, Content::from(&b"a"[..]), 1_700_000_000_000);
    person.simulator.put_file(&format!("folder{CONTROLS}/{name}"), Content::from(&b"a"[..]), 1_700_000_000_000);
    let host = person.host();
    let mut seen = Vec::new();
    for location in ["icloud://".to_owned(), format!("icloud:///folder{CONTROLS}"), format!("icloud:///none{CONTROLS}")]
    {
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
        Settings::new("icloud://").with("account", CONTROLS),
        Settings::new("icloud://").with(CONTROLS, "x"),
        Settings::new(&format!("{CONTROLS}://")),
        Settings::new("icloud://").with("uploads", CONTROLS),
    ] {
        seen.push(host.importer(&settings, &Options::default()).await.unwrap_err().message());
    }
    assert!(seen.iter().any(|text| text.contains("\\u{1b}")), "no name was shown: {seen:?}");
    for text in seen {
        assert_eq!(raw(&text), None, "{text:?}");
    }
}

/// The memory contains passwords, which a core dump would write to a disk.
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
