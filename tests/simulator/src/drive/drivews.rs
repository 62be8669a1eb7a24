//! `pNNN-drivews.icloud.com`: listings and changes of items.

use serde_json::{Value, json};

use crate::drive::item::{Body, ItemId, NewItem, Sharing};
use crate::drive::tree::{TRASH_DRIVE_ID, TRASH_ID};
use crate::drive::{Drive, encoding, names};
use crate::rules::{DetailsForm, DriveRules, ExistingFolder, MissingFolder, OverBatch, TakenName};
use crate::transport::message::{Message, Response};

type Outcome = Result<Response, Response>;

/// `retrieveItemDetailsInFolders`: one folder with its children for each id, in order.
pub(crate) fn list(drive: &Drive, rules: &DriveRules, message: &Message) -> Outcome {
    let body = message.json()?;
    let mut folders = body.as_array().map_or(&[][..], Vec::as_slice);
    if folders.is_empty() {
        return Err(Response::service_error(400, "Bad Request"));
    }
    if rules.max_batch > 0 && folders.len() > rules.max_batch {
        match rules.over_batch {
            OverBatch::Refuse => return Err(Response::service_error(400, "Bad Request")),
            OverBatch::FirstOnly => folders = &folders[..1],
        }
    }
    let mut listings = Vec::with_capacity(folders.len());
    for folder in folders {
        let id = folder["drivewsid"].as_str().unwrap_or_default();
        let (partial, hierarchy) = (flag(folder, "partialData"), flag(folder, "includeHierarchy"));
        listings.push(list_one(drive, rules, id, partial, hierarchy)?);
    }
    Ok(Response::json(200, &Value::Array(listings)))
}

fn list_one(drive: &Drive, rules: &DriveRules, id: &str, partial: bool, hierarchy: bool) -> Result<Value, Response> {
    if id == TRASH_ID || id == TRASH_DRIVE_ID {
        return Ok(encoding::trash_listing(&drive.tree));
    }
    let found = drive.tree.by_drive_id(id).filter(|found| drive.tree.item(*found).is_folder());
    match found {
        Some(folder) if drive.tree.item(folder).sharing == Sharing::Below => {
            Err(Response::service_error(400, "Bad Request"))
        }
        Some(folder) => Ok(encoding::folder_listing(&drive.tree, folder, partial, hierarchy)),
        None => match rules.missing_folder {
            MissingFolder::IdInvalid => Ok(json!({ "drivewsid": id, "status": "ID_INVALID" })),
            MissingFolder::NotFound => Err(Response::service_error(404, "Not Found")),
        },
    }
}

/// `retrieveItemDetails`: items without their children, including items in the Trash.
pub(crate) fn details(drive: &Drive, rules: &DriveRules, message: &Message) -> Outcome {
    let body = message.json()?;
    let wanted = match rules.details_form {
        DetailsForm::Object => &body["items"],
        DetailsForm::Array => &body[0]["items"],
    };
    let wanted = wanted.as_array().ok_or_else(|| Response::service_error(400, "Bad Request"))?;
    let items: Vec<Value> = wanted
        .iter()
        .map(|one| {
            let id = one["drivewsid"].as_str().unwrap_or_default();
            let Some(found) = drive.tree.by_drive_id(id) else {
                return json!({ "drivewsid": id, "status": "ID_INVALID" });
            };
            let mut response = encoding::drive_item(&drive.tree, found);
            if flag(one, "includeHierarchy") {
                response["hierarchy"] = encoding::hierarchy_of(&drive.tree, found);
            }
            response
        })
        .collect();
    Ok(Response::json(
        200,
        &match rules.details_form {
            DetailsForm::Object => json!({ "items": items }),
            DetailsForm::Array => Value::Array(items),
        },
    ))
}

pub(crate) fn create_folders(drive: &mut Drive, rules: &DriveRules, now_ms: i64, message: &Message) -> Outcome {
    let body = message.json()?;
    let destination = body["destinationDrivewsId"].as_str().unwrap_or_default();
    let parent = writable_folder(drive, destination)?;
    let mut folders = Vec::new();
    for wanted in body["folders"].as_array().into_iter().flatten() {
        let name = wanted["name"].as_str().unwrap_or_default();
        if names::refusal(name, rules).is_some() {
            return Err(Response::service_error(400, "Bad Request"));
        }
        let client_id = &wanted["clientId"];
        folders.push(match create_folder(drive, rules, parent, name, now_ms) {
            Ok(id) => {
                let mut response = encoding::drive_item(&drive.tree, id);
                response["clientId"] = client_id.clone();
                response
            }
            Err(status) => json!({ "status": status, "clientId": client_id }),
        });
    }
    Ok(Response::json(200, &json!({ "destinationDrivewsId": destination, "folders": folders })))
}

fn create_folder(
    drive: &mut Drive,
    rules: &DriveRules,
    parent: ItemId,
    name: &str,
    now_ms: i64,
) -> Result<ItemId, &'static str> {
    let mut name = name.to_owned();
    if drive.tree.child(parent, &name).is_some() {
        match rules.existing_folder {
            ExistingFolder::Unknown => return Err("UNKNOWN"),
            ExistingFolder::AlreadyExists => return Err("ALREADY_EXISTS"),
            ExistingFolder::Bounce => name = drive.tree.free_name(parent, &name, false),
        }
    }
    let id = drive.tree.add(parent, NewItem::folder(&name, now_ms), None);
    drive.folder_changed(parent, rules);
    Ok(id)
}

pub(crate) fn rename(drive: &mut Drive, rules: &DriveRules, message: &Message) -> Outcome {
    let body = message.json()?;
    let mut items = Vec::new();
    for wanted in body["items"].as_array().into_iter().flatten() {
        let id = match found(drive, wanted, rules.rename_checks_etag) {
            Ok(id) => id,
            Err(refused) => {
                items.push(refused);
                continue;
            }
        };
        let name = wanted_name(wanted);
        if names::refusal(&name, rules).is_some() {
            return Err(Response::service_error(400, "Bad Request"));
        }
        let Some(parent) = drive.tree.item(id).parent else {
            items.push(refused(drive, id, "INVALID"));
            continue;
        };
        items.push(match place(drive, rules, id, parent, &name) {
            Ok(()) => encoding::drive_item(&drive.tree, id),
            Err(status) => refused(drive, id, status),
        });
    }
    Ok(Response::json(200, &json!({ "items": items })))
}

pub(crate) fn move_items(drive: &mut Drive, rules: &DriveRules, message: &Message) -> Outcome {
    let body = message.json()?;
    let destination = body["destinationDrivewsId"].as_str().unwrap_or_default();
    let folder = writable_folder(drive, destination)?;
    let mut items = Vec::new();
    for wanted in body["items"].as_array().into_iter().flatten() {
        let id = match found(drive, wanted, rules.move_checks_etag) {
            Ok(id) => id,
            Err(refused) => {
                items.push(refused);
                continue;
            }
        };
        if drive.tree.is_within(folder, id) || drive.tree.item(id).app_library {
            items.push(refused(drive, id, "INVALID"));
            continue;
        }
        let name = drive.tree.item(id).name.clone();
        let from = drive.tree.item(id).parent;
        items.push(match place(drive, rules, id, folder, &name) {
            Ok(()) => {
                if let Some(from) = from {
                    drive.folder_changed(from, rules);
                }
                let mut response = encoding::drive_item(&drive.tree, id);
                response["clientId"] = wanted["clientId"].clone();
                response
            }
            Err(status) => refused(drive, id, status),
        });
    }
    Ok(Response::json(200, &json!({ "destinationDrivewsId": destination, "items": items })))
}

pub(crate) fn trash(drive: &mut Drive, rules: &DriveRules, message: &Message) -> Outcome {
    let body = message.json()?;
    let mut items = Vec::new();
    for wanted in body["items"].as_array().into_iter().flatten() {
        let id = match found(drive, wanted, true) {
            Ok(id) => id,
            Err(refused) => {
                items.push(refused);
                continue;
            }
        };
        let parent = drive.tree.item(id).parent;
        if parent.is_none() || drive.tree.item(id).app_library {
            items.push(refused(drive, id, "INVALID"));
            continue;
        }
        drive.tree.trash_item(id);
        if rules.trash_renames && matches!(drive.tree.item(id).body, Body::File(_)) {
            let name = names::numbered(&drive.tree.item(id).name, 2, true);
            drive.tree.rename_trashed(id, &name);
        }
        drive.tree.touch(id);
        if let Some(parent) = parent {
            drive.folder_changed(parent, rules);
        }
        let mut response = encoding::drive_item(&drive.tree, id);
        response["clientId"] = wanted["clientId"].clone();
        items.push(response);
    }
    Ok(Response::json(200, &json!({ "items": items })))
}

/// `putBackItemsFromTrash`: moves items back to the folders they were in, or to the root if the
/// folder no longer exists.
pub(crate) fn put_back(drive: &mut Drive, rules: &DriveRules, message: &Message) -> Outcome {
    let body = message.json()?;
    let mut items = Vec::new();
    for wanted in body["items"].as_array().into_iter().flatten() {
        let id = wanted["drivewsid"].as_str().and_then(|id| drive.tree.by_drive_id(id));
        let Some((id, path)) = id.and_then(|id| Some((id, drive.tree.item(id).trashed_from.clone()?))) else {
            items.push(json!({ "drivewsid": wanted["drivewsid"], "status": "ID_INVALID" }));
            continue;
        };
        let parent = path.rsplit_once('/').and_then(|(folder, _)| drive.tree.at(folder));
        let parent = parent.unwrap_or_else(|| drive.tree.root());
        let name = drive.tree.item(id).name.clone();
        items.push(match place(drive, rules, id, parent, &name) {
            Ok(()) => encoding::drive_item(&drive.tree, id),
            Err(status) => refused(drive, id, status),
        });
    }
    Ok(Response::json(200, &json!({ "items": items })))
}

/// `deleteItems`: deletes items permanently, whether they are in the Trash or not.
pub(crate) fn delete(drive: &mut Drive, rules: &DriveRules, message: &Message) -> Outcome {
    let body = message.json()?;
    let mut items = Vec::new();
    for wanted in body["items"].as_array().into_iter().flatten() {
        let drive_id = wanted["drivewsid"].as_str().unwrap_or_default();
        let Some(id) = drive.tree.by_drive_id(drive_id).filter(|id| !drive.tree.item(*id).app_library) else {
            items.push(json!({ "drivewsid": drive_id, "status": "ID_INVALID" }));
            continue;
        };
        if wanted["etag"].as_str().is_some_and(|etag| etag != drive.tree.item(id).etag()) {
            items.push(conflict(drive, id));
            continue;
        }
        let parent = drive.tree.item(id).parent;
        let mut response = encoding::drive_item(&drive.tree, id);
        response["isDeleted"] = true.into();
        response["clientId"] = wanted["clientId"].clone();
        drive.tree.erase(id);
        if let Some(parent) = parent {
            drive.folder_changed(parent, rules);
        }
        items.push(response);
    }
    Ok(Response::json(200, &json!({ "items": items })))
}

/// Puts an item into a folder under a name, or another name by the rule for names that are taken.
fn place(drive: &mut Drive, rules: &DriveRules, id: ItemId, folder: ItemId, name: &str) -> Result<(), &'static str> {
    let mut name = name.to_owned();
    if drive.tree.child(folder, &name).is_some_and(|taken| taken != id) {
        match rules.taken_name {
            TakenName::Bounce => name = drive.tree.free_name(folder, &name, !drive.tree.item(id).is_folder()),
            TakenName::Refuse => return Err("ALREADY_EXISTS"),
        }
    }
    drive.tree.detach(id);
    drive.tree.rename(id, &name);
    drive.tree.attach(id, folder);
    drive.changed(id, rules);
    Ok(())
}

/// Returns the item that an entry of `items` identifies; with `check_etag`, only if its etag is
/// current.
fn found(drive: &Drive, wanted: &Value, check_etag: bool) -> Result<ItemId, Value> {
    let drive_id = wanted["drivewsid"].as_str().unwrap_or_default();
    let found = drive.tree.by_drive_id(drive_id).filter(|id| !drive.tree.is_trashed(*id));
    let Some(id) = found else {
        return Err(json!({ "drivewsid": drive_id, "status": "ID_INVALID" }));
    };
    match wanted["etag"].as_str() {
        Some(etag) if check_etag && etag != drive.tree.item(id).etag() => Err(conflict(drive, id)),
        _ => Ok(id),
    }
}

/// The entry of an item for which the request had an outdated etag: only the members that identify
/// the item.
fn conflict(drive: &Drive, id: ItemId) -> Value {
    let item = drive.tree.item(id);
    json!({
        "drivewsid": item.drive_id(),
        "parentId": encoding::parent_id(&drive.tree, item),
        "etag": item.etag(),
        "status": "ETAG_CONFLICT",
    })
}

/// The item as it is, with the reason for the refusal as its status.
fn refused(drive: &Drive, id: ItemId, status: &str) -> Value {
    let mut response = encoding::drive_item(&drive.tree, id);
    response["status"] = status.into();
    response
}

fn wanted_name(wanted: &Value) -> String {
    let name = wanted["name"].as_str().unwrap_or_default();
    match wanted["extension"].as_str() {
        Some(extension) if !extension.is_empty() => format!("{name}.{extension}"),
        _ => name.to_owned(),
    }
}

fn writable_folder(drive: &Drive, drive_id: &str) -> Result<ItemId, Response> {
    let folder = drive
        .tree
        .by_drive_id(drive_id)
        .filter(|id| drive.tree.item(*id).is_folder() && !drive.tree.is_trashed(*id))
        .ok_or_else(|| Response::service_error(404, "Not Found"))?;
    if drive.tree.item(folder).sharing == Sharing::Below {
        return Err(Response::service_error(400, "Bad Request"));
    }
    Ok(folder)
}

fn flag(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or_default()
}
