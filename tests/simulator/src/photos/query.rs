//! Queries of indexes, lookups of records, and counts.

use serde_json::{Value, json};

use super::fields::{self, Source};
use super::{Album, Photos, Zone, bad_request};
use crate::drive::content::Content;
use crate::rules::PhotosRules;
use crate::transport::message::{Message, Response};

pub(super) struct Context<'a> {
    pub(super) rules: &'a PhotosRules,
    pub(super) now: i64,
}

impl Context<'_> {
    pub(super) fn source<'z>(&self, zone: &'z str) -> Source<'z> {
        Source { zone, expires_at: self.now + self.rules.url_lifetime_seconds }
    }
}

/// The indexes of assets: the name in queries with masters, and the name in queries without them
/// and in counts.
const INDEXES: [(&str, &str); 4] = [
    ("CPLAssetAndMasterByAssetDateWithoutHiddenOrDeleted", "CPLAssetByAssetDateWithoutHiddenOrDeleted"),
    ("CPLAssetAndMasterHiddenByAssetDate", "CPLAssetHiddenByAssetDate"),
    ("CPLAssetAndMasterDeletedByExpungedDate", "CPLAssetDeletedByExpungedDate"),
    ("CPLBurstStackAssetAndMasterByAssetDate", "CPLAssetBurstStackAssetByAssetDate"),
];

/// The type of queries for the number of items in an index.
const COUNT: &str = "HyperionIndexCountLookup";

/// The index of smart albums in queries, which a filter selects.
const SMART_ALBUM: &str = "CPLAssetAndMasterInSmartAlbumByAssetDate";

/// The index of smart albums in counts, before the name of the smart album.
const SMART_ALBUM_COUNTS: &str = "CPLAssetInSmartAlbumByAssetDate:";

pub(super) fn records(zone: &mut Zone, context: &Context<'_>, body: &Value) -> Result<Value, Response> {
    let kind = body["query"]["recordType"].as_str().unwrap_or_default().to_owned();
    let records = match kind.as_str() {
        "CheckIndexingState" => {
            let state = json!({ "value": context.rules.indexing_state, "type": "STRING" });
            vec![json!({ "recordName": "_e", "recordType": kind, "fields": { "state": state } })]
        }
        COUNT => return Ok(count(zone, context.rules, body)),
        "CPLAlbumByPositionLive" => return albums(zone, context, body),
        "CPLContainerRelationLiveByAssetDate" => members(zone, context, body)?,
        SMART_ALBUM => {
            let name = filter(body, "smartAlbum").as_str().unwrap_or_default().to_ascii_lowercase();
            assets(zone, context, body, &format!("{SMART_ALBUM_COUNTS}{name}"), true)
        }
        _ => {
            let with_masters = INDEXES.iter().find(|(list, _)| *list == kind);
            let alone = INDEXES.iter().find(|(_, count)| *count == kind && context.rules.asset_only_queries);
            let (_, index) = with_masters.or(alone).ok_or_else(|| bad_request("Unexpected recordType"))?;
            assets(zone, context, body, index, with_masters.is_some())
        }
    };
    let records: Vec<Value> = records.into_iter().map(|record| fields::only(record, &body["desiredKeys"])).collect();
    Ok(json!({ "records": records, "syncToken": super::changes::token(zone, zone.log.len()) }))
}

fn assets(zone: &mut Zone, context: &Context<'_>, body: &Value, index: &str, with_masters: bool) -> Vec<Value> {
    let each = if with_masters { 2 } else { 1 };
    zone.sort(index);
    let zone = &*zone;
    let source = context.source(&zone.name);
    let mut records = Vec::new();
    for id in page(&zone.sorted[index], context, body, each) {
        let asset = &zone.assets[id];
        if with_masters {
            records.push(fields::master(asset, &source));
        }
        records.push(fields::asset(asset, &source));
    }
    records
}

/// Returns the part of an index that a request selects by `startRank` and `direction`.
fn page<'a>(ids: &'a [String], context: &Context<'_>, body: &Value, records_each: usize) -> Vec<&'a String> {
    let start = usize::try_from(filter(body, "startRank").as_i64().unwrap_or_default()).unwrap_or_default();
    let limit = body["resultsLimit"].as_u64().unwrap_or(200) as usize;
    let most = limit.min(context.rules.page_records) / records_each;
    if filter(body, "direction") == "DESCENDING" {
        return ids.iter().take(start + 1).rev().take(most).collect();
    }
    ids.iter().skip(start).take(most).collect()
}

fn filter<'a>(body: &'a Value, name: &str) -> &'a Value {
    let filters = body["query"]["filterBy"].as_array().map_or(&[][..], Vec::as_slice);
    filters
        .iter()
        .find(|filter| filter["fieldName"] == name)
        .map_or(&Value::Null, |filter| &filter["fieldValue"]["value"])
}

fn albums(zone: &Zone, context: &Context<'_>, body: &Value) -> Result<Value, Response> {
    if zone.name != super::PRIMARY_ZONE {
        return Err(bad_request("Index has invalid data"));
    }
    let parent = filter(body, "parentId").as_str().unwrap_or(fields::ROOT_FOLDER);
    let start: usize = body["continuationMarker"].as_str().and_then(|marker| marker.parse().ok()).unwrap_or_default();
    let of_parent: Vec<&Album> = zone.albums.iter().filter(|album| album.parent == parent).collect();
    let mut records: Vec<Value> = Vec::new();
    if parent == fields::ROOT_FOLDER && start == 0 {
        records.push(fields::root_folder(&zone.name));
    }
    let end = (start + context.rules.page_records).min(of_parent.len());
    records.extend(of_parent[start..end].iter().map(|album| fields::album(album, &zone.name)));
    let mut response = json!({ "records": records, "syncToken": super::changes::token(zone, zone.log.len()) });
    if end < of_parent.len() {
        response["continuationMarker"] = json!(end.to_string());
    }
    Ok(response)
}

fn members(zone: &Zone, context: &Context<'_>, body: &Value) -> Result<Vec<Value>, Response> {
    let id = filter(body, "parentId").as_str().unwrap_or_default();
    let album = zone.albums.iter().find(|album| album.id == id).ok_or_else(|| bad_request("no such parent"))?;
    let mut ids = zone.live_members(album);
    ids.sort_by_key(|id| (zone.assets[id].new.taken_ms, id.clone()));
    let source = context.source(&zone.name);
    let records = page(&ids, context, body, 3).into_iter().flat_map(|id| {
        let asset = &zone.assets[id];
        let relation = fields::relation(album, id, &zone.name);
        [relation, fields::asset(asset, &source), fields::master(asset, &source)]
    });
    Ok(records.collect())
}

pub(super) fn lookup(zone: &Zone, context: &Context<'_>, body: &Value) -> Result<Value, Response> {
    let requested = body["records"].as_array().filter(|requested| requested.len() <= context.rules.lookup_max);
    let requested = requested.ok_or_else(|| bad_request("limit exceeded"))?;
    let source = context.source(&zone.name);
    let found = requested.iter().map(|request| {
        let name = request["recordName"].as_str().unwrap_or_default();
        let asset = zone.assets.get(name).map(|asset| fields::asset(asset, &source));
        let master = || zone.master(name).map(|asset| fields::master(asset, &source));
        let album = || zone.albums.iter().find(|album| album.id == name).map(|album| fields::album(album, &zone.name));
        match asset.or_else(master).or_else(album) {
            Some(record) => fields::only(record, &body["desiredKeys"]),
            None => json!({ "recordName": name, "reason": "Record not found", "serverErrorCode": "NOT_FOUND" }),
        }
    });
    Ok(json!({ "records": found.collect::<Vec<_>>() }))
}

pub(super) fn count(zone: &mut Zone, rules: &PhotosRules, request: &Value) -> Value {
    let name = request["query"]["filterBy"]["fieldValue"]["value"][0].as_str().unwrap_or_default().to_owned();
    let album = name.strip_prefix("CPLContainerRelationNotDeletedByAssetDate:");
    let miscount = if album.is_some() { rules.album_miscount } else { rules.miscount };
    let count = match album {
        Some(id) => zone.albums.iter().find(|album| album.id == id).map_or(0, |album| zone.live_members(album).len()),
        None if name.starts_with(SMART_ALBUM_COUNTS) => {
            let album = name[SMART_ALBUM_COUNTS.len()..].to_ascii_lowercase();
            zone.assets.values().filter(|asset| asset.is_in_smart_album(&album)).count()
        }
        None if INDEXES.iter().any(|(_, index)| *index == name) => {
            zone.sort(&name);
            zone.sorted[&name].len()
        }
        None => 0,
    };
    let count = (count as i64 + miscount).max(0);
    let fields = json!({ "itemCount": { "value": count, "type": "INT64" } });
    json!({ "records": [{ "recordName": name, "recordType": COUNT, "fields": fields }] })
}

impl Zone {
    fn live_members(&self, album: &Album) -> Vec<String> {
        let live = |id: &&String| self.assets.get(*id).is_some_and(|asset| !asset.deleted);
        album.assets.iter().filter(live).cloned().collect()
    }

    /// Fills `sorted` for an index, unless it is filled already.
    pub(super) fn sort(&mut self, index: &str) {
        if self.sorted.contains_key(index) {
            return;
        }
        let belongs = |asset: &&super::Asset| match index {
            "CPLAssetHiddenByAssetDate" => asset.new.hidden && !asset.deleted,
            "CPLAssetDeletedByExpungedDate" => asset.deleted,
            "CPLAssetBurstStackAssetByAssetDate" => asset.new.burst.is_some() && !asset.deleted && !asset.new.hidden,
            _ => match index.strip_prefix(SMART_ALBUM_COUNTS) {
                Some(album) => asset.is_in_smart_album(album),
                None => asset.in_main_index(),
            },
        };
        let mut found: Vec<&super::Asset> = self.assets.values().filter(belongs).collect();
        found.sort_by(|a, b| (a.new.taken_ms, &a.id).cmp(&(b.new.taken_ms, &b.id)));
        let ids = found.into_iter().map(|asset| asset.id.clone()).collect();
        self.sorted.insert(index.to_owned(), ids);
    }
}

/// Returns what the content URL of a photo grants access to: the content, the time at which the URL
/// expires, and the subject for the journal: the name of the file and the field.
pub(crate) fn content_of(photos: &Photos, message: &Message) -> Option<(Content, i64, String)> {
    let (zone, record, field, expires_at) = fields::decoded(message.query("s"))?;
    let zone = photos.zones.iter().find(|candidate| candidate.name == zone)?;
    let content = fields::content(zone, &record, &field)?.clone();
    let asset = zone.assets.get(&record).or_else(|| zone.master(&record))?;
    Some((content, expires_at, format!("{}/{field}", asset.new.filename)))
}
