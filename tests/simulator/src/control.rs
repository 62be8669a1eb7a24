//! The control interface: JSON over plain HTTP under `/control/`, for tests in other languages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::drive::content::Content;
use crate::drive::item::Body;
use crate::faults::FaultRule;
use crate::json::merge;
use crate::kinds::RequestKind;
use crate::rules::Rules;
use crate::seed::{Mutation, SeedTree, Stored, hashed};
use crate::state::State;
use crate::transport::proxy::Proxy;

/// Why a control request was refused: a status and one line of text.
struct Refusal(StatusCode, String);

type Outcome = Result<Value, Refusal>;

pub(crate) async fn serve(proxy: Arc<Proxy>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let Some(verb) = parts.uri.path().strip_prefix("/control/") else {
        return respond(
            StatusCode::FORBIDDEN,
            "this proxy supports only CONNECT; the control interface is under /control/",
        );
    };
    match (&parts.method, verb) {
        (&Method::GET, "ca.pem") => return respond(StatusCode::OK, proxy.authority.pem().to_owned()),
        (&Method::GET, "tree") => return finish(listing(&proxy, State::snapshot)),
        (&Method::GET, "trash") => return finish(listing(&proxy, State::trash_snapshot)),
        (&Method::GET, "file") => return file(&proxy, &query),
        (&Method::POST, "wait") => return finish(wait(&proxy, &body).await),
        _ => {}
    }
    let outcome = command(&mut proxy.shared.lock(), &parts.method, verb, &query, &body);
    proxy.shared.notify();
    finish(outcome)
}

fn command(state: &mut State, method: &Method, verb: &str, query: &BTreeMap<String, String>, body: &[u8]) -> Outcome {
    match (method.as_str(), verb) {
        ("GET", "counts") => Ok(json!(state.journal.counts())),
        ("GET", "requests") => {
            let kind = query.get("kind").map(|kind| kind_named(kind)).transpose()?;
            let entries = state.journal.entries().iter();
            Ok(entries.filter(|entry| kind.is_none_or(|kind| entry.kind == kind)).map(|entry| json!(entry)).collect())
        }
        ("POST", "counts/reset") => {
            state.journal.reset();
            done()
        }
        ("GET", "rules") => Ok(json!(state.rules)),
        ("POST", "rules") => {
            let mut rules = json!(state.rules);
            merge(&mut rules, &parsed::<Value>(body)?);
            state.rules = serde_json::from_value::<Rules>(rules).map_err(|error| bad(&error))?;
            state.settle_rules();
            Ok(json!(state.rules))
        }
        ("GET", "faults") => Ok(json!(state.faults.applied())),
        ("POST", "faults") => Ok(json!({ "id": state.faults.add(parsed::<FaultRule>(body)?) })),
        ("DELETE", "faults") => {
            match query.get("id").map(|id| id.parse::<u64>()) {
                Some(Ok(id)) => state.faults.remove(id),
                Some(Err(error)) => return Err(bad(&error)),
                None => state.faults.clear(),
            }
            done()
        }
        ("POST", "gates/release") => {
            state.open_gates.insert(parsed::<Gate>(body)?.gate);
            done()
        }
        ("POST", "gates/close") => {
            state.open_gates.remove(&parsed::<Gate>(body)?.gate);
            done()
        }
        ("POST", "clock") => {
            let clock = parsed::<ClockMove>(body)?;
            let offset = clock.offset_seconds.unwrap_or_else(|| state.clock.offset_seconds()) + clock.advance_seconds;
            state.clock.set_offset_seconds(offset);
            Ok(json!({ "offset_seconds": offset, "now_ms": state.clock.now_ms() }))
        }
        _ => session_command(state, method, verb, query, body),
    }
}

/// Returns the response to a command that returns no values.
fn done() -> Outcome {
    Ok(json!({ "ok": true }))
}

fn session_command(
    state: &mut State,
    method: &Method,
    verb: &str,
    query: &BTreeMap<String, String>,
    body: &[u8],
) -> Outcome {
    match (method.as_str(), verb) {
        ("POST", "session/mint") => {
            let now = state.clock.now_seconds();
            Ok(json!(state.account.mint(&state.rules.account, now)))
        }
        ("POST", "session/end") => {
            let end = parsed::<End>(body)?;
            let status = end.status.unwrap_or(421);
            match end.after {
                Some(requests) => state.account.end_sessions_after(requests, status),
                None => state.account.end_sessions(status),
            }
            done()
        }
        ("POST", "session-tokens/end") => {
            state.account.end_session_tokens();
            done()
        }
        ("POST", "trust/end") => {
            state.account.end_trust();
            done()
        }
        ("POST", "pcs/end") => {
            state.account.end_pcs();
            done()
        }
        ("POST", "forgive") => {
            state.account.forgive();
            done()
        }
        _ => drive_command(state, method, verb, query, body),
    }
}

fn drive_command(
    state: &mut State,
    method: &Method,
    verb: &str,
    query: &BTreeMap<String, String>,
    body: &[u8],
) -> Outcome {
    match (method.as_str(), verb) {
        ("POST", "seed") => {
            state.seed_tree(&parsed::<SeedTree>(body)?);
            done()
        }
        ("PUT", "file") => {
            let modified_ms = query.get("modified_ms").and_then(|text| text.parse().ok());
            let modified_ms = modified_ms.unwrap_or_else(|| state.clock.now_ms());
            let was = digest_at(state, path_of(query)?);
            state.put_body(path_of(query)?, Body::File(Content::from(body)), modified_ms);
            Ok(json!({ "ok": true, "was": was }))
        }
        ("POST", "generated") => {
            let file = parsed::<Generated>(body)?;
            let content = Content::Generated { seed: file.seed, size: file.size };
            let modified_ms = file.modified_ms.unwrap_or_else(|| state.clock.now_ms());
            state.put_body(&file.path, Body::File(content), modified_ms);
            done()
        }
        ("POST", "package") => {
            let package = parsed::<NewPackage>(body)?;
            let entries: Vec<(String, Bytes)> =
                package.entries.into_iter().map(|(name, text)| (name, Bytes::from(text))).collect();
            let modified_ms = package.modified_ms.unwrap_or_else(|| state.clock.now_ms());
            state.put_package(&package.path, &entries, package.listed_size, modified_ms);
            done()
        }
        ("POST", "folder") => {
            state.make_folders(&parsed::<At>(body)?.path);
            done()
        }
        ("POST", "app-library") => {
            let library = parsed::<AppLibrary>(body)?;
            state.add_app_library(&library.name, &library.zone);
            done()
        }
        ("POST", "share") => {
            state.share(&parsed::<At>(body)?.path).map_err(|error| missing(&error))?;
            done()
        }
        ("POST", "mutate") => {
            let change = parsed::<Change>(body)?;
            let mutation = change.mutation(state.clock.now_ms())?;
            let was = digest_at(state, &change.path);
            state.mutate(&change.path, mutation).map_err(|error| missing(&error))?;
            Ok(json!({ "ok": true, "was": was }))
        }
        _ => Err(Refusal(StatusCode::NOT_FOUND, format!("no control command {method} {verb}"))),
    }
}

#[derive(Deserialize)]
struct Gate {
    gate: String,
}

#[derive(Deserialize)]
struct At {
    path: String,
}

#[derive(Deserialize)]
struct ClockMove {
    offset_seconds: Option<i64>,
    #[serde(default)]
    advance_seconds: i64,
}

#[derive(Deserialize)]
struct End {
    status: Option<u16>,
    /// The number of data requests that still pass.
    after: Option<u64>,
}

#[derive(Deserialize)]
struct Generated {
    path: String,
    seed: u64,
    size: u64,
    modified_ms: Option<i64>,
}

#[derive(Deserialize)]
struct NewPackage {
    path: String,
    /// Texts by their path inside the package.
    entries: BTreeMap<String, String>,
    /// The sum of the entries' sizes by default.
    listed_size: Option<u64>,
    modified_ms: Option<i64>,
}

#[derive(Deserialize)]
struct AppLibrary {
    name: String,
    zone: String,
}

#[derive(Deserialize)]
struct Wait {
    kind: RequestKind,
    n: u64,
    #[serde(default = "ten_seconds")]
    timeout_ms: u64,
}

fn ten_seconds() -> u64 {
    10_000
}

#[derive(Deserialize)]
struct Change {
    path: String,
    /// `write`, `touch`, `etag`, `trash`, `erase` or `rename`.
    change: String,
    /// The new content in base64, for `write`.
    #[serde(default)]
    base64: String,
    /// The new content as text, for `write`.
    #[serde(default)]
    text: String,
    modified_ms: Option<i64>,
    #[serde(default)]
    to: String,
}

impl Change {
    fn mutation(&self, now_ms: i64) -> Result<Mutation, Refusal> {
        let modified_ms = self.modified_ms.unwrap_or(now_ms);
        Ok(match self.change.as_str() {
            "write" => {
                let bytes = match self.base64.as_str() {
                    "" => self.text.clone().into_bytes(),
                    encoded => STANDARD.decode(encoded).map_err(|error| bad(&error))?,
                };
                Mutation::Write { content: Content::from(Bytes::from(bytes)), modified_ms }
            }
            "touch" => Mutation::Touch { modified_ms },
            "etag" => Mutation::BumpEtag,
            "trash" => Mutation::Trash,
            "erase" => Mutation::Erase,
            "rename" => Mutation::Rename { to: self.to.clone() },
            other => return Err(bad(&format!("unknown change {other}"))),
        })
    }
}

async fn wait(proxy: &Proxy, body: &[u8]) -> Outcome {
    let wait = parsed::<Wait>(body)?;
    let enough = |state: &State| state.journal.counts().of(wait.kind) >= wait.n;
    let waited = tokio::time::timeout(Duration::from_millis(wait.timeout_ms), proxy.shared.until(enough)).await;
    let seen = proxy.shared.lock().journal.counts().of(wait.kind);
    match waited {
        Ok(()) => Ok(json!({ "requests": seen })),
        Err(_) => Err(Refusal(
            StatusCode::REQUEST_TIMEOUT,
            format!("{seen} of {} requests within {} ms", wait.n, wait.timeout_ms),
        )),
    }
}

/// Returns the SHA-256 of the content of the file at `path`, if there is a file.
fn digest_at(state: &State, path: &str) -> Option<String> {
    state.content_at(path).ok().map(|content| content.sha256())
}

fn file(proxy: &Proxy, query: &BTreeMap<String, String>) -> Response<Full<Bytes>> {
    let content = path_of(query).and_then(|path| proxy.shared.lock().content_at(path).map_err(|error| missing(&error)));
    match content {
        Ok(content) => respond(StatusCode::OK, content.read(0, content.size())),
        Err(Refusal(status, text)) => respond(status, text),
    }
}

fn listing(proxy: &Proxy, read: fn(&State) -> Vec<Stored>) -> Outcome {
    let stored = read(&proxy.shared.lock());
    Ok(json!(hashed(stored)))
}

fn path_of(query: &BTreeMap<String, String>) -> Result<&str, Refusal> {
    query.get("path").map(String::as_str).ok_or_else(|| bad(&"the query needs path=…"))
}

fn kind_named(name: &str) -> Result<RequestKind, Refusal> {
    serde_json::from_value(json!(name)).map_err(|error| bad(&error))
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body: &[u8] = if matches!(body, b"" | b"null") { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| bad(&error))
}

fn bad(reason: &impl ToString) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, reason.to_string())
}

fn missing(reason: &impl ToString) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, reason.to_string())
}

fn finish(outcome: Outcome) -> Response<Full<Bytes>> {
    match outcome {
        Ok(value) => respond(StatusCode::OK, value.to_string()),
        Err(Refusal(status, text)) => respond(status, json!({ "error": text }).to_string()),
    }
}

fn respond(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
