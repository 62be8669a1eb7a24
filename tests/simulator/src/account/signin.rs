//! `idmsa.apple.com/appleauth/auth`: password, second factor, trust.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand_chacha::rand_core::Rng;
use serde_json::{Value, json};

use crate::account::srp::{Challenge, Inputs};
use crate::account::{Account, Trust};
use crate::kinds::RequestKind;
use crate::rules::{AccountRules, CodeAnswer, SessionRules};
use crate::transport::message::{Message, Response};

const SESSION_ID: &str = "X-Apple-ID-Session-Id";
const SESSION_TOKEN: &str = "X-Apple-Session-Token";

/// One sign-in from `authorize/signin` to `2sv/trust`.
#[derive(Default)]
pub(crate) struct Attempt {
    scnt: String,
    challenge: Option<(String, Challenge)>,
    password_given: bool,
    code_given: bool,
    /// Whether it is made at a host of mainland China.
    china: bool,
}

/// Returns the response to a request to the sign-in host.
pub(crate) fn respond(
    account: &mut Account,
    rules: &AccountRules,
    session: &SessionRules,
    now: i64,
    message: &Message,
) -> Response {
    if message.kind != RequestKind::Authorize && message.header("X-Apple-Widget-Key").is_empty() {
        return service_errors(400, "-20783", "Missing widget key");
    }
    let id = account.attempt_of(message);
    let response = match message.kind {
        RequestKind::Authorize => Ok(Response::new(200, "text/html;charset=UTF-8", "<!DOCTYPE html>")),
        RequestKind::Federate => {
            Ok(Response::json(200, &json!({ "federated": false, "showFederatedIdpConfirmation": false })))
        }
        RequestKind::SigninInit => account.init(&id, rules, message),
        RequestKind::SigninComplete => account.complete(&id, rules, session, now, message),
        RequestKind::RepairComplete => account.repair(&id),
        RequestKind::AuthState => account.state(&id, rules),
        RequestKind::PushCode => account.push(&id, rules),
        RequestKind::VerifyCode => account.verify(&id, rules, message, &current_code(account, rules)),
        RequestKind::SendSms => account.send_sms(&id, rules, message),
        RequestKind::VerifySms => account.verify(&id, rules, message, &rules.sms_code),
        RequestKind::Trust => account.trust_browser(&id, now),
        _ => Err(Response::empty(404)),
    };
    let scnt = account.attempts.get(&id).map_or_else(String::new, |attempt| attempt.scnt.clone());
    response
        .unwrap_or_else(|refused| refused)
        .with_header(SESSION_ID, id)
        .with_header("scnt", scnt)
        .with_header("X-Apple-ID-Account-Country", rules.country.clone())
        .with_header("X-Apple-Auth-Attributes", "simulated-attributes")
        .with_header("set-cookie", "aasp=simulated; Path=/; Domain=idmsa.apple.com; Secure; HttpOnly")
}

fn current_code(account: &Account, rules: &AccountRules) -> String {
    match rules.code.parse::<u32>() {
        Ok(code) if rules.push_renews_code => {
            format!("{:06}", code.wrapping_add(account.pushes.saturating_sub(1)) % 1_000_000)
        }
        _ => rules.code.clone(),
    }
}

impl Account {
    /// Returns the identifier of the attempt that the request's headers name, or of a new one.
    fn attempt_of(&mut self, message: &Message) -> String {
        let id = message.header(SESSION_ID);
        let known = self.attempts.get(id).is_some_and(|attempt| attempt.china == message.is_to_china());
        if message.kind != RequestKind::Authorize && known {
            return id.to_owned();
        }
        let (id, scnt) = (self.token("SID"), self.token("scnt"));
        self.attempts.insert(id.clone(), Attempt { scnt, china: message.is_to_china(), ..Attempt::default() });
        id
    }

    fn attempt(&mut self, id: &str) -> Result<&mut Attempt, Response> {
        self.attempts.get_mut(id).ok_or_else(session_over)
    }

    /// Removes and returns the challenge with a name. Its request may have named another attempt than the
    /// one with the proof, or none.
    fn take_challenge(&mut self, name: &str) -> Option<Challenge> {
        let is_named = |(other, _): &mut (String, Challenge)| other == name;
        let mut challenges = self.attempts.values_mut().map(|attempt| &mut attempt.challenge);
        challenges.find_map(|challenge| challenge.take_if(is_named)).map(|(_, challenge)| challenge)
    }

    fn init(&mut self, id: &str, rules: &AccountRules, message: &Message) -> Result<Response, Response> {
        let body = message.json()?;
        let a_public = decoded(&body["a"]).ok_or_else(bad_credentials)?;
        let protocols: Vec<&str> =
            body["protocols"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !protocols.contains(&rules.protocol.name()) {
            return Err(Response::empty(400));
        }
        let (mut salt, mut secret) = ([0; 16], [0; 32]);
        self.random.fill_bytes(&mut salt);
        self.random.fill_bytes(&mut secret);
        let challenge = Challenge::new(&Inputs {
            account: body["accountName"].as_str().unwrap_or_default(),
            password: &rules.password,
            protocol: rules.protocol,
            iterations: rules.iterations,
            salt: &salt,
            secret: &secret,
            a_public: &a_public,
        })
        .ok_or_else(bad_credentials)?;
        let name = self.token("d-");
        let response = json!({
            "iteration": rules.iterations,
            "salt": STANDARD.encode(&challenge.salt),
            "protocol": rules.protocol.name(),
            "b": STANDARD.encode(&challenge.b_public),
            "c": name,
        });
        self.attempt(id)?.challenge = Some((name, challenge));
        Ok(Response::json(200, &response))
    }

    fn complete(
        &mut self,
        id: &str,
        rules: &AccountRules,
        session: &SessionRules,
        now: i64,
        message: &Message,
    ) -> Result<Response, Response> {
        let body = message.json()?;
        if rules.locked || (rules.lock_after > 0 && self.wrong_passwords >= rules.lock_after) {
            return Err(service_errors(403, "-20209", "This Apple Account has been locked for security reasons."));
        }
        let challenge = self.take_challenge(body["c"].as_str().unwrap_or_default());
        let proofs = decoded(&body["m1"]).zip(decoded(&body["m2"]));
        let right_account = body["accountName"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(&rules.apple_id));
        let right = challenge.zip(proofs).is_some_and(|(challenge, (m1, m2))| challenge.accepts(&m1, &m2));
        if !right || !right_account {
            self.wrong_passwords += 1;
            return Err(bad_credentials());
        }
        self.wrong_passwords = 0;
        self.attempt(id)?.password_given = true;
        if rules.repair_required {
            return Err(Response::json(412, &json!({ "authType": "non-sa" })));
        }
        let china = message.is_to_china();
        let is_valid = |trust: &Trust| {
            now < trust.issued + session.trust_lifetime_seconds
                && (trust.china == china || rules.tokens_of_both_domains)
        };
        let mut tokens = body["trustTokens"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let trusted = tokens.any(|token| self.trust.get(token).is_some_and(is_valid));
        let done = trusted || !rules.two_factor;
        self.attempt(id)?.code_given = done;
        let token = self.new_session_token(done, china);
        let response = if done {
            Response::json(200, &json!({ "authType": if rules.two_factor { "hsa2" } else { "sa" } }))
        } else {
            Response::json(409, &json!({ "authType": "hsa2" }))
        };
        Ok(response.with_header(SESSION_TOKEN, token))
    }

    /// For accounts without a second factor: completes a sign-in whose password was accepted with
    /// status 412.
    fn repair(&mut self, id: &str) -> Result<Response, Response> {
        let attempt = self.attempt(id)?;
        if !attempt.password_given {
            return Err(session_over());
        }
        attempt.code_given = true;
        let china = attempt.china;
        let token = self.new_session_token(true, china);
        Ok(Response::json(200, &json!({})).with_header(SESSION_TOKEN, token))
    }

    fn state(&mut self, id: &str, rules: &AccountRules) -> Result<Response, Response> {
        self.after_password(id)?;
        Ok(Response::json(200, &auth_state(rules)))
    }

    fn push(&mut self, id: &str, rules: &AccountRules) -> Result<Response, Response> {
        self.after_password(id)?;
        if rules.push_refused || !rules.trusted_devices || !rules.security_keys.is_empty() {
            return Err(service_errors(412, "-22979", "Verification codes can't be sent to this device at this time."));
        }
        self.pushes += 1;
        Ok(Response::json(202, &auth_state(rules)))
    }

    fn send_sms(&mut self, id: &str, rules: &AccountRules, message: &Message) -> Result<Response, Response> {
        self.after_password(id)?;
        let body = message.json()?;
        let known = rules.phones.iter().any(|phone| body["phoneNumber"]["id"] == phone.id);
        if !known {
            return Err(service_errors(
                412,
                "-28248",
                "Verification codes can't be sent to this phone number at this time.",
            ));
        }
        Ok(Response::json(200, &auth_state(rules)))
    }

    fn verify(&mut self, id: &str, rules: &AccountRules, message: &Message, right: &str) -> Result<Response, Response> {
        self.after_password(id)?;
        let body = message.json()?;
        let code = body["securityCode"]["code"].as_str().unwrap_or_default();
        let exhausted = rules.code_tries > 0 && self.wrong_codes >= rules.code_tries;
        let unknown_phone = message.kind == RequestKind::VerifySms
            && !rules.phones.iter().any(|phone| body["phoneNumber"]["id"] == phone.id);
        if exhausted {
            return Err(service_errors(403, "-21674", "Too many verification codes have been entered."));
        }
        if code != right || unknown_phone {
            self.wrong_codes += 1;
            return Err(service_errors(rules.wrong_code_status, "-21669", "Incorrect verification code."));
        }
        self.attempt(id)?.code_given = true;
        self.wrong_codes = 0;
        let token = self.new_session_token(true, message.is_to_china());
        let accepted = json!({
            "securityCode": { "code": code, "tooManyCodesSent": false, "tooManyCodesValidated": false,
                "securityCodeLocked": false, "securityCodeCooldown": false, "valid": true },
            "hasError": false,
        });
        Ok(match rules.code_answer {
            CodeAnswer::NoContent => Response::empty(204).with_header(SESSION_TOKEN, token),
            CodeAnswer::ConflictWithToken => Response::json(409, &accepted).with_header(SESSION_TOKEN, token),
            CodeAnswer::ConflictWithoutToken => Response::json(409, &accepted).with_header("X-Apple-Edp", "true"),
            CodeAnswer::PreconditionFailed => Response::json(412, &accepted),
        })
    }

    fn trust_browser(&mut self, id: &str, now: i64) -> Result<Response, Response> {
        let attempt = self.attempt(id)?;
        if !attempt.code_given {
            return Err(session_over());
        }
        let china = attempt.china;
        let (trust, token) = (self.new_trust_token(now, china), self.new_session_token(true, china));
        Ok(Response::empty(204).with_header("X-Apple-TwoSV-Trust-Token", trust).with_header(SESSION_TOKEN, token))
    }

    fn after_password(&mut self, id: &str) -> Result<(), Response> {
        if self.attempt(id)?.password_given { Ok(()) } else { Err(session_over()) }
    }
}

fn auth_state(rules: &AccountRules) -> Value {
    if !rules.security_keys.is_empty() {
        return json!({
            "authenticationType": "hsa2",
            "hsa2Account": true,
            "noTrustedDevices": true,
            "fsaChallenge": {
                "challenge": "c2ltdWxhdGVk",
                "keyHandles": ["c2ltdWxhdGVk"],
                "allowedCredentials": "simulated",
                "rpId": "apple.com",
            },
            "keyNames": rules.security_keys,
        });
    }
    let phones: Vec<Value> = rules
        .phones
        .iter()
        .map(|phone| {
            json!({
                "id": phone.id,
                "numberWithDialCode": phone.number,
                "obfuscatedNumber": phone.number,
                "pushMode": phone.mode,
                "nonFTEU": true,
            })
        })
        .collect();
    let state = json!({
        "trustedPhoneNumbers": phones,
        "trustedPhoneNumber": phones.first(),
        "noTrustedDevices": !rules.trusted_devices,
        "authenticationType": "hsa2",
        "hsa2Account": true,
        "securityCode": { "length": 6, "tooManyCodesSent": false, "tooManyCodesValidated": false,
            "securityCodeLocked": false, "securityCodeCooldown": false },
    });
    if rules.nested_auth_state { json!({ "phoneNumberVerification": state }) } else { state }
}

fn bad_credentials() -> Response {
    service_errors(401, "-20101", "Check the account information you entered and try again.")
}

fn session_over() -> Response {
    service_errors(401, "-20528", "Your session has timed out. Sign in to continue.")
}

fn service_errors(status: u16, code: &str, text: &str) -> Response {
    let error = json!({ "code": code, "message": text, "title": text, "suppressDismissal": false });
    Response::json(status, &json!({ "serviceErrors": [error], "service_errors": [error], "hasError": true }))
        .with_header("X-Apple-I-Ercd", code)
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}
