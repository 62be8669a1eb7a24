//! The changes since a sync token.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::query::Context;
use super::{Changed, Photos, Zone, fields};

pub(super) fn token(zone: &Zone, position: usize) -> String {
    STANDARD.encode(format!("sync/{}/{position:012}", zone.name))
}

fn position_of(zone: &Zone, token: &str) -> Option<usize> {
    let bytes = STANDARD.decode(token).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.strip_prefix(&format!("sync/{}/", zone.name))?.parse().ok()
}

/// Returns all zones of an area.
pub(super) fn database(photos: &Photos, area: &str) -> Value {
    let zones = photos.zones.iter().filter(|zone| zone.area == area).map(|zone| {
        let owner = if area == "private" { "_owner" } else { "_other" };
        let id = json!({ "zoneName": zone.name, "ownerRecordName": owner, "zoneType": "REGULAR_CUSTOM_ZONE" });
        json!({ "zoneID": id, "syncToken": token(zone, zone.log.len()) })
    });
    json!({ "syncToken": "database", "moreComing": false, "zones": zones.collect::<Vec<_>>() })
}

pub(super) fn zones(photos: &Photos, context: &Context<'_>, area: &str, body: &Value) -> Value {
    let requested = body["zones"].as_array().map_or(&[][..], Vec::as_slice);
    let pages = requested.iter().map(|request| {
        let name = request["zoneID"]["zoneName"].as_str().unwrap_or_default();
        let desired = &request["desiredKeys"];
        let refused = |code: &str, reason: &str| {
            json!({ "zoneID": { "zoneName": name }, "serverErrorCode": code, "reason": reason })
        };
        match photos.zones.iter().find(|zone| zone.name == name && zone.area == area) {
            None => refused("ZONE_NOT_FOUND", "Zone does not exist"),
            Some(zone) => match request["syncToken"].as_str() {
                None => page(zone, context, 0, desired),
                Some("") => page(zone, context, zone.log.len(), desired),
                Some(token) => match position_of(zone, token).filter(|_| context.rules.accepts_tokens) {
                    Some(position) => page(zone, context, position, desired),
                    None => refused("BAD_REQUEST", "Unknown sync continuation type"),
                },
            },
        }
    });
    json!({ "zones": pages.collect::<Vec<_>>() })
}

/// Returns a page. Each record appears only at its last change, so a page can be empty although
/// more is coming.
fn page(zone: &Zone, context: &Context<'_>, start: usize, desired: &Value) -> Value {
    let end = (start + context.rules.page_records).min(zone.log.len());
    let later: HashSet<&Changed> = zone.log[end..].iter().collect();
    let mut seen = HashSet::new();
    let mut records = Vec::new();
    for changed in zone.log[start..end].iter().rev() {
        if !later.contains(changed) && seen.insert(changed) {
            records.push(fields::only(record(zone, context, changed), desired));
        }
    }
    records.reverse();
    json!({
        "zoneID": { "zoneName": zone.name, "zoneType": "REGULAR_CUSTOM_ZONE" },
        "syncToken": token(zone, end), "moreComing": end < zone.log.len(), "records": records,
    })
}

fn record(zone: &Zone, context: &Context<'_>, changed: &Changed) -> Value {
    let source = context.source(&zone.name);
    match changed {
        Changed::Asset(id) => {
            zone.assets.get(id).map_or_else(|| fields::gone(id), |asset| fields::asset(asset, &source))
        }
        Changed::Master(id) => zone.master(id).map_or_else(|| fields::gone(id), |asset| fields::master(asset, &source)),
        Changed::Album(id) => {
            let found = zone.albums.iter().find(|album| album.id == *id);
            found.map_or_else(|| fields::gone(id), |album| fields::album(album, &zone.name))
        }
        Changed::Relation { asset, album } => {
            let found = zone.albums.iter().find(|candidate| candidate.id == *album && candidate.assets.contains(asset));
            found.map_or_else(
                || fields::gone(&fields::relation_name(asset, album)),
                |found| fields::relation(found, asset, &zone.name),
            )
        }
    }
}
