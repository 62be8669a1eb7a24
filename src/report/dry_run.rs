//! Recognises a dry run of plakar, which must not be reported as a backup.

use std::{fs, os::unix::process::parent_id};

/// Reports whether plakar was started as `plakar backup -dry-run`. Its calls to an importer are those
/// of a backup in which no file has changed, so only the arguments of the parent process differ. Where
/// they cannot be read, as from a container, a dry run is taken for a backup.
pub fn is_dry_run() -> bool {
    fs::read(format!("/proc/{}/cmdline", parent_id())).is_ok_and(|arguments| has_dry_run_option(&arguments))
}

/// Reports whether arguments, separated by NUL, contain the option of a dry run. plakar reads its options with Go's
/// package flag, which takes one or two hyphens, and `=true`.
fn has_dry_run_option(arguments: &[u8]) -> bool {
    let mut arguments = arguments.split(|&byte| byte == 0).skip_while(|argument| *argument != b"backup");
    arguments.any(|argument| {
        let option = argument.strip_prefix(b"--").or_else(|| argument.strip_prefix(b"-"));
        matches!(option, Some(b"dry-run" | b"dry-run=true"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_recognised_behind_the_command() {
        for arguments in ["plakar\0at\0@k\0backup\0-dry-run\0@drive\0", "plakar\0backup\0--dry-run=true\0@drive\0"] {
            assert!(has_dry_run_option(arguments.as_bytes()), "{arguments:?}");
        }
        for arguments in
            ["plakar\0backup\0@drive\0", "plakar\0backup\0-dry-run=false\0@d\0", "plakar\0-dry-run\0ls\0", ""]
        {
            assert!(!has_dry_run_option(arguments.as_bytes()), "{arguments:?}");
        }
    }
}
