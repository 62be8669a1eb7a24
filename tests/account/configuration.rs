//! Configurations that are written for plakar, and configurations that are read from rclone.

use std::fs;

use icloud_simulator::RequestKind;

use crate::person::{APPLE_ID, PASSWORD, Person};

#[test]
fn a_section_for_plakar_names_the_account_and_has_no_secret() {
    let person = Person::signed_in();
    for role in ["source", "destination", "store"] {
        let shown = person.run(&["config", "show", "--role", role]).ends(0).json();
        let section = shown["icloud"].as_object().unwrap();
        assert_eq!(section.keys().map(String::as_str).collect::<Vec<_>>(), ["account", "location"]);
    }
}

#[test]
fn a_session_can_be_exported_and_imported() {
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
fn a_file_of_rclone_is_imported_without_its_hidden_password() {
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
fn the_error_about_an_encrypted_file_of_rclone_says_what_to_do() {
    let person = Person::new();
    let file = "# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nAAAA\n";
    let refused = person.run_with(&["config", "import"], file).ends(1);
    assert!(refused.stderr.contains("encrypted") && refused.stderr.contains("rclone config dump"), "{refused:?}");
}

/// A refused import changes nothing.
#[test]
fn an_import_replaces_no_account_and_no_working_session() {
    let person = Person::signed_in();
    let before = (person.session(), person.run(&["accounts"]).ends(0).stdout);
    let section =
        |apple_id: &str| serde_json::json!({ "type": "iclouddrive", "apple_id": apple_id, "trust_token": "old" });
    for (dump, arguments, advice) in [
        (serde_json::json!({ "my drive": section(APPLE_ID) }), &["config", "import"][..], "--name"),
        (serde_json::json!({ "icloud": section("other@example.com") }), &["config", "import"], "--name"),
        (serde_json::json!({ "a": section("other@example.com") }), &["config", "import", "--name", "icloud"], "--name"),
    ] {
        let refused = person.run_with(arguments, &dump.to_string()).ends(2);
        assert!(refused.stderr.contains(advice), "{refused:?}");
        assert_eq!((person.session(), person.run(&["accounts"]).ends(0).stdout), before);
    }
    // A working session takes precedence over that of a file.
    let dump = serde_json::json!({ "again": section(APPLE_ID) });
    let kept = person.run_with(&["config", "import"], &dump.to_string()).ends(0);
    assert!(kept.stderr.contains("Kept the existing session"), "{kept:?}");
    assert_eq!(person.session(), before.0);
    person.run(&["status", "again"]).ends(0);
}

#[test]
fn a_relative_state_folder_is_written_as_an_absolute_path() {
    let person = Person::signed_in();
    let state = person.state();
    let relative = std::env::current_dir().unwrap().ancestors().skip(1).fold(String::new(), |path, _| path + "../")
        + state.to_str().unwrap().trim_start_matches('/');
    let shown = person.run(&["--state-dir", &relative, "config", "show"]).ends(0).json();
    let folder = shown["icloud"]["state_dir"].as_str().unwrap();
    assert!(folder.starts_with('/') && folder.ends_with("plakar-icloud"), "{folder}");
}

/// The packages contain the file, in which plakar finds the options.
#[test]
fn the_schema_of_the_packages_has_every_option() {
    let printed = Person::new().run(&["config", "schema"]).ends(0).stdout;
    let stored = include_str!("../../packaging/options.schema.json");
    assert!(printed == stored, "run: plakar-icloud config schema > packaging/options.schema.json");
}

#[test]
fn the_help_the_manual_page_and_the_completions_have_every_command() {
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
