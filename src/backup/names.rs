//! Names that are invalid on other systems.

/// The maximum length of a name in most file systems, in bytes.
const MAX_NAME_LENGTH: usize = 255;

/// The names that Windows reserves for devices, with any extension.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Returns the reason for which another system may refuse a name, if there is one.
///
/// The rules are those of Windows, which are the strictest:
/// <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>.
pub fn portability_problem(name: &str) -> Option<&'static str> {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let port = ["com", "lpt"]
        .iter()
        .any(|port| stem.strip_prefix(port).is_some_and(|digit| matches!(digit.as_bytes(), [b'1'..=b'9'])));
    if name.len() > MAX_NAME_LENGTH {
        Some("has more than 255 bytes")
    } else if name.contains(char::is_control) {
        Some("contains a control character")
    } else if name.contains(['<', '>', ':', '"', '\\', '|', '?', '*']) {
        Some("contains a character that Windows does not allow")
    } else if name.ends_with(['.', ' ']) {
        Some("ends with a dot or a space")
    } else if port || DEVICES.contains(&stem.as_str()) {
        Some("is the name of a device in Windows")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_windows_refuses_are_found() {
        for name in ["a:b", "what?", "end.", "end ", "a\u{7}", "CON", "nul.txt", "Com1", "lpt9.doc"] {
            assert!(portability_problem(name).is_some(), "{name}");
        }
        assert!(portability_problem(&"n".repeat(256)).is_some());
        for name in ["a.txt", "console", "com10", "com", ".hidden", " lead", "caf\u{e9}"] {
            assert_eq!(portability_problem(name), None, "{name}");
        }
    }
}
