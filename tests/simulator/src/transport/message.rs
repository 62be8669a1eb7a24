//! A decoded request, and the response to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::drive::content::Content;
use crate::drive::tree::CLOUD_DOCS;
use crate::kinds::RequestKind;

pub(crate) struct Message {
    pub(crate) kind: RequestKind,
    pub(crate) method: Method,
    pub(crate) host: String,
    /// The path, percent-decoded.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Content,
}

impl Message {
    pub(crate) fn new(kind: RequestKind, host: &str, parts: &Parts, body: Content) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        Self {
            kind,
            method: parts.method.clone(),
            host: host.to_owned(),
            path: percent_encoding::percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers: parts.headers.clone(),
            body,
        }
    }

    fn bytes(&self) -> Bytes {
        self.body.read(0, u64::MAX)
    }

    /// Returns the body as JSON, or the response to a body that is not JSON.
    pub(crate) fn json(&self) -> Result<Value, Response> {
        serde_json::from_slice(&self.bytes()).map_err(|_| Response::service_error(400, "Malformed JSON body"))
    }

    pub(crate) fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns the n-th segment of the path, from 0.
    pub(crate) fn segment(&self, index: usize) -> &str {
        self.path.split('/').skip(1).nth(index).unwrap_or_default()
    }

    /// Returns whether the host is one of mainland China.
    pub(crate) fn is_to_china(&self) -> bool {
        self.host.ends_with(".cn")
    }

    /// Returns the zone that a request to a Drive host refers to.
    pub(crate) fn zone(&self) -> String {
        if self.segment(0) == "ws" {
            return self.segment(1).to_owned();
        }
        let zone = self.subjects().iter().find_map(|subject| subject.split("::").nth(1).map(str::to_owned));
        zone.unwrap_or_else(|| CLOUD_DOCS.to_owned())
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.headers
            .get_all(hyper::header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim_matches('"'))
    }

    /// Returns the subjects of the request: the ids, paths and names in it, which fault rules match
    /// and the journal shows.
    pub(crate) fn subjects(&self) -> Vec<String> {
        const QUERY: [&str; 2] = ["document_id", "token"];
        let mut subjects: Vec<String> = QUERY.iter().filter_map(|name| self.query.get(*name)).cloned().collect();
        if matches!(self.kind, RequestKind::Item | RequestKind::Enumerate | RequestKind::Copy | RequestKind::Download) {
            subjects.extend(self.path.rsplit('/').next().map(str::to_owned));
        }
        if self.kind != RequestKind::ContentPost
            && let Ok(body) = serde_json::from_slice::<Value>(&self.bytes())
        {
            collect_subjects(&body, &mut subjects);
        }
        subjects
    }
}

fn collect_subjects(value: &Value, subjects: &mut Vec<String>) {
    const KEYS: [&str; 8] = [
        "drivewsid",
        "destinationDrivewsId",
        "name",
        "filename",
        "document_id",
        "starting_document_id",
        "path",
        "appName",
    ];
    match value {
        Value::Array(values) => values.iter().for_each(|inner| collect_subjects(inner, subjects)),
        Value::Object(members) => {
            for (key, inner) in members {
                match inner {
                    Value::String(text) if KEYS.contains(&key.as_str()) && !text.is_empty() => {
                        subjects.push(text.clone());
                    }
                    _ => collect_subjects(inner, subjects),
                }
            }
        }
        _ => {}
    }
}

pub(crate) enum Payload {
    Bytes(Bytes),
    Content { content: Content, start: u64, end: u64 },
}

pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) payload: Payload,
}

impl Response {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: vec![(String::from("content-type"), content_type.to_owned())],
            payload: Payload::Bytes(body.into()),
        }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json; charset=UTF-8", body.to_string())
    }

    /// Returns the body as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Result<Value> {
        match &self.payload {
            Payload::Bytes(bytes) => serde_json::from_slice(bytes),
            Payload::Content { .. } => Ok(Value::Null),
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        let mut response = Self::new(status, "application/json;charset=UTF-8", "");
        response.headers.clear();
        response
    }

    /// An error in the format of the data hosts.
    pub(crate) fn service_error(status: u16, reason: &str) -> Self {
        Self::json(
            status,
            &json!({ "requestUUID": "00000000-0000-0000-0000-000000000000", "errorReason": reason, "errorCode": status }),
        )
    }

    /// An error in the format of CloudKit, which the data hosts pass on.
    pub(crate) fn cloudkit_error(status: u16, code: &str, reason: &str) -> Self {
        Self::json(
            status,
            &json!({
                "uuid": "00000000-0000-0000-0000-000000000000",
                "serverErrorCode": code,
                "error_code": code,
                "reason": reason,
                "messageForDeveloper": reason,
            }),
        )
    }

    /// Replaces the hosts in the response by those of mainland China.
    pub(crate) fn in_china(mut self) -> Self {
        let moved = |text: &str| {
            let text = text
                .replace(".icloud.com:", ".icloud.com.cn:")
                .replace("icloud-content.com/", "icloud-content.com.cn/");
            text.replace("Domain=.icloud.com;", "Domain=.icloud.com.cn;")
        };
        if let Payload::Bytes(bytes) = &self.payload
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            self.payload = Payload::Bytes(moved(text).into());
        }
        for (_, value) in &mut self.headers {
            *value = moved(value);
        }
        self
    }

    pub(crate) fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn content(status: u16, content: Content, start: u64, end: u64) -> Self {
        let mut response = Self::new(status, "application/octet-stream", "");
        response.payload = Payload::Content { content, start, end };
        response
    }
}
