//! The tree of the drive: items, their names, counters and etags.

use std::collections::{BTreeMap, HashMap};

use uuid::Builder;

use crate::drive::item::{Body, Item, ItemId, NewItem, Sharing};
use crate::drive::names;
use crate::rules::NameMatching;

pub(crate) const CLOUD_DOCS: &str = "com.apple.CloudDocs";
pub(crate) const TRASH_ID: &str = "TRASH_ROOT";
/// The Trash in the format of a folder's id; responses name it [`TRASH_ID`].
pub(crate) const TRASH_DRIVE_ID: &str = "FOLDER::com.apple.CloudDocs::TRASH_ROOT";

#[derive(Debug)]
pub(crate) struct Tree {
    items: Vec<Item>,
    by_document: HashMap<(String, String), ItemId>,
    by_item_id: HashMap<String, ItemId>,
    root: ItemId,
    trash: Vec<ItemId>,
    changes: u64,
    named: u64,
    seed: u64,
    matching: NameMatching,
}

impl Tree {
    pub(crate) fn new(seed: u64, now_ms: i64) -> Self {
        let mut tree = Self {
            items: Vec::new(),
            by_document: HashMap::new(),
            by_item_id: HashMap::new(),
            root: ItemId(0),
            trash: Vec::new(),
            changes: 100,
            named: 0,
            seed,
            matching: NameMatching::CaseSensitive,
        };
        tree.store(NewItem::folder("", now_ms), CLOUD_DOCS, String::from("root"));
        tree
    }

    pub(crate) fn root(&self) -> ItemId {
        self.root
    }

    pub(crate) fn item(&self, id: ItemId) -> &Item {
        &self.items[id.0]
    }

    pub(crate) fn trash(&self) -> &[ItemId] {
        &self.trash
    }

    /// Returns the size of everything stored, including the Trash, in bytes.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let trashed: u64 = self.trash.iter().map(|id| self.item(*id).size()).sum();
        self.item(self.root).size() + trashed
    }

    /// Returns a new document id; the same seed gives the same ids in the same order.
    pub(crate) fn new_document_id(&mut self) -> String {
        use sha2::{Digest, Sha256};
        self.named += 1;
        let digest = Sha256::digest(format!("{}/{}", self.seed, self.named));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Builder::from_random_bytes(bytes).into_uuid().hyphenated().to_string().to_uppercase()
    }

    pub(crate) fn by_document(&self, zone: &str, document_id: &str) -> Option<ItemId> {
        self.by_document.get(&(zone.to_owned(), document_id.to_owned())).copied()
    }

    /// Returns the item with an id of the form `TYPE::zone::document`, whatever the type is.
    pub(crate) fn by_drive_id(&self, drive_id: &str) -> Option<ItemId> {
        let mut parts = drive_id.splitn(3, "::");
        let (_, zone, document) = (parts.next()?, parts.next()?, parts.next()?);
        self.by_document(zone, document)
    }

    /// Returns the item with an item id, or with a document id in `zone`.
    pub(crate) fn by_any_id(&self, zone: &str, id: &str) -> Option<ItemId> {
        self.by_item_id.get(id).copied().or_else(|| self.by_document(zone, id))
    }

    pub(crate) fn child(&self, folder: ItemId, name: &str) -> Option<ItemId> {
        match &self.item(folder).body {
            Body::Folder { children, .. } => children.get(&names::comparable(name, self.matching)).copied(),
            Body::File(_) | Body::Package(_) => None,
        }
    }

    /// Returns the item at a `/`-separated path from the root; the empty path is the root.
    pub(crate) fn at(&self, path: &str) -> Option<ItemId> {
        path.split('/').filter(|part| !part.is_empty()).try_fold(self.root, |folder, name| self.child(folder, name))
    }

    /// Returns the path from the root without a leading slash; that of an item in the Trash begins
    /// with `TRASH_ROOT/`.
    pub(crate) fn path(&self, id: ItemId) -> String {
        let mut parts = Vec::new();
        let mut next = Some(id);
        while let Some(current) = next {
            let item = self.item(current);
            if current != self.root {
                parts.push(item.name.as_str());
            }
            if item.trashed_from.is_some() {
                parts.push(TRASH_ID);
            }
            next = item.parent;
        }
        parts.reverse();
        parts.join("/")
    }

    /// Changes how names are compared. Two items whose names become equal by this stay two items.
    pub(crate) fn match_names(&mut self, matching: NameMatching) {
        if self.matching == matching {
            return;
        }
        self.matching = matching;
        for index in 0..self.items.len() {
            let ids: Vec<ItemId> = self.items[index].children().collect();
            let mut rekeyed = BTreeMap::new();
            for id in ids {
                let mut key = names::comparable(&self.item(id).name, matching);
                if rekeyed.contains_key(&key) {
                    key = format!("{key}/{}", self.item(id).document_id);
                }
                rekeyed.insert(key, id);
            }
            if let Body::Folder { children, .. } = &mut self.items[index].body {
                *children = rekeyed;
            }
        }
    }

    pub(crate) fn is_trashed(&self, id: ItemId) -> bool {
        let item = self.item(id);
        item.trashed_from.is_some() || item.parent.is_some_and(|parent| self.is_trashed(parent))
    }

    /// Returns whether an item is in a folder that is itself below the root of a share.
    pub(crate) fn is_deep_in_share(&self, id: ItemId) -> bool {
        self.item(id).parent.is_some_and(|parent| self.item(parent).sharing == Sharing::Below)
    }

    pub(crate) fn is_within(&self, id: ItemId, ancestor: ItemId) -> bool {
        id == ancestor || self.item(id).parent.is_some_and(|parent| self.is_within(parent, ancestor))
    }

    /// Returns `name`, or the first of `name 2`, `name 3`, … that is free in `folder`.
    pub(crate) fn free_name(&self, folder: ItemId, name: &str, is_file: bool) -> String {
        if self.child(folder, name).is_none() {
            return name.to_owned();
        }
        (2..)
            .map(|number| names::numbered(name, number, is_file))
            .find(|candidate| self.child(folder, candidate).is_none())
            .unwrap_or_default()
    }

    /// Adds an item to a folder under a name that must be free.
    pub(crate) fn add(&mut self, folder: ItemId, new: NewItem, document_id: Option<String>) -> ItemId {
        let zone = self.item(folder).zone.clone();
        let document_id = document_id.unwrap_or_else(|| self.new_document_id());
        let id = self.store(new, &zone, document_id);
        self.attach(id, folder);
        id
    }

    /// Adds an app's library below the root: a folder with a zone of its own.
    pub(crate) fn add_app_library(&mut self, name: &str, zone: &str, now_ms: i64) -> ItemId {
        let id = self.store(NewItem::folder(name, now_ms), zone, String::from("documents"));
        self.items[id.0].app_library = true;
        self.attach(id, self.root);
        id
    }

    pub(crate) fn set_sharing(&mut self, id: ItemId, sharing: Sharing) {
        self.items[id.0].sharing = sharing;
    }

    /// Removes an item from its folder or from the Trash.
    pub(crate) fn detach(&mut self, id: ItemId) {
        self.trash.retain(|trashed| *trashed != id);
        let item = &mut self.items[id.0];
        item.trashed_from = None;
        let Some(folder) = item.parent.take() else { return };
        let key = names::comparable(&item.name, self.matching);
        if let Body::Folder { children, .. } = &mut self.items[folder.0].body
            && children.get(&key) == Some(&id)
        {
            children.remove(&key);
        } else if let Body::Folder { children, .. } = &mut self.items[folder.0].body {
            children.retain(|_, child| *child != id);
        }
        let (files, bytes) = (self.item(id).files(), self.item(id).size());
        self.count(folder, |all, size| {
            *all -= files;
            *size -= bytes;
        });
    }

    /// Puts a detached item into a folder; its zone becomes the folder's. Two items can get the
    /// same name; paths then lead to the first of them.
    pub(crate) fn attach(&mut self, id: ItemId, folder: ItemId) {
        let mut key = names::comparable(&self.item(id).name, self.matching);
        let suffix = format!("/{}", self.item(id).document_id);
        self.items[id.0].parent = Some(folder);
        if let Body::Folder { children, .. } = &mut self.items[folder.0].body {
            if children.contains_key(&key) {
                key += &suffix;
            }
            children.insert(key, id);
        }
        let (files, bytes) = (self.item(id).files(), self.item(id).size());
        self.count(folder, |all, size| {
            *all += files;
            *size += bytes;
        });
        let (zone, sharing) = (self.item(folder).zone.clone(), self.item(folder).sharing);
        if !self.item(id).app_library {
            self.move_to_zone(id, &zone);
        }
        if sharing != Sharing::Own {
            self.share_below(id);
        }
    }

    /// Moves an item, with everything below it, to the Trash.
    pub(crate) fn trash_item(&mut self, id: ItemId) {
        let path = self.path(id);
        self.detach(id);
        self.items[id.0].trashed_from = Some(path);
        self.trash.push(id);
    }

    pub(crate) fn rename_trashed(&mut self, id: ItemId, name: &str) {
        self.items[id.0].name = name.to_owned();
    }

    /// Deletes an item and everything below it permanently.
    pub(crate) fn erase(&mut self, id: ItemId) {
        self.detach(id);
        let children: Vec<ItemId> = self.item(id).children().collect();
        for child in children {
            self.erase(child);
        }
        let item = &self.items[id.0];
        self.by_document.remove(&(item.zone.clone(), item.document_id.clone()));
        self.by_item_id.remove(&item.item_id.clone());
    }

    pub(crate) fn rename(&mut self, id: ItemId, name: &str) {
        let folder = self.item(id).parent;
        self.detach(id);
        self.items[id.0].name = name.to_owned();
        if let Some(folder) = folder {
            self.attach(id, folder);
        }
    }

    pub(crate) fn set_body(&mut self, id: ItemId, body: Body) {
        let folder = self.item(id).parent;
        self.detach(id);
        self.changes += 1;
        self.items[id.0].body = body;
        self.items[id.0].content_change = self.changes;
        if let Some(folder) = folder {
            self.attach(id, folder);
        }
    }

    pub(crate) fn set_modified(&mut self, id: ItemId, modified_ms: i64) {
        self.items[id.0].modified_ms = modified_ms;
    }

    /// Gives an item a new etag.
    pub(crate) fn touch(&mut self, id: ItemId) {
        self.changes += 1;
        self.items[id.0].change = self.changes;
    }

    fn store(&mut self, new: NewItem, zone: &str, document_id: String) -> ItemId {
        self.changes += 1;
        let id = ItemId(self.items.len());
        let item_id = item_id(zone, &document_id);
        self.by_document.insert((zone.to_owned(), document_id.clone()), id);
        self.by_item_id.insert(item_id.clone(), id);
        self.items.push(Item {
            document_id,
            item_id,
            zone: zone.to_owned(),
            parent: None,
            app_library: false,
            sharing: Sharing::Own,
            name: new.name,
            change: self.changes,
            content_change: self.changes,
            created_ms: new.created_ms,
            modified_ms: new.modified_ms,
            body: new.body,
            trashed_from: None,
        });
        id
    }

    fn count(&mut self, folder: ItemId, change: impl Fn(&mut u64, &mut u64)) {
        let mut next = Some(folder);
        while let Some(current) = next {
            if let Body::Folder { files, bytes, .. } = &mut self.items[current.0].body {
                change(files, bytes);
            }
            next = self.items[current.0].parent;
        }
    }

    fn move_to_zone(&mut self, id: ItemId, zone: &str) {
        if self.item(id).zone == zone {
            return;
        }
        let document_id = self.item(id).document_id.clone();
        let old = std::mem::replace(&mut self.items[id.0].zone, zone.to_owned());
        self.by_document.remove(&(old, document_id.clone()));
        self.by_document.insert((zone.to_owned(), document_id), id);
        let children: Vec<ItemId> = self.item(id).children().collect();
        for child in children {
            self.move_to_zone(child, zone);
        }
    }

    fn share_below(&mut self, id: ItemId) {
        self.items[id.0].sharing = Sharing::Below;
        let children: Vec<ItemId> = self.item(id).children().collect();
        for child in children {
            self.share_below(child);
        }
    }
}

fn item_id(zone: &str, document_id: &str) -> String {
    use base64::Engine;
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{zone}::{document_id}"));
    let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&digest[..20]);
    format!("CJ{encoded}")
}
