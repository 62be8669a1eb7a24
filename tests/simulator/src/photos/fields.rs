//! Records as the service sends them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Album, Asset, NewAsset, Zone};
use crate::drive::content::Content;

pub(super) const ROOT_FOLDER: &str = "----Root-Folder----";

/// The type of an album that is a folder of albums.
const FOLDER: i64 = 3;

pub(super) fn uuid_of(number: u64) -> String {
    let digest = Sha256::digest(format!("photo/{number}").as_bytes());
    let hex = hex::encode_upper(&digest[..16]);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The name of a master: the fingerprint of its content. `salt` makes the fingerprints of equal
/// test contents differ.
pub(super) fn fingerprint(content: &Content, salt: &str) -> String {
    let digest = Sha256::digest([content.signature().as_slice(), salt.as_bytes()].concat());
    STANDARD.encode([&[1], &digest[..20]].concat())
}

/// The zone of the records and the expiry of their content URLs.
pub(super) struct Source<'a> {
    pub(super) zone: &'a str,
    pub(super) expires_at: i64,
}

pub(super) fn master(asset: &Asset, source: &Source<'_>) -> Value {
    let new = &asset.new;
    let mut fields = Map::new();
    fields.insert("filenameEnc".into(), encrypted(new.filename.as_bytes()));
    fields.insert("itemType".into(), string(&new.file_type));
    resource(&mut fields, "resOriginal", &asset.master, &new.original, &new.file_type, source);
    if let Some(live) = &new.live {
        resource(&mut fields, "resOriginalVidCompl", &asset.master, live, "com.apple.quicktime-movie", source);
    }
    if let Some((alternative, kind)) = &new.alternative {
        resource(&mut fields, "resOriginalAlt", &asset.master, alternative, kind, source);
    }
    // A smaller rendition, which is not a separate file.
    let thumb = Content::Generated { seed: 1, size: 1_000 };
    resource(&mut fields, "resJPEGThumb", &asset.master, &thumb, "public.jpeg", source);
    if asset.deleted {
        fields.insert("isDeleted".into(), number(1));
    }
    spoil(&mut fields, new);
    modified(record("CPLMaster", &asset.master, 0, fields, source.zone), new.master_modified_ms)
}

pub(super) fn asset(asset: &Asset, source: &Source<'_>) -> Value {
    let new = &asset.new;
    let mut fields = Map::new();
    let reference = json!({
        "recordName": asset.master, "action": "DELETE_SELF", "zoneID": { "zoneName": source.zone },
    });
    fields.insert("masterRef".into(), json!({ "value": reference, "type": "REFERENCE" }));
    fields.insert("assetDate".into(), json!({ "value": new.taken_ms, "type": "TIMESTAMP" }));
    fields.insert("addedDate".into(), json!({ "value": new.added_ms, "type": "TIMESTAMP" }));
    fields.insert("timeZoneOffset".into(), number(new.time_zone_offset));
    fields.insert("isFavorite".into(), number(i64::from(new.favorite)));
    fields.insert("isHidden".into(), number(i64::from(new.hidden)));
    if asset.deleted {
        fields.insert("isDeleted".into(), number(1));
    }
    if let Some((burst, shown)) = &new.burst {
        fields.insert("burstId".into(), string(burst));
        fields.insert("burstFlags".into(), number(if *shown { 24 } else { 2 }));
    }
    for (key, text) in [("captionEnc", &new.title), ("extendedDescEnc", &new.description)] {
        if !text.is_empty() {
            fields.insert(key.into(), encrypted(text.as_bytes()));
        }
    }
    if let Some((latitude, longitude)) = new.place {
        fields.insert("locationLatitude".into(), json!({ "value": latitude, "type": "DOUBLE" }));
        fields.insert("locationLongitude".into(), json!({ "value": longitude, "type": "DOUBLE" }));
    }
    if let Some((edited, kind)) = &new.edited {
        fields.insert("adjustmentType".into(), string("com.apple.photo"));
        let prefix = if kind.contains("movie") { "resVidFull" } else { "resJPEGFull" };
        resource(&mut fields, prefix, &asset.id, edited, kind, source);
    }
    spoil(&mut fields, new);
    modified(record("CPLAsset", &asset.id, asset.changes, fields, source.zone), new.modified_ms)
}

/// Adds the time of the last change to a record.
fn modified(mut record: Value, at_ms: i64) -> Value {
    record["modified"] = json!({ "timestamp": at_ms, "userRecordName": "_owner" });
    record
}

/// Replaces the odd fields.
fn spoil(fields: &mut Map<String, Value>, new: &NewAsset) {
    for (name, value) in &new.odd_fields {
        if value.is_null() {
            fields.remove(*name);
        } else {
            fields.insert((*name).to_owned(), json!({ "value": value, "type": "STRING" }));
        }
    }
}

pub(super) fn album(album: &Album, zone: &str) -> Value {
    let mut fields = Map::new();
    fields.insert("albumNameEnc".into(), encrypted(album.name.as_bytes()));
    fields.insert("albumType".into(), number(if album.is_folder { FOLDER } else { 0 }));
    fields.insert("parentId".into(), string(&album.parent));
    record("CPLAlbum", &album.id, 0, fields, zone)
}

/// The record of the folder that contains all albums; lists of albums contain it too.
pub(super) fn root_folder(zone: &str) -> Value {
    record("CPLAlbum", ROOT_FOLDER, 0, Map::from_iter([("albumType".into(), number(FOLDER))]), zone)
}

pub(super) fn relation(album: &Album, asset: &str, zone: &str) -> Value {
    let position = album.assets.iter().position(|member| member == asset).unwrap_or_default();
    let mut fields = Map::new();
    fields.insert("containerId".into(), string(&album.id));
    fields.insert("itemId".into(), string(asset));
    fields.insert("position".into(), number(1024 * (position as i64 + 1)));
    record("CPLContainerRelation", &relation_name(asset, &album.id), 0, fields, zone)
}

pub(super) fn relation_name(asset: &str, album: &str) -> String {
    format!("{asset}-IN-{album}")
}

pub(super) fn gone(name: &str) -> Value {
    json!({ "recordName": name, "recordType": null, "deleted": true, "recordChangeTag": "gone" })
}

/// Removes the fields that the list `desired` does not name. Without a list, all fields stay.
pub(super) fn only(mut record: Value, desired: &Value) -> Value {
    if let (Some(fields), Some(keys)) = (record["fields"].as_object_mut(), desired.as_array()) {
        fields.retain(|key, _| keys.iter().any(|wanted| wanted == key));
    }
    record
}

/// Returns the content of a resource of a record, by the name of its field.
pub(super) fn content<'a>(zone: &'a Zone, record: &str, field: &str) -> Option<&'a Content> {
    let found = zone.assets.get(record).or_else(|| zone.master(record))?;
    match field {
        "resOriginalRes" => Some(&found.new.original),
        "resOriginalVidComplRes" => found.new.live.as_ref(),
        "resOriginalAltRes" => found.new.alternative.as_ref().map(|(content, _)| content),
        "resJPEGFullRes" | "resVidFullRes" => found.new.edited.as_ref().map(|(content, _)| content),
        _ => None,
    }
}

fn record(kind: &str, name: &str, tag: u64, fields: Map<String, Value>, zone: &str) -> Value {
    json!({
        "recordName": name, "recordType": kind, "recordChangeTag": format!("t{tag}"), "deleted": false,
        "fields": fields, "zoneID": { "zoneName": zone, "zoneType": "REGULAR_CUSTOM_ZONE" },
    })
}

fn resource(
    fields: &mut Map<String, Value>,
    prefix: &str,
    record: &str,
    content: &Content,
    kind: &str,
    source: &Source<'_>,
) {
    let checksum = STANDARD.encode(content.signature());
    let field = format!("{prefix}Res");
    let subject = json!([source.zone, record, field, source.expires_at]).to_string();
    let url = format!(
        "https://cvws-h2.icloud-content.com/B/{}/${{f}}?o=photo&v=1&x=3&e={}&s=photo.{}",
        URL_SAFE_NO_PAD.encode(content.signature()),
        source.expires_at,
        URL_SAFE_NO_PAD.encode(subject)
    );
    let value = json!({
        "fileChecksum": checksum, "size": content.size(), "wrappingKey": "AAAAAAAAAAAAAAAAAAAAAA==",
        "referenceChecksum": checksum, "downloadURL": url,
    });
    fields.insert(field, json!({ "value": value, "type": "ASSETID" }));
    fields.insert(format!("{prefix}FileType"), string(kind));
    fields.insert(format!("{prefix}Fingerprint"), string(&checksum));
}

/// Returns the zone, record, field and expiry in the token of a content URL.
pub(super) fn decoded(token: &str) -> Option<(String, String, String, i64)> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix("photo.")?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn encrypted(bytes: &[u8]) -> Value {
    json!({ "value": STANDARD.encode(bytes), "type": "ENCRYPTED_BYTES" })
}

fn string(text: &str) -> Value {
    json!({ "value": text, "type": "STRING" })
}

fn number(value: i64) -> Value {
    json!({ "value": value, "type": "INT64" })
}

/// Adds the zones, records, indexes and albums that a request names to `subjects`.
pub(crate) fn subjects(body: &Value, subjects: &mut Vec<String>) {
    match body {
        Value::Array(values) => values.iter().for_each(|inner| self::subjects(inner, subjects)),
        Value::Object(members) => {
            for (key, inner) in members {
                match inner {
                    // The value of a filter is an album's id.
                    Value::String(text)
                        if ["zoneName", "recordName", "recordType", "value", "albumguid"].contains(&key.as_str()) =>
                    {
                        subjects.push(text.clone());
                    }
                    _ => self::subjects(inner, subjects),
                }
            }
        }
        _ => {}
    }
}
