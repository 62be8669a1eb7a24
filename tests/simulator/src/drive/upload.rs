//! `pNNN-docws.icloud.com`: the first and the last request of an upload, before and after the POST
//! of the bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::drive::docws::ticket;
use crate::drive::item::{Body, ItemId, NewItem, Sharing};
use crate::drive::{Drive, Upload, encoding, names, package_upload};
use crate::rules::DriveRules;
use crate::transport::message::{Message, Response};

type Outcome = Result<Response, Response>;

/// `upload/web`: issues a document id and the URL for the POST of the bytes.
pub(crate) fn upload_web(drive: &mut Drive, rules: &DriveRules, message: &Message) -> Outcome {
    let body = message.json()?;
    let size = number(&body["size"]).ok_or_else(bad_request)?;
    if names::refusal(body["filename"].as_str().unwrap_or_default(), rules).is_some() {
        return Err(bad_request());
    }
    check_quota(drive, rules, size)?;
    let document_id = drive.tree.new_document_id();
    let ticket = ticket(&document_id);
    let host = message.host.replace("-docws.", "-contentws.");
    let url = format!("https://{host}:443/singleFileUpload?tk={ticket}&ref=1");
    let response =
        json!([{ "url": url, "document_id": document_id, "owner": "user@example.com", "owner_id": "1000000001" }]);
    let zone = message.segment(1).to_owned();
    let package = body["type"] == "PACKAGE";
    let upload = Upload { zone, declared_size: size, document_id, package, body: None, receipt: None };
    drive.uploads.insert(ticket, upload);
    Ok(Response::json(200, &response))
}

/// `update/documents`: turns uploaded bytes into a document in a folder, or into the new content of
/// an existing document.
pub(crate) fn update_documents(drive: &mut Drive, rules: &DriveRules, now_ms: i64, message: &Message) -> Outcome {
    let body = message.json()?;
    let staged: Staged = match body["command"].as_str() {
        Some("add_file") => staged_file,
        Some("add_package") => staged_package,
        _ => return Err(bad_request()),
    };
    let zone = message.segment(1);
    let name = body["path"]["path"].as_str().unwrap_or_default();
    if names::refusal(name, rules).is_some() {
        return Err(bad_request());
    }
    let parent = parent_in(drive, zone, body["path"]["starting_document_id"].as_str().unwrap_or_default())?;
    let document_id = body["document_id"].as_str().unwrap_or_default();
    let allow_conflict = body["allow_conflict"] != false || rules.registration_bounces;
    let given = |time: &i64| *time != 0 || !rules.zero_time_is_now;
    let mtime = body["mtime"].as_i64().filter(given).unwrap_or(now_ms);
    let id = match drive.tree.by_document(zone, document_id) {
        Some(existing) => {
            place(drive, existing, parent, name, allow_conflict)?;
            replace_content(drive, rules, existing, zone, &body, staged)?;
            existing
        }
        None => {
            let is_issued = drive.uploads.get(&ticket(document_id)).is_some_and(|upload| upload.zone == zone);
            let content = staged(drive, zone, &body).filter(|_| is_issued).ok_or_else(bad_request)?;
            check_quota(drive, rules, size_of(&content))?;
            let name = free_name(drive, parent, name, allow_conflict)?;
            let created_ms = body["btime"].as_i64().filter(given).unwrap_or(mtime);
            let new = NewItem { name, body: content, created_ms, modified_ms: mtime };
            let id = drive.tree.add(parent, new, Some(document_id.to_owned()));
            forget_upload(drive, &body["data"], document_id);
            id
        }
    };
    drive.tree.set_modified(id, mtime);
    drive.changed(id, rules);
    let ok = json!({ "status_code": 0, "error_message": "" });
    let document = encoding::document(&drive.tree, id);
    Ok(Response::json(
        200,
        &json!({ "status": ok, "results": [{ "status": ok, "operation_id": null, "document": document }] }),
    ))
}

fn parent_in(drive: &Drive, zone: &str, id: &str) -> Result<ItemId, Response> {
    let parent = drive
        .tree
        .by_any_id(zone, id)
        .filter(|id| drive.tree.item(*id).is_folder() && drive.tree.item(*id).zone == zone)
        .filter(|id| !drive.tree.is_trashed(*id))
        .ok_or_else(|| {
            Response::cloudkit_error(
                412,
                "VALIDATING_REFERENCE_ERROR",
                "Request has out of order children to be chained but the parents were missing",
            )
        })?;
    if drive.tree.item(parent).sharing == Sharing::Below {
        return Err(bad_request());
    }
    Ok(parent)
}

/// Gives an existing document the name and the folder of the update. This is how a client moves a
/// copy into place.
fn place(drive: &mut Drive, id: ItemId, parent: ItemId, name: &str, allow_conflict: bool) -> Result<(), Response> {
    if drive.tree.is_trashed(id) || drive.tree.item(id).is_folder() {
        return Err(bad_request());
    }
    let in_place = drive.tree.child(parent, name) == Some(id);
    if !in_place {
        let name = free_name(drive, parent, name, allow_conflict)?;
        drive.tree.detach(id);
        drive.tree.rename(id, &name);
        drive.tree.attach(id, parent);
    }
    Ok(())
}

/// Replaces the content of a document. The old content is lost: it is neither in the Trash nor in a
/// second document. No etag is checked.
fn replace_content(
    drive: &mut Drive,
    rules: &DriveRules,
    id: ItemId,
    zone: &str,
    update: &Value,
    staged: Staged,
) -> Result<(), Response> {
    let signature = STANDARD.encode(encoding::signature_of(drive.tree.item(id)));
    if update["data"]["signature"] == signature || update["pkgSignature"] == signature {
        return Ok(());
    }
    let content = staged(drive, zone, update).ok_or_else(bad_request)?;
    check_quota(drive, rules, size_of(&content).saturating_sub(drive.tree.item(id).size()))?;
    drive.tree.set_body(id, content);
    forget_upload(drive, &update["data"], "");
    Ok(())
}

/// Returns the uploaded bytes that an update refers to.
type Staged = fn(&Drive, zone: &str, update: &Value) -> Option<Body>;

fn size_of(body: &Body) -> u64 {
    match body {
        Body::Folder { bytes, .. } => *bytes,
        Body::File(content) => content.size(),
        Body::Package(package) => package.listed_size(),
    }
}

/// Returns the uploaded content that the update's `data` identifies by receipt, signature and size.
/// Empty content has no receipt.
fn staged_file(drive: &Drive, zone: &str, update: &Value) -> Option<Body> {
    let data = &update["data"];
    let receipt = data["receipt"].as_str().filter(|receipt| !receipt.is_empty());
    drive
        .uploads
        .values()
        .filter(|upload| upload.zone == zone && upload.receipt.as_deref() == receipt)
        .filter_map(|upload| upload.body.as_ref())
        .find(|body| match body {
            Body::File(content) => {
                data["signature"] == STANDARD.encode(content.signature())
                    && number(&data["size"]).unwrap_or_default() == content.size()
            }
            Body::Folder { .. } | Body::Package(_) => false,
        })
        .cloned()
}

/// Returns the uploaded package whose receipts the update repeats.
fn staged_package(drive: &Drive, zone: &str, update: &Value) -> Option<Body> {
    drive.uploads.iter().filter(|(_, upload)| upload.zone == zone).find_map(|(token, upload)| match &upload.body {
        Some(Body::Package(package)) if package_upload::is_repeated(update, token, package) => {
            Some(Body::Package(package.clone()))
        }
        _ => None,
    })
}

fn forget_upload(drive: &mut Drive, data: &Value, document_id: &str) {
    let receipt = data["receipt"].as_str();
    drive.uploads.retain(|_, upload| {
        upload.document_id != document_id && (receipt.is_none() || upload.receipt.as_deref() != receipt)
    });
}

fn free_name(drive: &Drive, parent: ItemId, name: &str, allow_conflict: bool) -> Result<String, Response> {
    let free = drive.tree.free_name(parent, name, true);
    if free != name && !allow_conflict {
        let reason = "Uniqueness constraint violation. Rejecting update";
        return Err(Response::cloudkit_error(409, "UNIQUE_FIELD_ERROR", reason));
    }
    Ok(free)
}

pub(crate) fn check_quota(drive: &Drive, rules: &DriveRules, more: u64) -> Result<(), Response> {
    if drive.tree.stored_bytes().saturating_add(more) > rules.quota {
        return Err(Response::cloudkit_error(413, "QUOTA_EXCEEDED", "Quota exceeded"));
    }
    Ok(())
}

fn bad_request() -> Response {
    Response::service_error(400, "Bad Request")
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).or(value.is_null().then_some(0))
}
