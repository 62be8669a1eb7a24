use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Config, Error> {
    let state = ("state_dir", "/nowhere/state");
    Config::read(pairs.iter().chain([&state]).map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
}

#[test]
fn options_may_have_the_prefix_rclone() {
    for prefix in ["", "rclone_"] {
        let config = read(&[("location", "icloud://"), (&format!("{prefix}apple_id"), "User@example.com")]).unwrap();
        assert_eq!(config.sections[OWN_SECTION]["type"], "icloud");
        assert_eq!(config.sections[OWN_SECTION]["apple_id"], "User@example.com");
        assert_eq!(config.origin, "user@example.com");
    }
}

#[test]
fn photos_are_a_separate_service() {
    let photos = |pairs: &[(&str, &str)]| {
        let config = read(&[pairs, &[("apple_id", "user@example.com")]].concat()).unwrap();
        (config.sections[OWN_SECTION].get("service").cloned(), config.top.to_string(), config.origin)
    };
    let (service, origin) = (Some("photos".to_owned()), "photos:user@example.com".to_owned());
    let at = |top: &str| (service.clone(), top.to_owned(), origin.clone());
    assert_eq!(photos(&[("location", "icloud://photos/Library")]), at("/Library"));
    assert_eq!(photos(&[("location", "icloud://"), ("service", "photos")]), at("/"));
    let drive = photos(&[("location", "icloud://photos"), ("service", "drive")]);
    assert_eq!(drive, (Some("drive".to_owned()), "/photos".to_owned(), "user@example.com".to_owned()));
}

#[test]
fn other_sections_are_passed_to_rclone() {
    let config = read(&[
        ("location", "rclone:///kloset"),
        ("rclone_type", "crypt"),
        ("rclone_remote", "drive:backup"),
        ("remote.drive.type", "iclouddrive"),
        ("remote.drive.apple_id", "user@example.com"),
    ])
    .unwrap();
    assert_eq!(config.sections["drive"]["apple_id"], "user@example.com");
    assert_eq!(config.origin, "crypt:user@example.com:backup");
}

#[test]
fn empty_values_and_keys_of_plakar_are_not_passed_to_rclone() {
    let config = read(&[
        ("location", "icloud://"),
        ("apple_id", "user@example.com"),
        ("password", HIDDEN_PASSWORD),
        ("passphrase", "correct horse"),
        ("cookies", ""),
    ])
    .unwrap();
    let own: Vec<&str> = config.sections[OWN_SECTION].keys().map(String::as_str).collect();
    assert_eq!(own, ["apple_id", "session_file", "type"]);
}

#[test]
fn errors_name_the_missing_or_invalid_option() {
    let message = |pairs: &[(&str, &str)]| read(pairs).unwrap_err().to_string();
    assert!(message(&[("apple_id", "user@example.com")]).contains("location"));
    assert!(message(&[("location", "icloud://")]).contains("plakar-icloud login"));
    assert!(message(&[("location", "rclone://")]).contains("rclone_type"));
    assert!(message(&[("location", "icloud://"), ("uploads", "many")]).contains("uploads=many"));
}

#[test]
fn an_option_with_two_values_is_refused() {
    let option = [("location", "icloud://"), ("apple_id", "user@example.com"), ("rclone_apple_id", "user@example.com")];
    assert_eq!(read(&option).unwrap().origin, "user@example.com");
    let other = [&option[..2], &[("rclone_apple_id", "other@example.com")]].concat();
    let message = read(&other).unwrap_err().to_string();
    assert!(message.contains("apple_id and rclone_apple_id") && !message.contains('@'), "{message}");
}

/// `rclone config show` hides the password, and plakar's import of its output ends a value at
/// the first semicolon.
#[test]
fn the_error_about_a_truncated_import_names_the_commands_that_help() {
    let imported = |cookies| {
        read(&[
            ("location", "rclone://"),
            ("rclone_type", "iclouddrive"),
            ("rclone_apple_id", "user@example.com"),
            ("rclone_password", HIDDEN_PASSWORD),
            ("rclone_trust_token", "trust"),
            ("rclone_cookies", cookies),
        ])
    };
    let message = imported("X-APPLE-A=1").unwrap_err().to_string();
    assert!(message.contains("rclone config dump | plakar") && message.contains("config import"), "{message}");
    assert!(imported("X-APPLE-A=1;X-APPLE-B=2;").is_ok());
}

#[test]
fn the_option_account_of_other_backends_is_passed_to_rclone() {
    let config = read(&[("location", "rclone://"), ("rclone_type", "b2"), ("account", "key-id")]).unwrap();
    assert_eq!(config.sections[OWN_SECTION]["account"], "key-id");
    assert!(config.access.is_none());
}

#[test]
fn options_of_this_program_are_not_passed_to_rclone() {
    let own = names().into_iter().filter(|&key| key != "account" && key != "password_command");
    let value = |key: &str| match key {
        "on_partial" => "fail",
        "include_klosets" | "skip_identical" => "true",
        "shared" | "on_conflict" | "links" => "skip",
        "ignore_file" => concat!(env!("CARGO_MANIFEST_DIR"), "/NOTICE"),
        "summary" | "metrics_file" => "/nowhere/file",
        "names" => "fail",
        "packages" => "archive",
        "verify" => "content",
        key if key.ends_with("_dir") => "/nowhere",
        _ => "7",
    };
    let mut pairs: Vec<(&str, &str)> = own.map(|key| (key, value(key))).collect();
    pairs.extend([("location", "icloud://"), ("apple_id", "user@example.com")]);
    let config = read(&pairs).unwrap();
    let keys: Vec<&str> = config.sections[OWN_SECTION].keys().map(String::as_str).collect();
    assert_eq!(keys, ["apple_id", "session_file", "type"]);
}

#[test]
fn a_partial_backup_is_kept_unless_it_must_fail() {
    let with = |value| read(&[("location", "icloud://"), ("apple_id", "user@example.com"), ("on_partial", value)]);
    assert_eq!(with("").unwrap().on_partial, OnPartial::Keep);
    assert_eq!(with("keep").unwrap().on_partial, OnPartial::Keep);
    assert_eq!(with("fail").unwrap().on_partial, OnPartial::Fail);
    assert!(with("drop").unwrap_err().to_string().contains("on_partial=drop"));
}

#[test]
fn debug_output_of_a_configuration_has_no_secrets() {
    let given = [
        ("location", "icloud://"),
        ("apple_id", "user@example.com"),
        ("trust_token", "the trust"),
        ("cookies", "a=S1; b=S2"),
        ("on_event", "curl https://example.com/hook-of-mine"),
        ("password_command", "echo the-password"),
    ];
    let shown = format!("{:?}", read(&given).unwrap());
    assert!(shown.contains("trust_token"), "{shown}");
    for secret in ["the trust", "S1", "S2", "hook-of-mine", "the-password"] {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
}

#[test]
fn keys_of_plakar_are_ignored() {
    let given = [("location", "icloud://"), ("apple_id", "user@example.com")];
    let own = |pairs: &[(&str, &str)]| read(pairs).unwrap().sections[OWN_SECTION].clone();
    for key in ["passphrase", "passphrase_cmd", "ignore", "ignore-file"] {
        assert_eq!(own(&[&given[..], &[(key, "x")]].concat()), own(&given), "{key}");
    }
}

#[test]
fn relative_folders_are_refused() {
    for key in ["state_dir", "cache_dir", "spool_dir"] {
        for folder in ["folder", "~/folder", "./folder"] {
            let pairs = [("location", "icloud://"), ("apple_id", "user@example.com"), (key, folder)];
            let message = Config::read(pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
                .unwrap_err()
                .to_string();
            assert!(message.contains(&format!("{key}={folder}")) && message.contains("absolute"), "{message}");
        }
    }
}

#[test]
fn a_cache_too_small_for_a_block_is_refused() {
    let with = |size| {
        read(&[("location", "icloud://"), ("apple_id", "user@example.com"), ("cache_dir", "/c"), ("cache_size", size)])
    };
    assert!(with("4").unwrap_err().to_string().contains("cache_size=4"));
    assert!(with("5").is_ok());
}
