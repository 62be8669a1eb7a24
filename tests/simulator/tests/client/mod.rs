//! A minimal client for the tests: HTTPS through the simulator's proxy, and the client's side of
//! SRP.

#![allow(dead_code, unused_imports, reason = "each test binary uses only a part of the client")]

mod sign_in;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use icloud_simulator::{Config, Simulator};
use serde_json::{Value, json};
use ureq::http::{Method, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

pub use sign_in::SignIn;

pub const DRIVE: &str = "https://p123-drivews.icloud.com";
pub const DOCS: &str = "https://p123-docws.icloud.com";
pub const SETUP: &str = "https://setup.icloud.com/setup/ws/1";
pub const AUTH: &str = "https://idmsa.apple.com/appleauth/auth";
pub const ROOT: &str = "FOLDER::com.apple.CloudDocs::root";

/// Starts a simulator with its default rules, and creates a client with a session.
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

/// A complete response.
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

    /// Returns the value of a cookie that the response sets.
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
    /// Creates a client that is not signed in.
    pub fn new(simulator: &Simulator) -> Self {
        Self { agent: agent(simulator, None), cookies: String::new(), headers: Vec::new() }
    }

    /// Returns the same client with a time limit for each request.
    pub fn with_timeout(&self, simulator: &Simulator, limit: Duration) -> Self {
        Self { agent: agent(simulator, Some(limit)), ..self.clone() }
    }

    /// Creates a client with a minted session.
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

    /// Sends a GET, and returns the unread body of the response.
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

    /// Lists folders, and returns the complete response.
    pub fn list_all(&self, ids: &[&str]) -> Reply {
        let wanted: Vec<Value> =
            ids.iter().map(|id| json!({ "drivewsid": id, "partialData": false, "includeHierarchy": false })).collect();
        self.post(&format!("{DRIVE}/retrieveItemDetailsInFolders"), &json!(wanted))
    }

    /// Returns the children of a folder.
    pub fn list(&self, id: &str) -> Vec<Value> {
        self.list_all(&[id]).json()[0]["items"].as_array().cloned().unwrap_or_default()
    }

    /// Returns an item without its children.
    pub fn details(&self, id: &str) -> Value {
        let body = json!({ "items": [{ "drivewsid": id }] });
        self.post(&format!("{DRIVE}/retrieveItemDetails"), &body).json()["items"][0].clone()
    }

    /// Returns the child of the root whose name without the extension is `name`.
    pub fn in_root(&self, name: &str) -> Value {
        self.list(ROOT).into_iter().find(|item| item["name"] == name).unwrap_or(Value::Null)
    }

    pub fn create_folder(&self, parent: &str, name: &str) -> Value {
        let body =
            json!({ "destinationDrivewsId": parent, "folders": [{ "clientId": "FOLDER::TempId-1", "name": name }] });
        self.post(&format!("{DRIVE}/createFolders"), &body).json()["folders"][0].clone()
    }

    /// Sends `renameItems`, `moveItemsToTrash` or a similar request for one item.
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

    /// Sends the three requests of an upload, and returns the last response.
    pub fn upload(&self, zone: &str, folder_document: &str, name: &str, bytes: &[u8]) -> Reply {
        let ticket = self.upload_web(zone, name, bytes.len()).json()[0].clone();
        let posted = self.try_send(Method::POST, ticket["url"].as_str().unwrap(), &[], bytes).unwrap();
        let update = update_body(&ticket, &posted.json()["singleFile"], folder_document, name);
        self.post(&format!("{DOCS}/ws/{zone}/update/documents"), &update)
    }

    /// Requests the content URL of the file with a `drivewsid`.
    pub fn content_url(&self, drive_id: &str) -> Reply {
        let mut parts = drive_id.splitn(3, "::").skip(1);
        let (zone, document) = (parts.next().unwrap(), parts.next().unwrap());
        self.get(&format!("{DOCS}/ws/{zone}/download/by_id?document_id={document}"))
    }

    /// Sends `download/batch` for documents of the default zone.
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

/// The body of `update/documents` for a ticket of `upload/web` and the response to the POST of the
/// bytes.
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

/// The body of `update/documents` for a ticket of the type `PACKAGE` and the response to the POST
/// of the archive.
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
