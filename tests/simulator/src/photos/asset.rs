//! A photo or a video of a library.

use serde_json::Value;

use crate::drive::content::Content;

/// The properties of a new asset.
#[derive(Clone, Debug)]
pub struct NewAsset {
    /// The name of the original file.
    pub filename: String,
    /// The uniform type identifier of the original.
    pub file_type: String,
    /// The time at which it was taken, in milliseconds since 1970.
    pub taken_ms: i64,
    /// The time at which it was added, in milliseconds since 1970.
    pub added_ms: i64,
    /// The time at which it was last changed, in milliseconds since 1970.
    pub modified_ms: i64,
    /// The time at which the master was last changed, in milliseconds since 1970.
    pub master_modified_ms: i64,
    /// The offset of the time zone, in seconds east of UTC.
    pub time_zone_offset: i64,
    /// The original.
    pub original: Content,
    /// The video of a live photo.
    pub live: Option<Content>,
    /// The other original of a RAW pair, and its type identifier.
    pub alternative: Option<(Content, String)>,
    /// The edited version, and its type identifier.
    pub edited: Option<(Content, String)>,
    /// Whether the asset is a favourite.
    pub favorite: bool,
    /// Whether the asset is hidden.
    pub hidden: bool,
    /// Whether the asset is a screenshot.
    pub screenshot: bool,
    /// The burst that the asset belongs to, and whether it is the asset shown for the burst.
    pub burst: Option<(String, bool)>,
    /// The title.
    pub title: String,
    /// The description.
    pub description: String,
    /// Latitude and longitude.
    pub place: Option<(f64, f64)>,
    /// Fields that the records have in place of their own, in the form of the service; `null` stands for none.
    pub odd_fields: Vec<(&'static str, Value)>,
}

impl NewAsset {
    /// An image with only the required properties.
    #[must_use]
    pub fn image(filename: &str, taken_ms: i64, original: Content) -> Self {
        Self {
            filename: filename.to_owned(),
            file_type: String::from("public.heic"),
            taken_ms,
            added_ms: taken_ms,
            modified_ms: taken_ms,
            master_modified_ms: taken_ms,
            time_zone_offset: 0,
            original,
            live: None,
            alternative: None,
            edited: None,
            favorite: false,
            hidden: false,
            screenshot: false,
            burst: None,
            title: String::new(),
            description: String::new(),
            place: None,
            odd_fields: Vec::new(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Asset {
    pub(crate) id: String,
    pub(crate) master: String,
    pub(crate) new: NewAsset,
    pub(crate) deleted: bool,
    /// The number of changes, for the change tag.
    pub(crate) changes: u64,
}

impl Asset {
    pub(super) fn in_main_index(&self) -> bool {
        !self.deleted && !self.new.hidden && self.new.burst.as_ref().is_none_or(|(_, shown)| *shown)
    }

    /// Reports whether the asset is in the smart album with a name in lower case. Smart albums for
    /// which assets have no property are empty.
    pub(super) fn is_in_smart_album(&self, album: &str) -> bool {
        self.in_main_index()
            && match album {
                "favorite" => self.new.favorite,
                "live" => self.new.live.is_some(),
                "screenshot" => self.new.screenshot,
                "video" => self.new.file_type.contains("movie"),
                _ => false,
            }
    }
}
