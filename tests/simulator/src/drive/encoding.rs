//! Items as the service encodes them in its responses.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::clock::rfc3339_seconds;
use crate::drive::item::{Body, Item, ItemId, Sharing};
use crate::drive::names;
use crate::drive::tree::{TRASH_ID, Tree};

/// CloudKit's name for the account that owns the shared items.
const SHARE_OWNER: &str = "_0123456789abcdef0123456789abcdef";

/// `assetQuota` is larger than the sum of the file sizes, by one part in this number.
const THUMBNAILS: u64 = 50;

/// An item in the format of `drivews` and of `unified_format=true`, without its children.
pub(crate) fn drive_item(tree: &Tree, id: ItemId) -> Value {
    let item = tree.item(id);
    let mut response = Map::new();
    let is_root = id == tree.root();
    if !is_root {
        response.insert("dateCreated".into(), rfc3339_seconds(item.created_ms).into());
        response.insert("parentId".into(), parent_id(tree, item).into());
    }
    response.insert("drivewsid".into(), item.drive_id().into());
    response.insert("docwsid".into(), item.document_id.clone().into());
    response.insert("item_id".into(), item.item_id.clone().into());
    response.insert("zone".into(), item.zone.clone().into());
    response.insert("etag".into(), item.etag().into());
    response.insert("status".into(), "OK".into());
    if let Some(path) = &item.trashed_from {
        response.insert("restorePath".into(), names::encoded(path).into());
    }
    let (name, extension) = names::split(&item.name);
    response.insert("name".into(), name.into());
    if let Some(extension) = extension {
        response.insert("extension".into(), extension.into());
    }
    match &item.body {
        Body::Folder { children, files, bytes } => {
            response.insert("type".into(), if item.app_library { "APP_LIBRARY" } else { "FOLDER" }.into());
            if item.app_library {
                response.insert("maxDepth".into(), "ANY".into());
                response.insert("icons".into(), json!([]));
                response.insert("supportedExtensions".into(), json!([]));
                response.insert("supportedTypes".into(), json!([]));
            } else {
                response.insert("assetQuota".into(), (bytes + bytes / THUMBNAILS).into());
                response.insert("fileCount".into(), (*files).into());
                response.insert("shareCount".into(), u64::from(item.sharing == Sharing::Root).into());
                response.insert("shareAliasCount".into(), 0.into());
                response.insert("directChildrenCount".into(), children.len().into());
            }
        }
        Body::File(_) | Body::Package(_) => {
            response.insert("type".into(), "FILE".into());
            response.insert("size".into(), item.size().into());
            response.insert("dateModified".into(), rfc3339_seconds(item.modified_ms).into());
            response.insert("dateChanged".into(), rfc3339_seconds(item.modified_ms).into());
        }
    }
    if item.sharing != Sharing::Own {
        add_share(&mut response, &item.zone, &share_name(tree, id));
    }
    Value::Object(response)
}

/// Adds the fields of an item that another account shares.
fn add_share(response: &mut Map<String, Value>, zone: &str, share: &str) {
    response.insert("share".into(), "TO_ME".into());
    response.insert("isChainedToParent".into(), true.into());
    response
        .insert("owner".into(), json!({ "firstName": "Share", "lastName": "Owner", "ownerRecordName": SHARE_OWNER }));
    response.insert(
        "shareID".into(),
        json!({
            "shareName": share,
            "recordName": share,
            "zoneID": { "zoneName": zone, "ownerRecordName": SHARE_OWNER },
        }),
    );
}

/// A folder with its children, as `retrieveItemDetailsInFolders` returns it.
pub(crate) fn folder_listing(tree: &Tree, id: ItemId, partial: bool, hierarchy: bool) -> Value {
    let mut response = drive_item(tree, id);
    let items: Vec<Value> = tree
        .item(id)
        .children()
        .map(|child| if partial { partial_item(tree.item(child)) } else { drive_item(tree, child) })
        .collect();
    response["numberOfItems"] = items.len().into();
    response["items"] = items.into();
    if hierarchy {
        response["hierarchy"] = hierarchy_of(tree, id);
    }
    response
}

pub(crate) fn trash_listing(tree: &Tree) -> Value {
    let items: Vec<Value> = tree.trash().iter().map(|id| drive_item(tree, *id)).collect();
    json!({ "drivewsid": TRASH_ID, "items": items, "numberOfItems": items.len(), "status": "OK" })
}

pub(crate) fn hierarchy_of(tree: &Tree, id: ItemId) -> Value {
    let mut entries = Vec::new();
    let mut next = tree.item(id).parent;
    while let Some(current) = next {
        let item = tree.item(current);
        entries.push(if current == tree.root() {
            json!({ "drivewsid": item.drive_id() })
        } else {
            json!({ "drivewsid": item.drive_id(), "name": names::encoded(&item.name), "etag": item.etag() })
        });
        next = item.parent;
    }
    entries.reverse();
    entries.into()
}

/// An item in the format of `docws`, which is called non-unified.
pub(crate) fn document(tree: &Tree, id: ItemId) -> Value {
    let item = tree.item(id);
    let signature = STANDARD.encode(signature_of(item));
    json!({
        "status": { "status_code": 0, "error_message": "" },
        "document_id": item.document_id,
        "item_id": item.item_id,
        "urls": { "url_download": download_url(item) },
        "etag": item.etag(),
        "parent_id": item.parent.map_or_else(String::new, |parent| tree.item(parent).document_id.clone()),
        "name": names::encoded(&item.name),
        "type": if item.is_folder() { "FOLDER" } else { "FILE" },
        "deleted": tree.is_trashed(id),
        "mtime": item.modified_ms,
        "last_editor_name": "{\"name\":\"\"}",
        "data": {
            "signature": signature,
            "owner": "",
            "size": item.size(),
            "reference_signature": signature,
            "wrapping_key": wrapping_key(item),
            "pcsInfo": "",
        },
        "size": item.size(),
        "btime": item.created_ms,
        "zone": item.zone,
        "file_flags": { "is_executable": true, "is_writable": true, "is_hidden": false },
        "lastOpenedTime": item.modified_ms,
        "restorePath": item.trashed_from,
        "hasChainedParent": true,
    })
}

/// An item in the format of `/v1/item`: whole names, numbers as strings, times in milliseconds.
pub(crate) fn raw_item(tree: &Tree, id: ItemId) -> Value {
    let item = tree.item(id);
    let extension = item.name.rsplit_once('.').map_or("", |(_, extension)| extension);
    json!({
        "item_id": item.item_id,
        "item_info": {
            "name": names::encoded(&item.name),
            "extension": names::encoded(extension),
            "size": item.size().to_string(),
            "type": if item.is_folder() { "FOLDER" } else { "FILE" },
            "version": item.etag(),
            "modified_at": item.modified_ms.to_string(),
            "created_at": item.created_ms.to_string(),
            "urls": { "url_download": download_url(item) },
        },
    })
}

/// The signature of the item's bytes, which responses contain and `update/documents` must repeat.
pub(crate) fn signature_of(item: &Item) -> [u8; 21] {
    match &item.body {
        Body::Folder { .. } => [0; 21],
        Body::File(content) => content.signature(),
        Body::Package(package) => package.signature(),
    }
}

pub(crate) fn wrapping_key(item: &Item) -> String {
    STANDARD.encode(&signature_of(item)[..16])
}

/// The URL of a shared file's content. It is empty for every other item.
fn download_url(item: &Item) -> String {
    if item.sharing == Sharing::Own || item.is_folder() {
        return String::new();
    }
    format!("https://p123-docws.icloud.com:443/v1/download/{}", item.item_id)
}

fn share_name(tree: &Tree, id: ItemId) -> String {
    let item = tree.item(id);
    match item.parent {
        Some(parent) if item.sharing == Sharing::Below => share_name(tree, parent),
        _ => item.document_id.clone(),
    }
}

fn partial_item(item: &Item) -> Value {
    json!({ "drivewsid": item.drive_id(), "docwsid": item.document_id, "etag": item.etag() })
}

pub(crate) fn parent_id(tree: &Tree, item: &Item) -> String {
    item.parent.map_or_else(|| TRASH_ID.to_owned(), |parent| tree.item(parent).drive_id())
}
