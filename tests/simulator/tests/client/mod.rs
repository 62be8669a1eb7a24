//! A client as small as the tests need: HTTPS through the simulator's proxy, and the client's side of SRP.

#![allow(dead_code, reason = "each test binary uses its own part of the client")]

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use icloud_simulator::{Config, Simulator};
use num_bigint::BigUint;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ureq::http::{Method, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

pub const DRIVE: &str = "https://p123-drivews.icloud.com";
pub const DOCS: &str = "https://p123-docws.icloud.com";
pub const SETUP: &str = "https://setup.icloud.com/setup/ws/1";
pub const AUTH: &str = "https://idmsa.apple.com/appleauth/auth";
pub const ROOT: &str = "FOLDER::com.apple.CloudDocs::root";

/// A simulator with its default rules, and a client with a session.
pub fn start() -> (Simulator, Client) {
    let simulator = Simulator::start(Config::default()).unwrap();
    let client = Client::signed_in(&simulator);
    (simulator, client)
}

pub fn put(simulator: &Simulator, path: &str, text: &str) {
    simulator.put_file(path, text.as_bytes().into(), 1_700_000_000_999);
}

pub fn names(items: &[Value]) -> Vec<&str> {
    items.iter().filter_map(|item| item["name"].as_str()).collect()
}

/// The `drivewsid` of an item.
pub fn id(item: &Value) -> &str {
    item["drivewsid"].as_str().unwrap()
}

/// An answer, read whole.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The value of a cookie that the answer sets.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.headers
            .iter()
            .filter(|(key, _)| key == "set-cookie")
            .filter_map(|(_, value)| value.split(';').next()?.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    }
}

#[derive(Clone)]
pub struct Client {
    agent: Agent,
    pub cookies: String,
    pub headers: Vec<(String, String)>,
}

impl Client {
    /// Not signed in.
    pub fn new(simulator: &Simulator) -> Self {
        Self { agent: agent(simulator, None), cookies: String::new(), headers: Vec::new() }
    }

    /// The same client, giving up after so long.
    pub fn with_timeout(&self, simulator: &Simulator, limit: Duration) -> Self {
        Self { agent: agent(simulator, Some(limit)), ..self.clone() }
    }

    /// With a minted session.
    pub fn signed_in(simulator: &Simulator) -> Self {
        Self { cookies: simulator.mint_session().cookies, ..Self::new(simulator) }
    }

    pub fn try_send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, ureq::Error> {
        let mut request = Request::builder().method(method).uri(url);
        if !self.cookies.is_empty() {
            request = request.header("cookie", &self.cookies);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(body).unwrap())?;
        Ok(Reply {
            status: response.status().as_u16(),
            headers: response
                .headers()
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
                .collect(),
            body: response.body_mut().with_config().limit(1 << 30).read_to_vec()?,
        })
    }

    /// An answer to a GET whose body is still to be read.
    pub fn open(&self, url: &str) -> impl std::io::Read {
        self.agent.get(url).call().unwrap().into_body().into_reader()
    }

    pub fn get(&self, url: &str) -> Reply {
        self.try_send(Method::GET, url, &[], b"").unwrap()
    }

    pub fn post(&self, url: &str, body: &Value) -> Reply {
        self.try_send(Method::POST, url, &[("content-type", "application/json")], body.to_string().as_bytes()).unwrap()
    }

    pub fn put(&self, url: &str, body: &Value) -> Reply {
        self.try_send(Method::PUT, url, &[("content-type", "application/json")], body.to_string().as_bytes()).unwrap()
    }

    /// Lists folders; the whole answer.
    pub fn list_all(&self, ids: &[&str]) -> Reply {
        let wanted: Vec<Value> =
            ids.iter().map(|id| json!({ "drivewsid": id, "partialData": false, "includeHierarchy": false })).collect();
        self.post(&format!("{DRIVE}/retrieveItemDetailsInFolders"), &json!(wanted))
    }

    /// The children of a folder.
    pub fn list(&self, id: &str) -> Vec<Value> {
        self.list_all(&[id]).json()[0]["items"].as_array().cloned().unwrap_or_default()
    }

    /// An item without its children.
    pub fn details(&self, id: &str) -> Value {
        let body = json!({ "items": [{ "drivewsid": id }] });
        self.post(&format!("{DRIVE}/retrieveItemDetails"), &body).json()["items"][0].clone()
    }

    /// The child of the root whose stem is `name`.
    pub fn in_root(&self, name: &str) -> Value {
        self.list(ROOT).into_iter().find(|item| item["name"] == name).unwrap_or(Value::Null)
    }

    pub fn create_folder(&self, parent: &str, name: &str) -> Value {
        let body =
            json!({ "destinationDrivewsId": parent, "folders": [{ "clientId": "FOLDER::TempId-1", "name": name }] });
        self.post(&format!("{DRIVE}/createFolders"), &body).json()["folders"][0].clone()
    }

    /// `renameItems`, `moveItemsToTrash` and their like, for one item.
    pub fn change(&self, operation: &str, item: &Value, more: &Value) -> Value {
        let mut entry = json!({ "drivewsid": item["drivewsid"], "etag": item["etag"], "clientId": item["drivewsid"] });
        merge(&mut entry, more);
        self.post(&format!("{DRIVE}/{operation}"), &json!({ "items": [entry] })).json()["items"][0].clone()
    }

    pub fn move_to(&self, item: &Value, destination: &str) -> Value {
        let entry = json!({ "drivewsid": item["drivewsid"], "etag": item["etag"], "clientId": item["drivewsid"] });
        let body = json!({ "destinationDrivewsId": destination, "items": [entry] });
        self.post(&format!("{DRIVE}/moveItems"), &body).json()["items"][0].clone()
    }

    pub fn upload_web(&self, zone: &str, name: &str, size: usize) -> Reply {
        let body = json!({ "filename": name, "type": "FILE", "size": size.to_string(), "content_type": "text/plain" });
        self.post(&format!("{DOCS}/ws/{zone}/upload/web"), &body)
    }

    /// The three requests of an upload; the last one's answer.
    pub fn upload(&self, zone: &str, folder_document: &str, name: &str, bytes: &[u8]) -> Reply {
        let ticket = self.upload_web(zone, name, bytes.len()).json()[0].clone();
        let posted = self.try_send(Method::POST, ticket["url"].as_str().unwrap(), &[], bytes).unwrap();
        let update = update_body(&ticket, &posted.json()["singleFile"], folder_document, name);
        self.post(&format!("{DOCS}/ws/{zone}/update/documents"), &update)
    }

    /// The content URL of a file's `drivewsid`.
    pub fn content_url(&self, drive_id: &str) -> Reply {
        let mut parts = drive_id.splitn(3, "::").skip(1);
        let (zone, document) = (parts.next().unwrap(), parts.next().unwrap());
        self.get(&format!("{DOCS}/ws/{zone}/download/by_id?document_id={document}"))
    }

    /// `download/batch` for documents of the default zone.
    pub fn batch(&self, drive_ids: &[&str]) -> Reply {
        let document = |id: &&str| json!({ "document_id": id.rsplit("::").next() });
        let wanted: Vec<Value> = drive_ids.iter().map(document).collect();
        self.post(&format!("{DOCS}/ws/com.apple.CloudDocs/download/batch"), &json!(wanted))
    }

    pub fn download(&self, drive_id: &str) -> Vec<u8> {
        let url = self.content_url(drive_id).json()["data_token"]["url"].as_str().unwrap().to_owned();
        self.get(&url).body
    }
}

fn agent(simulator: &Simulator, limit: Option<Duration>) -> Agent {
    let ca = Certificate::from_pem(simulator.ca_pem().as_bytes()).unwrap();
    let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(vec![ca]))).build();
    Agent::config_builder()
        .proxy(Some(Proxy::new(&simulator.proxy_url()).unwrap()))
        .tls_config(tls)
        .timeout_global(limit)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .into()
}

/// The body of `update/documents` for a ticket of `upload/web` and the answer to the bytes.
pub fn update_body(ticket: &Value, single_file: &Value, folder_document: &str, name: &str) -> Value {
    json!({
        "allow_conflict": true,
        "btime": 1_700_000_000_000_i64,
        "mtime": 1_700_000_001_000_i64,
        "command": "add_file",
        "create_short_guid": true,
        "data": {
            "receipt": single_file["receipt"],
            "reference_signature": single_file["referenceChecksum"],
            "signature": single_file["fileChecksum"],
            "size": single_file["size"],
            "wrapping_key": single_file["wrappingKey"],
        },
        "document_id": ticket["document_id"],
        "file_flags": { "is_executable": true, "is_hidden": false, "is_writable": true },
        "path": { "path": name, "starting_document_id": folder_document },
    })
}

/// The body of `update/documents` for a ticket of the type `PACKAGE` and the answer to the archive.
pub fn add_package_body(ticket: &Value, receipts: &Value, folder_document: &str, name: &str) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let hex = |value: &Value| {
        let digits = text(value);
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        STANDARD.encode((0..digits.len()).step_by(2).map(byte).collect::<Vec<u8>>())
    };
    let asset = |asset: &Value| {
        json!({
            "signature": hex(&asset["hexFileChecksum"]),
            "reference_signature": hex(&asset["hexReferenceChecksum"]),
            "wrapping_key": hex(&asset["hexWrappingKey"]),
            "receipt": STANDARD.encode(URL_SAFE_NO_PAD.decode(text(&asset["receiptToken"])).unwrap()),
            "size": asset["size"],
        })
    };
    let sections: Vec<Value> = receipts["ckSectionAssets"].as_array().unwrap().iter().map(asset).collect();
    json!({
        "allow_conflict": true,
        "btime": 1_700_000_000_000_i64,
        "mtime": 1_700_000_001_000_i64,
        "command": "add_package",
        "document_id": ticket["document_id"],
        "pkgSignature": hex(&receipts["hexBrSyntheticChecksum"]),
        "manifest": asset(&receipts["brManifest"]),
        "package": { "sections": sections, "manifest": asset(&receipts["ckManifest"]) },
        "file_flags": { "is_executable": false, "is_hidden": false, "is_writable": true },
        "path": { "path": name, "starting_document_id": folder_document },
    })
}

fn merge(target: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        target[key] = value.clone();
    }
}

/// A sign-in in progress.
pub struct SignIn {
    pub client: Client,
    pub session_token: String,
}

impl SignIn {
    /// The five steps up to `signin/complete`; the last one's answer.
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
            _ => digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
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

    /// Asks for trust; the trust token.
    pub fn trust(&mut self) -> String {
        let reply = self.client.get(&format!("{AUTH}/2sv/trust"));
        self.absorb(&reply);
        reply.header("X-Apple-TwoSV-Trust-Token").to_owned()
    }

    pub fn account_login(&self) -> Reply {
        self.client.post(&format!("{SETUP}/accountLogin"), &json!({ "dsWebAuthToken": self.session_token }))
    }

    /// Ends the sign-in: a client with the web session's cookies.
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
