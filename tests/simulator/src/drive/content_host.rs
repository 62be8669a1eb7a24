//! The hosts for uploads and downloads. The URL alone grants access; no cookie is required.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, header};
use serde_json::json;

use crate::drive::Drive;
use crate::drive::content::{Content, Receiving};
use crate::drive::item::Body;
use crate::drive::package::Package;
use crate::drive::package_upload;
use crate::photos::{self, Photos};
use crate::rules::DriveRules;
use crate::transport::message::{Message, Response};

/// The unit in which a multipart body is parsed.
const CHUNK: usize = 1024 * 1024;

/// Returns the response to a GET of a content URL, for the whole content or one range. A HEAD
/// request is refused.
pub(crate) fn get(drive: &mut Drive, photos: &Photos, rules: &DriveRules, now: i64, message: &Message) -> Response {
    if let Some((content, expires_at, _)) = photos::content_of(photos, message) {
        return if now >= expires_at { over(rules) } else { part(&content, message) };
    }
    let Some(grant) = drive.grants.get_mut(message.query("s")) else {
        return Response::new(403, "text/plain", "Forbidden");
    };
    let spent = rules.url_uses > 0 && grant.uses >= rules.url_uses;
    if spent || now >= grant.expires_at {
        return over(rules);
    }
    if message.method == Method::HEAD {
        return Response::new(if grant.package { 400 } else { 501 }, "text/plain", "");
    }
    grant.uses += 1;
    if grant.package {
        let content = grant.content.clone();
        let size = content.size();
        return Response::content(200, content, 0, size);
    }
    part(&grant.content, message)
}

fn over(rules: &DriveRules) -> Response {
    Response::new(rules.spent_url_status, "text/plain", "This link is no longer valid")
}

/// Returns the content, or the range of it that was requested.
fn part(content: &Content, message: &Message) -> Response {
    let content = content.clone();
    let size = content.size();
    let response = match requested_range(message.header(header::RANGE.as_str()), size) {
        Requested::Whole => Response::content(200, content, 0, size),
        Requested::Part(start, end) => Response::content(206, content, start, end)
            .with_header("content-range", format!("bytes {start}-{}/{size}", end - 1)),
        Requested::Outside => {
            return Response::new(416, "text/plain", "").with_header("content-range", format!("bytes */{size}"));
        }
    };
    response.with_header("accept-ranges", "bytes")
}

/// Returns the path of the item that a content URL was issued for.
pub(crate) fn subject(drive: &Drive, message: &Message) -> Option<String> {
    drive.grants.get(message.query("s")).map(|grant| grant.subject.clone())
}

/// Returns the response to a POST of the bytes `file`; empty files get no receipt.
pub(crate) fn post(drive: &mut Drive, message: &Message, file: Content) -> Response {
    let token = message.query("tk");
    let Some(upload) = drive.uploads.get_mut(token) else {
        return Response::new(403, "text/plain", "Forbidden");
    };
    if file.size() != upload.declared_size {
        return Response::service_error(400, "Bad Request");
    }
    if upload.package {
        let Some(package) = Package::from_archive(&file.read(0, u64::MAX)) else {
            return Response::service_error(400, "Bad Request");
        };
        let response = package_upload::response(token, &package);
        upload.body = Some(Body::Package(package));
        return Response::json(200, &response);
    }
    let signature = file.signature();
    let mut single_file = json!({
        "referenceChecksum": STANDARD.encode(signature),
        "size": file.size(),
        "fileChecksum": STANDARD.encode(signature),
        "wrappingKey": STANDARD.encode(&signature[..16]),
    });
    if file.size() > 0 {
        let receipt = format!("A{}", STANDARD.encode(format!("{token}/{}", upload.document_id)));
        single_file["receipt"] = receipt.clone().into();
        upload.receipt = Some(receipt);
    }
    upload.body = Some(Body::File(file));
    Response::json(200, &json!({ "singleFile": single_file }))
}

/// Returns the bytes of a POST: its body, or the first part of a multipart body. Returns `None` for
/// a malformed multipart body.
pub(crate) async fn posted_file(message: &Message) -> Option<Content> {
    let Ok(boundary) = multer::parse_boundary(message.header(header::CONTENT_TYPE.as_str())) else {
        return Some(message.body.clone());
    };
    let body = message.body.clone();
    let chunks = futures_util::stream::iter(
        (0..body.size())
            .step_by(CHUNK)
            .map(move |start| Ok::<_, std::convert::Infallible>(body.read(start, CHUNK as u64))),
    );
    let mut parts = multer::Multipart::new(chunks, boundary);
    let mut part = parts.next_field().await.ok()??;
    let mut file = Receiving::default();
    while let Some(piece) = part.chunk().await.ok()? {
        file.add(&piece).ok()?;
    }
    Some(file.finish())
}

enum Requested {
    Whole,
    /// The start, and the end, which is not part of the range.
    Part(u64, u64),
    Outside,
}

fn requested_range(value: &str, size: u64) -> Requested {
    let Some((first, last)) = value.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Requested::Whole;
    };
    let (start, end) = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) if last.trim().is_empty() => (first, size),
        (Err(_), Ok(length)) if first.trim().is_empty() => (size.saturating_sub(length), size),
        _ => return Requested::Whole,
    };
    if start >= end { Requested::Outside } else { Requested::Part(start, end) }
}
