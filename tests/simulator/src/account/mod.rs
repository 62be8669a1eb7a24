//! The account: sign-in, trust, web sessions.

pub(crate) mod session;
pub(crate) mod setup;
pub(crate) mod signin;
pub(crate) mod srp;

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::account::session::WebSession;
use crate::account::signin::Attempt;

/// Everything that sign-in has issued, and its counters.
pub(crate) struct Account {
    random: ChaCha20Rng,
    /// Sign-in attempts by the value of `X-Apple-ID-Session-Id`.
    attempts: HashMap<String, Attempt>,
    trust: HashMap<String, Trust>,
    session_tokens: HashMap<String, SessionToken>,
    /// Session tokens that have ended.
    ended_tokens: HashSet<String>,
    /// Web sessions by the value of `X-APPLE-WEBAUTH-TOKEN`.
    sessions: HashMap<String, WebSession>,
    wrong_passwords: u32,
    wrong_codes: u32,
    pushes: u32,
    pcs_requests: u32,
    /// The number of data requests that still pass before every session ends, and the status of the
    /// responses after that.
    ends_after: Option<(u64, u16)>,
}

/// What a trust token stands for.
struct Trust {
    /// When it was issued, in seconds.
    issued: i64,
    /// Whether it was issued by a host of mainland China.
    china: bool,
}

/// What a session token stands for.
struct SessionToken {
    /// Whether the second factor was given.
    second_factor: bool,
    /// Whether it was issued by a host of mainland China.
    china: bool,
}

impl Account {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: ChaCha20Rng::seed_from_u64(seed),
            attempts: HashMap::new(),
            trust: HashMap::new(),
            session_tokens: HashMap::new(),
            ended_tokens: HashSet::new(),
            sessions: HashMap::new(),
            wrong_passwords: 0,
            wrong_codes: 0,
            pushes: 0,
            pcs_requests: 0,
            ends_after: None,
        }
    }

    fn token(&mut self, prefix: &str) -> String {
        let mut bytes = [0; 24];
        self.random.fill_bytes(&mut bytes);
        format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    fn new_trust_token(&mut self, issued: i64, china: bool) -> String {
        let token = self.token("HSARMTKN");
        self.trust.insert(token.clone(), Trust { issued, china });
        token
    }

    fn new_session_token(&mut self, second_factor: bool, china: bool) -> String {
        let token = self.token("ST-");
        self.session_tokens.insert(token.clone(), SessionToken { second_factor, china });
        token
    }

    /// Ends the session tokens issued so far; the web sessions that they started stay live.
    pub(crate) fn end_session_tokens(&mut self) {
        self.ended_tokens.extend(self.session_tokens.keys().cloned());
    }

    /// Forgets every trust token: the next sign-in needs a code.
    pub(crate) fn end_trust(&mut self) {
        self.trust.clear();
    }

    /// Resets the counters of failed attempts, which unlocks a locked account.
    pub(crate) fn forgive(&mut self) {
        self.wrong_passwords = 0;
        self.wrong_codes = 0;
    }
}
