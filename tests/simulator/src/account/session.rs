//! Web sessions: the cookies that the data hosts require.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use crate::account::Account;
use crate::rules::{AccountRules, Rules, SessionRules};
use crate::transport::message::{Message, Response};

pub(crate) const WEB_TOKEN: &str = "X-APPLE-WEBAUTH-TOKEN";
pub(crate) const PCS_COOKIE: &str = "X-APPLE-WEBAUTH-PCS-Documents";
pub(crate) const PHOTOS_PCS_COOKIE: &str = "X-APPLE-WEBAUTH-PCS-Photos";

#[derive(Debug, Default)]
pub(crate) struct WebSession {
    started: i64,
    /// Whether it was started at a host of mainland China.
    china: bool,
    requests: u64,
    /// The status of every further response, once the session has ended.
    ended: Option<u16>,
    /// The valid values of the PCS cookies by their names, once `requestPCS` has given them.
    pcs: BTreeMap<&'static str, String>,
}

/// A session that is already signed in. The fields have the names and formats of rclone's options.
#[derive(Clone, Debug, Serialize)]
pub struct MintedSession {
    /// The value of `apple_id`.
    pub apple_id: String,
    /// The value of `password`, in plain text; rclone's configuration needs it obscured.
    pub password: String,
    /// The value of `trust_token`.
    pub trust_token: String,
    /// The value of `cookies`, in the format of a `Cookie` header.
    pub cookies: String,
}

impl Account {
    pub(crate) fn start_session(&mut self, now: i64, china: bool) -> String {
        let token = self.token("v2");
        self.sessions.insert(token.clone(), WebSession { started: now, china, ..WebSession::default() });
        token
    }

    /// Creates a web session and a trust token, as if a browser had signed in.
    pub(crate) fn mint(&mut self, rules: &AccountRules, now: i64) -> MintedSession {
        let web = self.start_session(now, rules.mainland_china);
        let mut cookies = format!("X-APPLE-WEBAUTH-USER=v1; X-APPLE-WEBAUTH-HSA-TRUST=v1; {WEB_TOKEN}={web}");
        if rules.advanced_data_protection {
            for name in [PCS_COOKIE, PHOTOS_PCS_COOKIE] {
                let pcs = self.grant_pcs(&web, name);
                cookies = format!("{cookies}; {name}={pcs}");
            }
        }
        MintedSession {
            apple_id: rules.apple_id.clone(),
            password: rules.password.clone(),
            trust_token: self.new_trust_token(now, rules.mainland_china),
            cookies,
        }
    }

    /// Returns the valid value of a PCS cookie: a request of one process does not end the cookie of another.
    pub(crate) fn grant_pcs(&mut self, web_token: &str, cookie: &'static str) -> String {
        let pcs = self.token("pcs");
        if let Some(session) = self.sessions.get_mut(web_token) {
            return session.pcs.entry(cookie).or_insert(pcs).clone();
        }
        pcs
    }

    /// Ends every session that exists now; later sign-ins start new ones.
    pub(crate) fn end_sessions(&mut self, status: u16) {
        for session in self.sessions.values_mut() {
            session.ended = Some(status);
        }
    }

    /// Ends every session as [`Self::end_sessions`] does, after `requests` more data requests.
    pub(crate) fn end_sessions_after(&mut self, requests: u64, status: u16) {
        self.ends_after = Some((requests, status));
    }

    fn count_down(&mut self) {
        match &mut self.ends_after {
            Some((0, status)) => {
                let status = *status;
                self.ends_after = None;
                self.end_sessions(status);
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
    }

    /// Invalidates every PCS cookie issued so far.
    pub(crate) fn end_pcs(&mut self) {
        for session in self.sessions.values_mut() {
            session.pcs.clear();
        }
    }

    /// Returns the live session of the request's cookie, or the status of the response if there is
    /// none.
    pub(crate) fn session_of(
        &mut self,
        message: &Message,
        rules: &SessionRules,
        now: i64,
    ) -> Result<&mut WebSession, u16> {
        let session = message.cookie(WEB_TOKEN).and_then(|token| self.sessions.get_mut(token)).ok_or(421_u16)?;
        if let Some(status) = session.ended {
            return Err(status);
        }
        if session.china != message.is_to_china() {
            return Err(421);
        }
        let spent = rules.requests > 0 && session.requests >= rules.requests;
        if spent || now >= session.started + rules.lifetime_seconds {
            session.ended = Some(rules.ended_status);
            return Err(rules.ended_status);
        }
        Ok(session)
    }

    /// Refuses a request to a data host that has no live session or, where needed, no PCS cookie.
    pub(crate) fn admit(&mut self, message: &Message, rules: &Rules, now: i64) -> Result<(), Response> {
        self.count_down();
        let is_database = message.kind.is_of_photos_database();
        let name = if is_database { PHOTOS_PCS_COOKIE } else { PCS_COOKIE };
        let pcs = message.cookie(name).map(str::to_owned);
        let session = self.session_of(message, &rules.session, now).map_err(refused)?;
        session.requests += 1;
        if rules.account.mainland_china != message.is_to_china() {
            return Err(refused(421));
        }
        if !rules.account.web_access {
            return Err(if is_database { disabled() } else { refused(421) });
        }
        let is_protected = rules.account.advanced_data_protection && !message.kind.is_of_shared_albums();
        if is_protected && (pcs.is_none() || session.pcs.get(name) != pcs.as_ref()) {
            let is_denied = is_database && !rules.photos.protected_is_locked;
            return Err(if is_denied { disabled() } else { refused(423) });
        }
        Ok(())
    }
}

/// The response of the database of Photos to an account whose data cannot be read on the web.
fn disabled() -> Response {
    Response::cloudkit_error(403, "ACCESS_DENIED", "private db access disabled for this account")
}

/// The response of a data host or of `validate` to a request without a valid session.
pub(crate) fn refused(status: u16) -> Response {
    match status {
        423 => Response::service_error(423, "Missing PCS cookies from the request"),
        401 => Response::service_error(401, "Unauthorized"),
        _ => Response::json(
            status,
            &json!({
                "success": false,
                "error": "Missing X-APPLE-WEBAUTH-TOKEN cookie",
                "reason": "Missing X-APPLE-WEBAUTH-TOKEN cookie",
                "requestInfo": { "country": "US", "timeZone": "GMT", "region": "" },
            }),
        ),
    }
}

/// The value of a `Set-Cookie` header for the hosts below `.icloud.com`.
pub(crate) fn cookie(name: &str, value: &str) -> String {
    format!("{name}={value}; Path=/; Domain=.icloud.com; Secure; HttpOnly")
}
