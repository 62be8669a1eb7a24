//! The client's side of a sign-in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use icloud_simulator::Simulator;
use num_bigint::BigUint;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{AUTH, Client, Reply, SETUP};

/// A sign-in in progress.
pub struct SignIn {
    pub client: Client,
    pub session_token: String,
}

impl SignIn {
    /// Sends the requests up to `signin/complete`, and returns the last response.
    pub fn start(simulator: &Simulator, password: &str, trust_tokens: &[&str]) -> (Self, Reply) {
        let mut client = Client::new(simulator);
        let opened = client.get(&format!("{AUTH}/authorize/signin?client_id=widget"));
        client.headers = vec![
            (String::from("X-Apple-Widget-Key"), String::from("widget")),
            (String::from("X-Apple-ID-Session-Id"), opened.header("X-Apple-ID-Session-Id").to_owned()),
            (String::from("scnt"), opened.header("scnt").to_owned()),
        ];
        let account = "user@example.com";
        let secret = BigUint::from(1_234_567_890_123_456_789_u64);
        let prime = BigUint::parse_bytes(PRIME.as_bytes(), 16).unwrap();
        let generator = BigUint::from(2_u8);
        let a_public = padded(&generator.modpow(&secret, &prime));
        let init = client
            .post(
                &format!("{AUTH}/signin/init"),
                &json!({ "a": STANDARD.encode(&a_public), "accountName": account, "protocols": ["s2k", "s2k_fo"] }),
            )
            .json();

        let salt = STANDARD.decode(init["salt"].as_str().unwrap()).unwrap();
        let b_public = STANDARD.decode(init["b"].as_str().unwrap()).unwrap();
        let digest = Sha256::digest(password);
        let password = match init["protocol"].as_str() {
            Some("s2k") => digest.to_vec(),
            _ => hex::encode(digest).into_bytes(),
        };
        let mut key = [0; 32];
        let iterations = u32::try_from(init["iteration"].as_u64().unwrap()).unwrap();
        pbkdf2::pbkdf2_hmac::<Sha256>(&password, &salt, iterations, &mut key);
        let x = number(&[&salt, &hash(&[b":", &key])]);
        let u = number(&[&a_public, &b_public]);
        let k = number(&[&prime.to_bytes_be(), &padded(&generator)]);
        let masked = (k * generator.modpow(&x, &prime)) % &prime;
        let base = (BigUint::from_bytes_be(&b_public) + &prime - masked) % &prime;
        let shared = hash(&[&padded(&base.modpow(&(secret + u * x), &prime))]);
        let group: Vec<u8> = hash(&[&prime.to_bytes_be()])
            .iter()
            .zip(hash(&[&padded(&generator)]))
            .map(|(left, right)| left ^ right)
            .collect();
        let m1 = hash(&[&group, &hash(&[account.as_bytes()]), &salt, &a_public, &b_public, &shared]);
        let m2 = hash(&[&a_public, &m1, &shared]);
        let complete = client.post(
            &format!("{AUTH}/signin/complete?isRememberMeEnabled=true"),
            &json!({
                "accountName": account,
                "m1": STANDARD.encode(m1),
                "m2": STANDARD.encode(m2),
                "c": init["c"],
                "rememberMe": true,
                "trustTokens": trust_tokens,
            }),
        );
        let session_token = complete.header("X-Apple-Session-Token").to_owned();
        (Self { client, session_token }, complete)
    }

    pub fn code(&mut self, code: &str) -> Reply {
        let body = json!({ "securityCode": { "code": code } });
        let reply = self.client.post(&format!("{AUTH}/verify/trusteddevice/securitycode"), &body);
        self.absorb(&reply);
        reply
    }

    pub fn absorb(&mut self, reply: &Reply) {
        let token = reply.header("X-Apple-Session-Token");
        if !token.is_empty() {
            self.session_token = token.to_owned();
        }
    }

    /// Requests trust, and returns the trust token.
    pub fn trust(&mut self) -> String {
        let reply = self.client.get(&format!("{AUTH}/2sv/trust"));
        self.absorb(&reply);
        reply.header("X-Apple-TwoSV-Trust-Token").to_owned()
    }

    pub fn account_login(&self) -> Reply {
        self.client.post(&format!("{SETUP}/accountLogin"), &json!({ "dsWebAuthToken": self.session_token }))
    }

    /// Completes the sign-in, and returns a client with the cookies of the web session.
    pub fn finish(self) -> Client {
        let reply = self.account_login();
        let web = reply.cookie("X-APPLE-WEBAUTH-TOKEN").unwrap();
        Client { cookies: format!("X-APPLE-WEBAUTH-TOKEN={web}"), headers: Vec::new(), ..self.client }
    }
}

const PRIME: &str = "AC6BDB41324A9A9BF166DE5E1389582FAF72B6651987EE07FC3192943DB56050\
A37329CBB4A099ED8193E0757767A13DD52312AB4B03310DCD7F48A9DA04FD50\
E8083969EDB767B0CF6095179A163AB3661A05FBD5FAAAE82918A9962F0B93B8\
55F97993EC975EEAA80D740ADBF4FF747359D041D5C33EA71D281E446B14773B\
CA97B43A23FB801676BD207A436C6481F1D2B9078717461A5B9D32E688F87748\
544523B524B0D57D5EA77A2775D2ECFA032CFBDBF52FB3786160279004E57AE6\
AF874E7303CE53299CCC041C7BC308D82A5698F3A8D0C38271AE35F8E9DBFBB6\
94B5C803D89F7AE435DE236D525F54759B65E372FCD68EF20FA7111F9E4AFF73";

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn number(parts: &[&[u8]]) -> BigUint {
    BigUint::from_bytes_be(&hash(parts))
}

fn padded(number: &BigUint) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    let mut padded = vec![0; 256 - bytes.len()];
    padded.extend(bytes);
    padded
}
