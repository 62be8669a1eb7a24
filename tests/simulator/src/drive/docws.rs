//! `pNNN-docws.icloud.com`: look-ups, download tickets and the two ends of an upload.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::drive::content::Content;
use crate::drive::tree::{Body, CLOUD_DOCS, ItemId, NewItem, Sharing};
use crate::drive::{Drive, Grant, Upload, answers, names};
use crate::rules::DriveRules;
use crate::transport::message::{Answer, Message};

type Outcome = Result<Answer, Answer>;

pub(crate) fn lookup_by_path(drive: &Drive, message: &Message) -> Outcome {
    let body = message.json()?;
    let path = body.as_str().or_else(|| body["path"].as_str()).unwrap_or_default();
    let zone = message.segment(1);
    // Only the zone in the URL is searched, so what lies in an app's library is not found through CloudDocs.
    let found = drive.tree.at(path).filter(|id| drive.tree.item(*id).zone == zone).ok_or_else(not_found)?;
    Ok(Answer::json(200, &json!([in_format(drive, found, message)])))
}

pub(crate) fn lookup_by_id(drive: &Drive, message: &Message) -> Outcome {
    let found = drive
        .tree
        .by_any_id(message.segment(1), message.query("document_id"))
        .ok_or_else(not_found)?;
    Ok(Answer::json(200, &in_format(drive, found, message)))
}

fn in_format(drive: &Drive, id: ItemId, message: &Message) -> Value {
    if message.query("unified_format") == "true" {
        answers::drive_item(&drive.tree, id)
    } else {
        answers::document(&drive.tree, id)
    }
}

pub(crate) fn item(drive: &Drive, message: &Message) -> Outcome {
    let found = drive.tree.by_any_id(CLOUD_DOCS, message.segment(2)).ok_or_else(not_found)?;
    Ok(Answer::json(200, &answers::raw_item(&drive.tree, found)))
}

pub(crate) fn enumerate(drive: &Drive, message: &Message) -> Outcome {
    let found = drive.tree.by_any_id(CLOUD_DOCS, message.segment(2)).ok_or_else(not_found)?;
    let limit = message.query("limit").parse().unwrap_or(usize::MAX);
    let items: Vec<Value> = drive
        .tree
        .item(found)
        .children()
        .take(limit)
        .map(|child| answers::raw_item(&drive.tree, child))
        .collect();
    Ok(Answer::json(200, &json!({ "drive_item": items })))
}

/// `/v1/item/copy`: the copy lies beside the original under a bounced name; no name can be asked for.
pub(crate) fn copy(drive: &mut Drive, rules: &DriveRules, now_ms: i64, message: &Message) -> Outcome {
    let found = drive.tree.by_any_id(CLOUD_DOCS, message.segment(3)).ok_or_else(not_found)?;
    let original = drive.tree.item(found);
    let (name, body, modified_ms) = (original.name.clone(), original.body.clone(), original.modified_ms);
    let parent = original.parent.ok_or_else(not_found)?;
    if original.is_folder() {
        return Err(Answer::service_error(400, "Bad Request"));
    }
    check_quota(drive, rules, original.size())?;
    let name = drive.tree.free_name(parent, &name, true);
    let id = drive.tree.add(parent, NewItem { name, body, created_ms: now_ms, modified_ms }, None);
    drive.folder_changed(parent, rules);
    Ok(Answer::json(200, &answers::raw_item(&drive.tree, id)))
}

/// `download/by_id`: a signed URL for the item's present content.
pub(crate) fn by_id(drive: &mut Drive, rules: &DriveRules, now: i64, message: &Message) -> Outcome {
    let zone = message.segment(1);
    let found = drive
        .tree
        .by_document(zone, message.query("document_id"))
        .filter(|id| !drive.tree.is_trashed(*id))
        .ok_or_else(not_found)?;
    let item = drive.tree.item(found);
    let (content, key) = match &item.body {
        Body::Folder { .. } => return Err(Answer::service_error(400, "Bad Request")),
        Body::File(content) if content.size() == 0 => return Err(Answer::service_error(400, "Bad Request")),
        Body::File(content) => (content.clone(), "data_token"),
        Body::Package(package) => (package.archive.clone(), "package_token"),
    };
    let signature = answers::signature_of(item);
    let expires_at = now + rules.url_lifetime_seconds;
    let ticket = ticket(&format!("{}/{}/{}", item.document_id, expires_at, drive.grants.len()));
    let name = percent_encoding::utf8_percent_encode(&item.name, percent_encoding::NON_ALPHANUMERIC);
    let url = format!(
        "https://cvws.icloud-content.com/B/{}/{name}?o={}&v=1&x=3&e={expires_at}&s={ticket}",
        URL_SAFE_NO_PAD.encode(signature),
        item.item_id,
    );
    let answer = json!({
        "document_id": item.document_id,
        "item_id": item.item_id,
        "owner_dsid": 1_000_000_001,
        key: {
            "url": url,
            "token": ticket,
            "signature": STANDARD.encode(signature),
            "wrapping_key": answers::wrapping_key(item),
            "reference_signature": STANDARD.encode(signature),
        },
        "double_etag": format!("{0}::{0}", item.etag()),
    });
    let subject = drive.tree.path(found);
    drive.grants.insert(ticket, Grant { content, subject, expires_at, uses: 0 });
    Ok(Answer::json(200, &answer))
}

/// `upload/web`: a document id and the URL that takes the bytes.
pub(crate) fn upload_web(drive: &mut Drive, rules: &DriveRules, message: &Message) -> Outcome {
    let body = message.json()?;
    let size = number(&body["size"]).ok_or_else(|| Answer::service_error(400, "Bad Request"))?;
    if names::refusal(body["filename"].as_str().unwrap_or_default(), rules).is_some() {
        return Err(Answer::service_error(400, "Bad Request"));
    }
    check_quota(drive, rules, size)?;
    let document_id = drive.tree.new_document_id();
    let ticket = ticket(&document_id);
    let host = message.host.replace("-docws.", "-contentws.");
    let url = format!("https://{host}:443/singleFileUpload?tk={ticket}&ref=1");
    drive.uploads.insert(
        ticket,
        Upload {
            zone: message.segment(1).to_owned(),
            declared_size: size,
            document_id: document_id.clone(),
            content: None,
            receipt: None,
        },
    );
    Ok(Answer::json(200, &json!([{ "url": url, "document_id": document_id, "owner": "user@example.com", "owner_id": "1000000001" }])))
}

/// `update/documents`: the uploaded bytes become a document in a folder.
pub(crate) fn update_documents(drive: &mut Drive, rules: &DriveRules, now_ms: i64, message: &Message) -> Outcome {
    let body = message.json()?;
    if body["command"] != "add_file" {
        return Err(Answer::service_error(400, "Bad Request"));
    }
    let zone = message.segment(1);
    let name = body["path"]["path"].as_str().unwrap_or_default();
    if names::refusal(name, rules).is_some() {
        return Err(Answer::service_error(400, "Bad Request"));
    }
    let parent = drive
        .tree
        .by_any_id(zone, body["path"]["starting_document_id"].as_str().unwrap_or_default())
        .filter(|id| drive.tree.item(*id).is_folder() && drive.tree.item(*id).zone == zone)
        .filter(|id| !drive.tree.is_trashed(*id))
        .ok_or_else(parent_missing)?;
    if drive.tree.item(parent).sharing == Sharing::Below {
        return Err(Answer::service_error(400, "Bad Request"));
    }
    let document_id = body["document_id"].as_str().unwrap_or_default();
    let mtime = body["mtime"].as_i64().unwrap_or(now_ms);
    let btime = body["btime"].as_i64().unwrap_or(mtime);
    let id = match drive.tree.by_document(zone, document_id) {
        Some(existing) => place_existing(drive, rules, existing, parent, name)?,
        None => {
            let content = take_upload(drive, zone, document_id, &body["data"])?;
            check_quota(drive, rules, content.size())?;
            let name = free_or_conflict(drive, parent, name, &body)?;
            let new = NewItem { name, body: Body::File(content), created_ms: btime, modified_ms: mtime };
            drive.tree.add(parent, new, Some(document_id.to_owned()))
        }
    };
    drive.tree.set_modified(id, mtime);
    drive.folder_changed(parent, rules);
    let ok = json!({ "status_code": 0, "error_message": "" });
    let document = answers::document(&drive.tree, id);
    Ok(Answer::json(
        200,
        &json!({ "status": ok, "results": [{ "status": ok, "operation_id": null, "document": document }] }),
    ))
}

/// The same update sent again, or a copy that gets its name: the document exists already.
fn place_existing(
    drive: &mut Drive,
    rules: &DriveRules,
    id: ItemId,
    parent: ItemId,
    name: &str,
) -> Result<ItemId, Answer> {
    if drive.tree.is_trashed(id) {
        return Err(Answer::service_error(409, "Conflict"));
    }
    let already_there = drive.tree.item(id).parent == Some(parent)
        && names::comparable(&drive.tree.item(id).name) == names::comparable(name);
    if !already_there {
        drive.tree.detach(id);
        let name = drive.tree.free_name(parent, name, true);
        drive.tree.rename(id, &name);
        drive.tree.attach(id, parent);
        drive.changed(id, rules);
    }
    Ok(id)
}

fn take_upload(drive: &mut Drive, zone: &str, document_id: &str, data: &Value) -> Result<Content, Answer> {
    let bad = || Answer::service_error(400, "Bad Request");
    let ticket = ticket(document_id);
    let upload = drive.uploads.get(&ticket).ok_or_else(bad)?;
    let content = upload.content.clone().ok_or_else(bad)?;
    let same_zone = upload.zone == zone && upload.document_id == document_id;
    let receipt = data["receipt"].as_str().filter(|receipt| !receipt.is_empty());
    let same_content = receipt == upload.receipt.as_deref()
        && data["signature"] == STANDARD.encode(content.signature())
        && number(&data["size"]).unwrap_or_default() == content.size();
    if !same_zone || !same_content {
        return Err(bad());
    }
    drive.uploads.remove(&ticket);
    Ok(content)
}

fn free_or_conflict(drive: &Drive, parent: ItemId, name: &str, body: &Value) -> Result<String, Answer> {
    let free = drive.tree.free_name(parent, name, true);
    if free != name && body["allow_conflict"] == false {
        return Err(Answer::service_error(409, "Conflict"));
    }
    Ok(free)
}

pub(crate) fn check_quota(drive: &Drive, rules: &DriveRules, more: u64) -> Result<(), Answer> {
    if drive.tree.stored_bytes().saturating_add(more) > rules.quota {
        return Err(Answer::service_error(413, "QUOTA_EXCEEDED: Quota exceeded"));
    }
    Ok(())
}

fn parent_missing() -> Answer {
    Answer::service_error(
        412,
        "VALIDATING_REFERENCE_ERROR: Request has out of order children to be chained but the parents were missing",
    )
}

fn not_found() -> Answer {
    Answer::service_error(404, "Not Found")
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).or(value.is_null().then_some(0))
}

fn ticket(of: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(of.as_bytes()))
}
