//! A state folder that other programs, users and synchronisers have changed.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
    process::Command,
};

use crate::person::{CODE, Person};

/// Creates files that are not accounts beside the account.
fn litter(person: &Person) {
    let accounts = person.state().join("accounts");
    let file = |name: &str| accounts.join(name);
    fs::copy(file("icloud.json"), file("icloud (copy).json")).unwrap();
    symlink("/nowhere/x.json", file("x.json")).unwrap();
    symlink("/dev/zero", file("zero.json")).unwrap();
    assert!(Command::new("mkfifo").arg(file("fifo.json")).status().unwrap().success());
    fs::write(file("empty.json"), "").unwrap();
    fs::write(file("large.json"), vec![b' '; 10_000_000]).unwrap();
    fs::write(file("newer.json"), r#"{"version":9,"apple_id":"user@example.com"}"#).unwrap();
    fs::write(file("notes.txt"), "mine").unwrap();
    fs::create_dir(file("folder.json")).unwrap();
}

#[test]
fn files_that_are_not_accounts_are_ignored_with_a_warning() {
    let person = Person::signed_in();
    litter(&person);
    let listed = person.run(&["accounts"]).ends(0);
    assert_eq!(listed.stdout.lines().count(), 1, "{listed:?}");
    for name in ["icloud (copy)", "x", "zero", "fifo", "empty", "large", "newer", "folder"] {
        let warning = listed.stderr.lines().filter(|line| line.contains(&format!("/{name}.json")));
        assert_eq!(warning.count(), 1, "{name}: {listed:?}");
    }
    assert!(!listed.stderr.contains("notes.txt"), "{listed:?}");
    person.run(&["status"]).ends(0);
    person.run(&["status", "nobody"]).ends(1);
    for name in ["x", "zero", "fifo", "empty", "large", "newer", "folder"] {
        person.run(&["status", name]).ends(1);
    }
    person.begin(&["--restart"]).ends(10);
    person.run(&["login", "--code", CODE]).ends(0);
}

#[test]
fn a_logout_removes_the_secrets_despite_damaged_files() {
    let person = Person::signed_in();
    litter(&person);
    let session = person.session_file();
    person.run(&["logout"]).ends(0);
    assert!(!session.exists() && !person.state().join("accounts/icloud.json").exists());
    // A file that cannot be read can be removed, and the command reports what remains.
    for name in ["x", "zero", "fifo", "empty", "newer"] {
        let removed = person.run(&["logout", name]).ends(1);
        assert!(removed.stderr.contains("sessions"), "{removed:?}");
        assert!(person.state().join("accounts").join(format!("{name}.json")).symlink_metadata().is_err(), "{name}");
    }
}

/// The message "not signed in" would mislead the owner.
#[test]
fn the_error_about_the_only_account_says_that_its_file_is_damaged() {
    let person = Person::signed_in();
    let file = person.state().join("accounts/icloud.json");
    fs::write(&file, "{").unwrap();
    let status = person.run(&["status"]).ends(1);
    assert!(status.stderr.contains("is not an account file"), "{status:?}");
}

#[test]
fn a_folder_that_others_can_write_to_is_refused() {
    for folder in ["", "accounts"] {
        let person = Person::signed_in();
        fs::set_permissions(person.state().join(folder), fs::Permissions::from_mode(0o777)).unwrap();
        for command in ["accounts", "status", "login"] {
            let refused = person.run(&[command]).ends(1);
            assert!(refused.stderr.contains("every user can write to it"), "{refused:?}");
        }
    }
}

/// A run with sudo must not lock the user out of the accounts.
#[test]
fn files_that_root_creates_belong_to_the_owner_of_the_folder() {
    const SOMEBODY: u32 = 1234;
    let person = Person::new();
    let home = person.state().ancestors().nth(3).unwrap().to_owned();
    // Only root can change the owner of a folder; for any other user, no change is needed.
    if rustix::process::geteuid().is_root() {
        chown(&home, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
    person.sign_in();
    let owner = fs::metadata(&home).unwrap().uid();
    let owned = |path: &Path| assert_eq!(fs::symlink_metadata(path).unwrap().uid(), owner, "{}", path.display());
    for path in [".local", ".local/state", ".local/state/plakar-icloud", ".local/state/plakar-icloud/accounts"] {
        owned(&home.join(path));
    }
    owned(&person.state().join("accounts/icloud.json"));
}

#[test]
fn a_relative_home_is_ignored_with_a_warning() {
    let mut person = Person::signed_in();
    person.variables.insert("XDG_STATE_HOME", "state".to_owned());
    let listed = person.run(&["accounts"]).ends(0);
    assert_eq!(listed.stdout.lines().count(), 1, "{listed:?}");
    assert!(listed.stderr.contains("XDG_STATE_HOME is ignored"), "{listed:?}");
    person.variables.insert("HOME", ".".to_owned());
    let refused = person.run(&["accounts"]).ends(1);
    assert!(refused.stderr.contains("HOME is ignored") && refused.stderr.contains("state_dir"), "{refused:?}");
}
