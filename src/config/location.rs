//! Locations: `icloud://`, `icloud:///a/b`, `icloud://a/b`.

use percent_encoding::percent_decode_str;

use super::Error;
use crate::drive::DrivePath;

/// The protocol of a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// iCloud Drive.
    Icloud,
    /// Any remote of rclone.
    Rclone,
}

impl Protocol {
    /// Returns the name as in a location and as reported to plakar.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Icloud => "icloud",
            Self::Rclone => "rclone",
        }
    }
}

/// Parses a location into its protocol and the path in the remote.
///
/// # Errors
/// Fails if the protocol is unknown or the path is invalid.
pub fn parse(location: &str) -> Result<(Protocol, DrivePath), Error> {
    let known = [Protocol::Icloud, Protocol::Rclone];
    let split = |protocol: Protocol| {
        let rest = location.strip_prefix(protocol.name())?.strip_prefix(':')?;
        Some((protocol, rest.strip_prefix("//").unwrap_or(rest)))
    };
    let Some((protocol, path)) = known.into_iter().find_map(split) else {
        return Err(Error::Location {
            location: location.to_owned(),
            why: "it must start with icloud:// or rclone://".to_owned(),
        });
    };
    let path = DrivePath::parse(&decoded(path))
        .map_err(|bad| Error::Location { location: location.to_owned(), why: bad.to_string() })?;
    Ok((protocol, path))
}

/// Returns the path in Photos that a location names: `icloud://photos` or a path below it. The
/// folder `photos` of a drive is `icloud:///photos`.
pub fn in_photos(location: &str, path: &DrivePath) -> Option<DrivePath> {
    let rest = location.strip_prefix("icloud://photos")?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    DrivePath::parse(path.as_str().strip_prefix("photos")?).ok()
}

/// Decodes exactly what plakar has percent-encoded.
///
/// plakar passes `@name:path` to a connector as Go's `url.URL.String` writes it, but a full
/// location as the user typed it (P/config/config.go:133-142). A path that Go would have encoded
/// differently was typed: "100%41" is not decoded because Go never encodes an A, and "a b%20c"
/// because Go would have encoded its space. A name like "a%20b" must therefore be typed as
/// "a%2520b".
fn decoded(path: &str) -> String {
    match percent_decode_str(path).decode_utf8() {
        Ok(decoded) if encoded_as_go_does(&decoded) == path => decoded.into_owned(),
        _ => path.to_owned(),
    }
}

/// Encodes a path as Go's `net/url` does in mode encodePath. plakar uses it for a location whose
/// path it has changed.
fn encoded_as_go_does(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(location: &str) -> String {
        parse(location).unwrap().1.to_string()
    }

    #[test]
    fn a_path_may_follow_any_number_of_slashes() {
        for location in ["icloud://a/b", "icloud:///a/b", "icloud:a/b", "icloud:////a//b/"] {
            assert_eq!(path(location), "/a/b", "{location}");
        }
        assert_eq!(path("icloud://"), "/");
        assert_eq!(parse("rclone:///x").unwrap().0, Protocol::Rclone);
    }

    #[test]
    fn only_what_plakar_has_encoded_is_decoded() {
        assert_eq!(path("icloud:///My%20Files/caf%C3%A9%25"), "/My Files/café%");
        assert_eq!(path("icloud:///My Files"), "/My Files");
        assert_eq!(path("icloud:///100%"), "/100%");
        assert_eq!(path("icloud:///100%41"), "/100%41");
        assert_eq!(path("icloud:///a b%20c"), "/a b%20c");
        assert_eq!(path("icloud:///a%2520b"), "/a%20b");
        assert_eq!(path("icloud:///a%28b%29"), "/a(b)");
        assert_eq!(path("icloud:///a(b)%20"), "/a(b)%20");
    }

    #[test]
    fn photos_as_host_names_the_photo_library() {
        let in_photos = |location| {
            let (_, path) = parse(location).unwrap();
            super::in_photos(location, &path).map(|path| path.to_string())
        };
        assert_eq!(in_photos("icloud://photos").as_deref(), Some("/"));
        assert_eq!(in_photos("icloud://photos/Library/2026").as_deref(), Some("/Library/2026"));
        assert_eq!(in_photos("icloud:///photos"), None);
        assert_eq!(in_photos("icloud://photos of mine"), None);
        assert_eq!(in_photos("icloud://Photos"), None);
    }

    #[test]
    fn errors_about_locations_name_the_cause() {
        assert!(parse("s3://x").unwrap_err().to_string().contains("icloud://"));
        assert!(parse("icloud:///a/../b").unwrap_err().to_string().contains(".."));
    }
}
