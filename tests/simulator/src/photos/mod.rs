//! iCloud Photos: the libraries, and the database host that serves them.

mod asset;
mod changes;
mod fields;
mod query;
pub(crate) mod shared;

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::rules::PhotosRules;
use crate::transport::message::{Message, Response};

pub(crate) use asset::Asset;
pub use asset::NewAsset;
pub(crate) use fields::subjects;
pub(crate) use query::content_of;

/// The zone of an account's own library.
pub const PRIMARY_ZONE: &str = "PrimarySync";

#[derive(Clone, Debug)]
pub(crate) struct Album {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) parent: String,
    pub(crate) is_folder: bool,
    /// The ids of the assets, in the album's order.
    pub(crate) assets: Vec<String>,
}

/// A record that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Changed {
    Asset(String),
    Master(String),
    Album(String),
    Relation { asset: String, album: String },
}

#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) name: String,
    /// `private`, `shared`, or that of shared albums.
    pub(crate) area: &'static str,
    /// The title of a shared album.
    title: String,
    pub(crate) assets: HashMap<String, Asset>,
    /// One asset of each master.
    masters: HashMap<String, String>,
    pub(crate) albums: Vec<Album>,
    /// Every change, the oldest first. A sync token is a position in this list.
    pub(crate) log: Vec<Changed>,
    /// The sorted ids of each index, until the next change.
    sorted: HashMap<String, Vec<String>>,
}

/// The libraries of an account.
#[derive(Debug)]
pub struct Photos {
    pub(crate) zones: Vec<Zone>,
    ids: u64,
    queries: u64,
    /// The queries whose page was empty once.
    spoiled: HashSet<String>,
}

impl Default for Photos {
    fn default() -> Self {
        let mut photos = Self { zones: Vec::new(), ids: 0, queries: 0, spoiled: HashSet::new() };
        photos.add_zone(PRIMARY_ZONE, false);
        photos
    }
}

impl Photos {
    /// Adds a zone; a name like `SharedSync-…` makes it a shared library. With `of_others`, another
    /// account owns it, so it is in the shared database.
    pub fn add_zone(&mut self, name: &str, of_others: bool) {
        self.push_zone(name, if of_others { "shared" } else { "private" }, "");
    }

    /// Removes a zone, as if the account had left the library or the service did not find it.
    pub fn remove_zone(&mut self, name: &str) {
        self.zones.retain(|zone| zone.name != name);
    }

    /// Adds a shared album and returns its id, which is the zone of its photos.
    pub fn add_shared_album(&mut self, title: &str) -> String {
        let id = self.new_id();
        self.push_zone(&id, shared::AREA, title);
        id
    }

    fn push_zone(&mut self, name: &str, area: &'static str, title: &str) {
        self.zones.push(Zone {
            name: name.to_owned(),
            area,
            title: title.to_owned(),
            assets: HashMap::new(),
            masters: HashMap::new(),
            albums: Vec::new(),
            log: Vec::new(),
            sorted: HashMap::new(),
        });
    }

    /// Adds an asset to a zone, and returns its id.
    ///
    /// # Panics
    /// Panics if there is no such zone.
    pub fn add(&mut self, zone: &str, new: NewAsset) -> String {
        let id = self.new_id();
        let master = fields::fingerprint(&new.original, &id);
        let asset = Asset { id: id.clone(), master: master.clone(), new, deleted: false, changes: 0 };
        let zone = self.zone_mut(zone);
        zone.assets.insert(id.clone(), asset);
        zone.masters.insert(master.clone(), id.clone());
        zone.changed(Changed::Master(master));
        zone.changed(Changed::Asset(id.clone()));
        id
    }

    /// Duplicates an asset as a phone does: a second asset of the same master.
    ///
    /// # Panics
    /// Panics if there is no such asset.
    pub fn duplicate(&mut self, zone: &str, id: &str) -> String {
        let copy = self.new_id();
        let zone = self.zone_mut(zone);
        let mut asset = zone.assets[id].clone();
        asset.id.clone_from(&copy);
        zone.assets.insert(copy.clone(), asset);
        zone.changed(Changed::Asset(copy.clone()));
        copy
    }

    /// Changes an asset's own record, not its master.
    ///
    /// # Panics
    /// Panics if there is no such asset.
    pub fn change(&mut self, zone: &str, id: &str, change: impl FnOnce(&mut NewAsset)) {
        let zone = self.zone_mut(zone);
        let asset = zone.assets.get_mut(id).expect("no such asset");
        asset.changes += 1;
        change(&mut asset.new);
        zone.changed(Changed::Asset(id.to_owned()));
    }

    /// Moves an asset to Recently Deleted or back.
    ///
    /// # Panics
    /// Panics if there is no such asset.
    pub fn set_deleted(&mut self, zone: &str, id: &str, deleted: bool) {
        let zone = self.zone_mut(zone);
        let asset = zone.assets.get_mut(id).expect("no such asset");
        asset.deleted = deleted;
        asset.changes += 1;
        let master = asset.master.clone();
        zone.changed(Changed::Master(master));
        zone.changed(Changed::Asset(id.to_owned()));
    }

    /// Deletes an asset permanently.
    ///
    /// # Panics
    /// Panics if there is no such zone.
    pub fn expunge(&mut self, zone: &str, id: &str) {
        let zone = self.zone_mut(zone);
        let Some(asset) = zone.assets.remove(id) else { return };
        for album in zone.albums.iter_mut().filter(|album| album.assets.iter().any(|member| member == id)) {
            album.assets.retain(|member| member != id);
            zone.log.push(Changed::Relation { asset: id.to_owned(), album: album.id.clone() });
        }
        match zone.assets.values().find(|other| other.master == asset.master) {
            Some(other) => drop(zone.masters.insert(asset.master, other.id.clone())),
            None => {
                zone.masters.remove(&asset.master);
                zone.changed(Changed::Master(asset.master));
            }
        }
        zone.changed(Changed::Asset(id.to_owned()));
    }

    /// Adds an album, or a folder of albums, to a folder, and returns its id; the folder `""` is
    /// the top.
    ///
    /// # Panics
    /// Panics if there is no such zone.
    pub fn add_album(&mut self, zone: &str, name: &str, folder: &str, is_folder: bool) -> String {
        let id = self.new_id();
        let parent = if folder.is_empty() { fields::ROOT_FOLDER } else { folder };
        let album =
            Album { id: id.clone(), name: name.to_owned(), parent: parent.to_owned(), is_folder, assets: Vec::new() };
        let zone = self.zone_mut(zone);
        zone.albums.push(album);
        zone.changed(Changed::Album(id.clone()));
        id
    }

    /// Returns the id of the first album with a name.
    ///
    /// # Panics
    /// Panics if there is no such album.
    #[must_use]
    pub fn album_named(&self, zone: &str, name: &str) -> String {
        let zone = self.zones.iter().find(|candidate| candidate.name == zone).expect("no such zone");
        zone.albums.iter().find(|album| album.name == name).expect("no such album").id.clone()
    }

    /// Renames an album.
    ///
    /// # Panics
    /// Panics if there is no such zone.
    pub fn rename_album(&mut self, zone: &str, album: &str, name: &str) {
        let zone = self.zone_mut(zone);
        if let Some(found) = zone.albums.iter_mut().find(|candidate| candidate.id == album) {
            name.clone_into(&mut found.name);
        }
        zone.changed(Changed::Album(album.to_owned()));
    }

    /// Moves an album, or a folder of albums, to another folder.
    ///
    /// # Panics
    /// Panics if there is no such zone.
    pub fn move_album(&mut self, zone: &str, album: &str, folder: &str) {
        let zone = self.zone_mut(zone);
        if let Some(found) = zone.albums.iter_mut().find(|candidate| candidate.id == album) {
            folder.clone_into(&mut found.parent);
        }
        zone.changed(Changed::Album(album.to_owned()));
    }

    /// Removes an album, but none of its assets.
    ///
    /// # Panics
    /// Panics if there is no such zone.
    pub fn remove_album(&mut self, zone: &str, album: &str) {
        let zone = self.zone_mut(zone);
        zone.albums.retain(|candidate| candidate.id != album);
        zone.changed(Changed::Album(album.to_owned()));
    }

    /// Adds an asset to an album, or removes it from the album.
    ///
    /// # Panics
    /// Panics if there is no such album.
    pub fn set_member(&mut self, zone: &str, album: &str, asset: &str, is_member: bool) {
        let zone = self.zone_mut(zone);
        let found = zone.albums.iter_mut().find(|candidate| candidate.id == album).expect("no such album");
        found.assets.retain(|member| member != asset);
        if is_member {
            found.assets.push(asset.to_owned());
        }
        zone.changed(Changed::Relation { asset: asset.to_owned(), album: album.to_owned() });
        zone.changed(Changed::Album(album.to_owned()));
    }

    fn new_id(&mut self) -> String {
        self.ids += 1;
        fields::uuid_of(self.ids)
    }

    fn zone_mut(&mut self, name: &str) -> &mut Zone {
        self.zones.iter_mut().find(|zone| zone.name == name).expect("no such zone")
    }
}

impl Zone {
    fn changed(&mut self, record: Changed) {
        self.log.push(record);
        self.sorted.clear();
    }

    pub(crate) fn master(&self, id: &str) -> Option<&Asset> {
        self.assets.get(self.masters.get(id)?)
    }
}

/// Returns the response to a request to the database host.
pub(crate) fn respond(
    photos: &mut Photos,
    rules: &PhotosRules,
    now: i64,
    message: &Message,
) -> Result<Response, Response> {
    let area = message.segment(4).to_owned();
    let operation = message.path.split('/').skip(6).collect::<Vec<_>>().join("/");
    let body = message.json()?;
    photos.queries += 1;
    let context = query::Context { rules, now };
    match operation.as_str() {
        "records/query" => {
            let nth = rules.empty_pages > 0 && photos.queries.is_multiple_of(rules.empty_pages);
            // Concurrent queries come in any order, so a repeated one could be an n-th query again.
            let spoiled = nth && photos.spoiled.insert(body["query"].to_string());
            let zone = zone_of(photos, &area, &body)?;
            let mut page = query::records(zone, &context, &body)?;
            if spoiled && page["records"].as_array().is_some_and(|records| records.len() > 1) {
                page["records"] = json!([]);
            }
            Ok(Response::json(200, &page))
        }
        "records/lookup" => {
            let zone = zone_of(photos, &area, &body)?;
            query::lookup(zone, &context, &body).map(|found| Response::json(200, &found))
        }
        "internal/records/query/batch" => {
            let counted = body["batch"].as_array().ok_or_else(|| bad_request("no batch"))?;
            let mut batch = Vec::new();
            for request in counted {
                let zone = zone_of(photos, &area, request)?;
                batch.push(query::count(zone, rules, request));
            }
            Ok(Response::json(200, &json!({ "batch": batch })))
        }
        "changes/database" | "zones/list" => Ok(Response::json(200, &changes::database(photos, &area))),
        "changes/zone" => Ok(Response::json(200, &changes::zones(photos, &context, &area, &body))),
        _ => Err(Response::service_error(404, "Not Found")),
    }
}

fn zone_of<'a>(photos: &'a mut Photos, area: &str, body: &Value) -> Result<&'a mut Zone, Response> {
    let name = body["zoneID"]["zoneName"].as_str().unwrap_or_default();
    let found = photos.zones.iter_mut().find(|zone| zone.name == name && zone.area == area);
    found.ok_or_else(|| Response::cloudkit_error(404, "ZONE_NOT_FOUND", "Zone does not exist"))
}

fn bad_request(reason: &str) -> Response {
    Response::cloudkit_error(400, "BAD_REQUEST", reason)
}
