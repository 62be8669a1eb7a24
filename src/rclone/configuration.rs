//! Configuration files in the formats that rclone stores and prints.

use super::Sections;

/// Parses the sections of a configuration: JSON as `rclone config dump` prints it, or an
/// rclone.conf. In an rclone.conf, a value extends to the end of its line.
pub fn sections(text: &str) -> Sections {
    if let Ok(dumped) = serde_json::from_str(text) {
        return dumped;
    }
    let mut sections = Sections::default();
    let mut current = None;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = Some(sections.entry(name.to_owned()).or_default());
        } else if let (Some(section), Some((key, value))) = (&mut current, line.split_once('=')) {
            section.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    sections
}

/// Reports whether rclone has encrypted a configuration.
pub fn is_encrypted(text: &str) -> bool {
    // rclone writes a comment first (fs/config/crypt.go).
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| line.starts_with("RCLONE_ENCRYPT_V"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_extends_to_the_end_of_its_line() {
        let text = "# mine\n[a]\ntype = iclouddrive\ncookies = A=\"v=1\"; B=2\n\n[b]\ntype = local\n";
        let found = sections(text);
        assert_eq!(found["a"]["cookies"], "A=\"v=1\"; B=2");
        assert_eq!(found["b"]["type"], "local");
    }

    #[test]
    fn the_output_of_config_dump_is_parsed() {
        let found = sections(r#"{"a":{"type":"iclouddrive","apple_id":"user@example.com"}}"#);
        assert_eq!(found["a"]["apple_id"], "user@example.com");
    }
}
