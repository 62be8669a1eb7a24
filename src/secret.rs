//! Keeping secrets out of what people see.
//!
//! Secrets come in by the configuration and by the services. Whoever gets one
//! announces it with [`conceal`]; whoever shows text passes it through
//! [`redact`] first: the log and the errors.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use regex_lite::Regex;

/// Shorter values are not concealed: they would blacken ordinary words.
const SHORTEST: usize = 6;

static CONCEALED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Apple's cookies and headers, tokens in JSON, credentials and queries in URLs.
static SHAPES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
    let shape =
        |pattern, replacement| (Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}")), replacement);
    [
        shape(
            r#"(?i)\b(x-apple-[a-z0-9-]+|scnt|dsWebAuthToken|trustTokens?|cookie)("?\s*[=:]\s*)("[^"]*"|\[[^\]]*\]|[^\s;,]+)"#,
            "$1$2…",
        ),
        shape(r"(https?://)[^\s/@]+@", "$1…@"),
        shape(r#"(https?://[^\s"?]+)\?[^\s"]*"#, "$1?…"),
        shape(r#"(https?://[^\s"/]*icloud-content\.com)[^\s"]*"#, "$1/…"),
    ]
});

/// Makes a value, and each value of a cookie list, disappear from shown text.
pub fn conceal(value: &str) {
    let mut concealed = CONCEALED.lock().unwrap_or_else(PoisonError::into_inner);
    let cookies = value.split(';').filter_map(|cookie| cookie.split_once('=')).map(|(_, value)| value);
    for part in cookies.chain([value]) {
        let part = part.trim().trim_matches('"');
        if part.len() >= SHORTEST {
            concealed.insert(part.to_owned());
        }
    }
}

/// The text without secrets.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(text);
    for value in CONCEALED.lock().unwrap_or_else(PoisonError::into_inner).iter().rev() {
        if shown.contains(value.as_str()) {
            shown = Cow::Owned(shown.replace(value.as_str(), "…"));
        }
    }
    for (shape, replacement) in &*SHAPES {
        if shape.is_match(&shown) {
            shown = Cow::Owned(shape.replace_all(&shown, *replacement).into_owned());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_values_disappear() {
        conceal("X-APPLE-WEBAUTH-USER=\"v=1:s=0:d=12345\"; other=abcdefgh");
        assert_eq!(redact("sent abcdefgh and v=1:s=0:d=12345."), "sent … and ….");
    }

    #[test]
    fn known_shapes_disappear() {
        let shown = redact(
            r#"GET https://user:pw@host.example/a?sig=abc X-Apple-Session-Token: tok; "trustTokens":["t1"] https://cvws.icloud-content.com/B/key"#,
        );
        for secret in ["pw", "sig=abc", "tok;", "t1", "/B/key"] {
            assert!(!shown.contains(secret), "{secret} is left in {shown}");
        }
    }
}
