use super::*;

/// The README is written by hand. This test checks that its table agrees with [`OPTIONS`].
#[test]
fn the_readme_has_this_table() {
    let readme = include_str!("../../../README.md");
    let rows = OPTIONS.map(|option| format!("| `{}` | {} | {} |\n", option.name, option.default, option.meaning));
    let table = format!("| option | default | meaning |\n| --- | --- | --- |\n{}\n", rows.concat());
    assert!(readme.contains(&table), "README.md must have:\n{table}");
}

#[test]
fn a_kind_accepts_its_default() {
    for OptionSpec { name, default, kind, .. } in OPTIONS {
        let default = default.trim_matches('`');
        let is_accepted = match kind {
            Kind::Text | Kind::Path => default.parse::<u16>().is_err(),
            Kind::Number(least) => default.parse::<u16>().is_ok_and(|number| number >= least),
            Kind::Flag => ["false", "true"].contains(&default),
            Kind::Word(words) => words.first() == Some(&default),
        };
        assert!(is_accepted, "{name}: {default:?} is not of {kind:?}");
    }
}

#[test]
fn warn_days_has_the_same_default_as_the_command_status() {
    assert_eq!(WARN_DAYS_OPTION.default, WARN_DAYS.to_string());
}
