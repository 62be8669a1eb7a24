//! Malformed listings.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::drive::encoding;
use crate::drive::tree::Tree;
use crate::json::merge_removing;

/// What is wrong with a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OddListing {
    /// The member `items` is missing.
    WithoutItems,
    /// The member `items` is null.
    NullItems,
    /// The last items are left out.
    Hide {
        /// The number of items left out.
        items: usize,
        /// The counters that still include them.
        counters: Counters,
    },
    /// The folder at this path is listed too: a cycle if it contains the listed folder. The empty
    /// path is the root.
    Folder(String),
    /// One more item. An object is a patch (RFC 7396) of a file named `odd.txt`; any other value is
    /// added as it is.
    Item(Value),
}

/// The counters of a listing that are true for its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counters {
    /// `numberOfItems`, `directChildrenCount` and `fileCount`.
    All,
    /// `directChildrenCount` and `fileCount`; `numberOfItems` is the number of items in the listing.
    OfTheFolder,
    /// Only `fileCount`.
    Files,
}

/// Spoils the listings in a response: that of the folder at `path`, or all of them without a path.
pub(crate) fn spoil(tree: &Tree, response: &mut Value, path: Option<&str>, odd: &OddListing) {
    let wanted = path.map(|path| tree.at(path).map(|id| tree.item(id).drive_id()));
    for listing in response.as_array_mut().into_iter().flatten() {
        let is_wanted = wanted.as_ref().is_none_or(|id| id.as_deref() == listing["drivewsid"].as_str());
        if is_wanted && listing["items"].is_array() {
            spoil_one(tree, listing, odd);
        }
    }
}

fn spoil_one(tree: &Tree, listing: &mut Value, odd: &OddListing) {
    let more = match odd {
        OddListing::WithoutItems => {
            if let Some(members) = listing.as_object_mut() {
                members.remove("items");
            }
            return;
        }
        OddListing::NullItems => {
            listing["items"] = Value::Null;
            return;
        }
        OddListing::Hide { items, counters } => {
            let shown = listing["items"].as_array_mut().map_or(0, |listed| {
                listed.truncate(listed.len().saturating_sub(*items));
                listed.len()
            });
            if *counters != Counters::All {
                listing["numberOfItems"] = shown.into();
            }
            if *counters == Counters::Files {
                listing["directChildrenCount"] = shown.into();
            }
            return;
        }
        OddListing::Folder(path) => tree.at(path).map_or(Value::Null, |id| encoding::drive_item(tree, id)),
        OddListing::Item(patch) if patch.is_object() => {
            let mut item = file(&listing["drivewsid"]);
            merge_removing(&mut item, patch);
            item
        }
        OddListing::Item(other) => other.clone(),
    };
    if let Some(items) = listing["items"].as_array_mut() {
        items.push(more);
        listing["numberOfItems"] = items.len().into();
    }
}

fn file(parent: &Value) -> Value {
    json!({
        "dateCreated": "2023-11-14T22:13:20Z",
        "dateModified": "2023-11-14T22:13:20Z",
        "drivewsid": "FILE::com.apple.CloudDocs::ODD",
        "docwsid": "ODD",
        "item_id": "CJodd",
        "zone": "com.apple.CloudDocs",
        "name": "odd",
        "extension": "txt",
        "parentId": parent,
        "etag": "odd::odd",
        "type": "FILE",
        "size": 3,
        "status": "OK",
    })
}
