//! What goes into plakar and what comes from rclone.

use std::fs;

use icloud_simulator::RequestKind;

use crate::person::{APPLE_ID, PASSWORD, Person};

#[test]
fn a_section_names_the_account_and_holds_no_secret() {
    let person = Person::signed_in();
    for role in ["source", "destination", "store"] {
        let shown = person.run(&["config", "show", "--role", role]).ends(0).json();
        let section = shown["icloud"].as_object().unwrap();
        assert_eq!(section.keys().map(String::as_str).collect::<Vec<_>>(), ["account", "location"]);
    }
}

#[test]
fn a_session_moves_to_another_machine() {
    let person = Person::signed_in();
    let secrets = person.run(&["config", "show", "--secrets"]).ends(0).json();
    let mut section = secrets["icloud"].clone();
    section["type"] = "iclouddrive".into();
    let dump = serde_json::json!({ "old": section, "other": { "type": "local" } });
    person.run(&["logout"]).ends(0);
    person.run_with(&["config", "import", "--name", "moved"], &dump.to_string()).ends(0);
    person.run(&["status", "moved"]).ends(0);
    person.simulator.end_sessions(421);
    person.run(&["status", "moved"]).ends(0);
    assert_eq!(person.count(RequestKind::PushCode), 0);
}

#[test]
fn a_file_of_rclone_is_read_and_its_hidden_password_is_none() {
    let person = Person::new();
    let session = person.simulator.mint_session();
    let file = person.file("rclone.conf");
    let section = format!(
        "[drive]\ntype = iclouddrive\napple_id = {APPLE_ID}\npassword = *** ENCRYPTED ***\ntrust_token = {}\ncookies = {}\n",
        session.trust_token, session.cookies
    );
    fs::write(&file, section).unwrap();
    person.run(&["config", "import", "--file", file.to_str().unwrap()]).ends(0);
    person.run(&["status", "drive"]).ends(0);
    person.simulator.end_sessions(421);
    let over = person.run(&["status", "drive"]).ends(10);
    assert!(over.stdout.contains("no password"), "{over:?}");
    assert_eq!(session.password, PASSWORD);
}

#[test]
fn the_reference_has_every_command() {
    let person = Person::new();
    let help = person.run(&["--help"]).ends(0).stdout;
    let commands = ["login", "accounts", "status", "logout", "config", "doctor", "notify-test", "completions", "man"];
    let page = person.run(&["man"]).ends(0).stdout;
    let completions = person.run(&["completions", "bash"]).ends(0).stdout;
    for command in commands {
        assert!(help.contains(command), "{command}");
        assert!(page.contains(&command.replace('-', "\\-")), "{command}");
        assert!(completions.contains(command), "{command}");
    }
}
