//! Shared albums, which have a separate service. The photos of an album are in a zone that the
//! database does not list.

use serde_json::{Value, json};

use super::query::Context;
use super::{Photos, Zone, bad_request, fields};
use crate::rules::PhotosRules;
use crate::transport::message::{Message, Response};

/// The area of the zones of shared albums.
pub(super) const AREA: &str = "sharedstreams";

/// The index of all photos of a zone.
const INDEX: &str = "CPLAssetByAssetDateWithoutHiddenOrDeleted";

/// Returns the response to a request to the host of shared albums.
pub(crate) fn respond(
    photos: &mut Photos,
    rules: &PhotosRules,
    now: i64,
    message: &Message,
) -> Result<Response, Response> {
    let body = message.json()?;
    if message.segment(2) == "webgetalbumslist" {
        let host = message.host.trim_end_matches(":443");
        let albums = photos.zones.iter().filter(|zone| zone.area == AREA).map(|zone| {
            json!({
                "albumguid": zone.name, "albumctag": tag(zone), "ownerdsid": "1000000002", "sharingtype": "subscribed",
                "albumlocation": format!("https://{host}:443/1000000002/sharedstreams/"), "iswebuploadsupported": true,
                "attributes": {
                    "name": zone.title, "creationDate": "1500000000000", "allowcontributions": true, "ispublic": false,
                },
            })
        });
        return Ok(Response::json(200, &json!({ "albums": albums.collect::<Vec<_>>() })));
    }
    let id = body["albumguid"].as_str().unwrap_or_default();
    let zone = photos.zones.iter_mut().find(|zone| zone.area == AREA && zone.name == id);
    let zone = zone.ok_or_else(|| bad_request("no such album"))?;
    zone.sort(INDEX);
    let count = zone.sorted[INDEX].len();
    if message.segment(2) == "webgetassetcount" {
        return Ok(Response::json(200, &json!({ "albumassetcount": (count as i64 + rules.miscount).max(0) })));
    }
    let number = |name: &str| body[name].as_str().and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
    let start = number("offset").min(count);
    let limit = if rules.shared_limit_is_position { number("limit").saturating_sub(start) } else { number("limit") };
    let end = start.saturating_add(limit.min(rules.page_records) / 2).min(count);
    let context = Context { rules, now };
    let records = zone.sorted[INDEX][start..end].iter().flat_map(|id| {
        let (asset, source) = (&zone.assets[id], context.source(&zone.name));
        [fields::master(asset, &source), fields::asset(asset, &source)]
    });
    Ok(Response::json(200, &json!({ "records": records.collect::<Vec<Value>>() })))
}

fn tag(zone: &Zone) -> String {
    format!("FT={}", zone.log.len())
}
