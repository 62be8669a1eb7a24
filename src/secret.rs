//! Keeps secrets out of shown text.
//!
//! Secrets come from the configuration and from the services. Code that receives a secret registers
//! it with [`conceal`]; code that shows text, that is the log and the errors, passes it through
//! [`redact`].

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::BTreeSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use regex_lite::Regex;

/// Shorter values are not concealed, because they occur in ordinary words.
const MIN_LENGTH: usize = 6;

/// Ordered by length, the longest first, because a value may be a part of another.
static CONCEALED: Mutex<BTreeSet<(Reverse<usize>, String)>> = Mutex::new(BTreeSet::new());

/// Patterns of secrets: Apple's cookies and headers, tokens in JSON, credentials and queries in
/// URLs.
static PATTERNS: LazyLock<[(Regex, &str); 5]> = LazyLock::new(|| {
    let shape =
        |pattern, replacement| (Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}")), replacement);
    [
        shape(
            r#"(?i)\b(x-apple-[a-z0-9-]+|scnt|dsWebAuthToken|trustTokens?)("?\s*[=:]\s*)("[^"]*"|\[[^\]]*\]|[^\s;,]+)"#,
            "$1$2…",
        ),
        // A list of cookies extends to the end of its JSON string or of its line.
        shape(r#"(?i)\b((?:set-)?cookies?)("?\s*[=:]\s*)("(?:[^"\\]|\\.)*"|\[[^\]]*\]|[^\r\n]+)"#, "$1$2…"),
        // A password may contain an @, so the host begins after the last one.
        shape(r#"(https?://)[^\s/?#"]+@"#, "$1…@"),
        shape(r#"(https?://[^\s"?]+)\?[^\s"]*"#, "$1?…"),
        shape(r#"(https?://[^\s"/]*icloud-content\.com)[^\s"]*"#, "$1/…"),
    ]
});

/// Conceals a value in shown text.
pub fn conceal(value: &str) {
    let value = value.trim().trim_matches('"');
    if value.len() >= MIN_LENGTH {
        let mut concealed = CONCEALED.lock().unwrap_or_else(PoisonError::into_inner);
        concealed.insert((Reverse(value.len()), value.to_owned()));
    }
}

/// Conceals a cookie list, and each value of it, in shown text.
pub fn conceal_cookies(list: &str) {
    conceal(list);
    list.split(';').filter_map(|cookie| cookie.split_once('=')).for_each(|(_, value)| conceal(value));
}

/// Conceals the password of a URL in shown text, even outside the URL.
pub fn conceal_credentials(url: &str) {
    let Some((_, rest)) = url.split_once("://") else {
        return;
    };
    if let Some((_, password)) = rest.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) {
        conceal(password);
    }
}

/// Returns the text without secrets.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(text);
    for (_, value) in CONCEALED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if shown.contains(value.as_str()) {
            shown = Cow::Owned(shown.replace(value.as_str(), "…"));
        }
    }
    for (shape, replacement) in &*PATTERNS {
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
    fn concealed_values_are_redacted() {
        conceal_cookies("X-APPLE-WEBAUTH-USER=\"v=1:s=0:d=12345\"; other=abcdefgh");
        assert_eq!(redact("sent abcdefgh and v=1:s=0:d=12345."), "sent … and ….");
    }

    #[test]
    fn overlapping_values_are_redacted_completely() {
        conceal("head=tail-of-a-password");
        conceal("begins-alike");
        conceal("begins-alike, and goes on");
        conceal("and goes on");
        assert_eq!(redact("head=tail-of-a-password"), "…");
        assert_eq!(redact("begins-alike, and goes on"), "…");
    }

    #[test]
    fn lists_of_cookies_are_redacted_completely() {
        for text in [
            "Cookie: a=S1; b=S2",
            "cookies = a=\"S1\"; b=S2\n",
            r#"{"cookies":"a=\"S1\"; b=S2","x":1}"#,
            "Set-Cookie: a=S1; Path=/; b=S2",
        ] {
            let shown = redact(text);
            assert!(!shown.contains("S1") && !shown.contains("S2"), "{shown}");
        }
        assert!(redact(r#"{"cookies":"a=S1","x":1}"#).ends_with(r#","x":1}"#));
    }

    #[test]
    fn credentials_in_addresses_are_redacted() {
        assert_eq!(redact("get https://me:p@ss@h.example/a: refused"), "get https://…@h.example/a: refused");
        conceal_credentials("https://me:pa/ss word@h.example");
        assert_eq!(redact(r#"parse "//me:pa/ss word@h.example""#), r#"parse "//me:…@h.example""#);
    }

    #[test]
    fn values_of_known_shapes_are_redacted() {
        let shown = redact(
            r#"GET https://user:pw@host.example/a?sig=abc X-Apple-Session-Token: tok; "trustTokens":["t1"] https://cvws.icloud-content.com/B/key"#,
        );
        for secret in ["pw", "sig=abc", "tok;", "t1", "/B/key"] {
            assert!(!shown.contains(secret), "{secret} is left in {shown}");
        }
    }
}
