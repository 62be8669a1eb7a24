//! `pNNN-docws.icloud.com`: lookups, copies and download tickets.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::drive::content::Content;
use crate::drive::item::{Body, ItemId, NewItem};
use crate::drive::tree::CLOUD_DOCS;
use crate::drive::upload::check_quota;
use crate::drive::{Drive, Grant, encoding};
use crate::rules::{BatchGap, DriveRules};
use crate::transport::message::{Message, Response};

type Outcome = Result<Response, Response>;

pub(crate) fn lookup_by_path(drive: &Drive, message: &Message) -> Outcome {
    let body = message.json()?;
    let path = body.as_str().or_else(|| body["path"].as_str()).unwrap_or_default();
    let zone = message.segment(1);
    // Only the zone in the URL is searched, so an item in an app's library is not found in the zone CloudDocs.
    let found = drive.tree.at(path).filter(|id| drive.tree.item(*id).zone == zone).ok_or_else(not_found)?;
    Ok(Response::json(200, &json!([in_format(drive, found, message)])))
}

pub(crate) fn lookup_by_id(drive: &Drive, message: &Message) -> Outcome {
    let found = drive.tree.by_any_id(message.segment(1), message.query("document_id")).ok_or_else(not_found)?;
    Ok(Response::json(200, &in_format(drive, found, message)))
}

fn in_format(drive: &Drive, id: ItemId, message: &Message) -> Value {
    if message.query("unified_format") == "true" {
        encoding::drive_item(&drive.tree, id)
    } else {
        encoding::document(&drive.tree, id)
    }
}

pub(crate) fn item(drive: &Drive, message: &Message) -> Outcome {
    let found = drive.tree.by_any_id(CLOUD_DOCS, message.segment(2)).ok_or_else(not_found)?;
    Ok(Response::json(200, &encoding::raw_item(&drive.tree, found)))
}

pub(crate) fn enumerate(drive: &Drive, message: &Message) -> Outcome {
    let found = drive.tree.by_any_id(CLOUD_DOCS, message.segment(2)).ok_or_else(not_found)?;
    let limit = message.query("limit").parse().unwrap_or(usize::MAX);
    let items: Vec<Value> =
        drive.tree.item(found).children().take(limit).map(|child| encoding::raw_item(&drive.tree, child)).collect();
    Ok(Response::json(200, &json!({ "drive_item": items })))
}

/// `/v1/item/copy`: creates the copy beside the original, under a numbered name; a request cannot
/// choose the name.
pub(crate) fn copy(drive: &mut Drive, rules: &DriveRules, now_ms: i64, message: &Message) -> Outcome {
    let found = drive.tree.by_any_id(CLOUD_DOCS, message.segment(3)).ok_or_else(not_found)?;
    let original = drive.tree.item(found);
    let (name, body, modified_ms) = (original.name.clone(), original.body.clone(), original.modified_ms);
    let parent = original.parent.ok_or_else(not_found)?;
    if original.is_folder() {
        return Err(bad_request());
    }
    check_quota(drive, rules, original.size())?;
    let name = drive.tree.free_name(parent, &name, true);
    let id = drive.tree.add(parent, NewItem { name, body, created_ms: now_ms, modified_ms }, None);
    drive.folder_changed(parent, rules);
    Ok(Response::json(200, &encoding::raw_item(&drive.tree, id)))
}

/// `download/by_id`: a signed URL for the item's current content.
pub(crate) fn by_id(drive: &mut Drive, rules: &DriveRules, now: i64, message: &Message) -> Outcome {
    let ticket = download_ticket(drive, rules, now, message.segment(1), message.query("document_id"))?;
    Ok(Response::json(200, &ticket))
}

/// `download/batch`: what `by_id` returns, for several documents of one zone, in the order of the
/// request.
pub(crate) fn batch(drive: &mut Drive, rules: &DriveRules, now: i64, message: &Message) -> Outcome {
    if rules.download_batch_refused != 0 {
        return Err(Response::service_error(rules.download_batch_refused, "Refused"));
    }
    let body = message.json()?;
    let documents = body.as_array().filter(|documents| !documents.is_empty()).ok_or_else(bad_request)?;
    if rules.download_batch_max > 0 && documents.len() > rules.download_batch_max {
        return Err(bad_request());
    }
    let mut tickets = Vec::with_capacity(documents.len());
    for (number, document) in (1..).zip(documents) {
        let document_id = document["document_id"].as_str().ok_or_else(bad_request)?;
        let tokenless = rules.download_batch_tokenless > 0 && number % rules.download_batch_tokenless == 0;
        let ticket = match download_ticket(drive, rules, now, message.segment(1), document_id) {
            Ok(ticket) if !tokenless => Some(ticket),
            Ok(_) => None,
            Err(_) if rules.download_batch_gap == BatchGap::Omitted => continue,
            Err(_) if rules.download_batch_gap == BatchGap::NotFound => return Err(not_found()),
            Err(_) => None,
        };
        tickets.push(ticket.unwrap_or_else(|| json!({ "document_id": document_id })));
    }
    Ok(Response::json(200, &Value::Array(tickets)))
}

fn download_ticket(
    drive: &mut Drive,
    rules: &DriveRules,
    now: i64,
    zone: &str,
    document_id: &str,
) -> Result<Value, Response> {
    let found = drive
        .tree
        .by_document(zone, document_id)
        .filter(|id| rules.trashed_content || !drive.tree.is_trashed(*id))
        .filter(|id| !drive.tree.is_deep_in_share(*id))
        .ok_or_else(not_found)?;
    let content = downloadable(drive, rules, found)?;
    let (url, token) = grant(drive, rules, now, found, content);
    let item = drive.tree.item(found);
    let key = if item.is_package() { "package_token" } else { "data_token" };
    let mut signature = encoding::signature_of(item);
    if !rules.published_checksums {
        signature[1..].reverse();
    }
    let signature = STANDARD.encode(signature);
    Ok(json!({
        "document_id": item.document_id,
        "item_id": item.item_id,
        "owner_dsid": 1_000_000_001,
        key: {
            "url": url,
            "token": token,
            "signature": signature,
            "wrapping_key": encoding::wrapping_key(item),
            "reference_signature": signature,
        },
        "double_etag": item.etag(),
    }))
}

/// `/v1/download`, to which a shared file's `url_download` points: a redirect to the content, with
/// the non-standard status 330.
pub(crate) fn download(drive: &mut Drive, rules: &DriveRules, now: i64, message: &Message) -> Outcome {
    let found = drive.tree.by_any_id(CLOUD_DOCS, message.segment(2)).ok_or_else(not_found)?;
    let content = downloadable(drive, rules, found)?;
    let (url, _) = grant(drive, rules, now, found, content);
    Ok(Response::empty(330).with_header("location", url))
}

fn downloadable(drive: &Drive, rules: &DriveRules, id: ItemId) -> Result<Content, Response> {
    match &drive.tree.item(id).body {
        Body::File(content) if content.size() > 0 || rules.empty_content => Ok(content.clone()),
        Body::Package(package) => {
            Ok(package.archive(&drive.tree.item(id).name, drive.grants.len() as u64, rules.package_varies))
        }
        Body::Folder { .. } | Body::File(_) => Err(bad_request()),
    }
}

/// Issues a content URL, and returns it with the token in it.
fn grant(drive: &mut Drive, rules: &DriveRules, now: i64, id: ItemId, content: Content) -> (String, String) {
    let item = drive.tree.item(id);
    let expires_at = now + rules.url_lifetime_seconds;
    let token = ticket(&format!("{}/{expires_at}/{}", item.document_id, drive.grants.len()));
    let url = format!(
        "https://cvws.icloud-content.com/B/{}/{}?o={}&v=1&x=3&e={expires_at}&s={token}",
        URL_SAFE_NO_PAD.encode(encoding::signature_of(item)),
        percent_encoding::utf8_percent_encode(&item.name, percent_encoding::NON_ALPHANUMERIC),
        item.item_id,
    );
    let grant = Grant { content, package: item.is_package(), subject: drive.tree.path(id), expires_at, uses: 0 };
    drive.grants.insert(token.clone(), grant);
    (url, token)
}

fn not_found() -> Response {
    Response::service_error(404, "Not Found")
}

fn bad_request() -> Response {
    Response::service_error(400, "Bad Request")
}

pub(crate) fn ticket(of: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(of.as_bytes()))
}
