//! Records and responses that lack something. What cannot be saved is reported.

use std::time::{SystemTime, UNIX_EPOCH};

use icloud_simulator::{FaultAction, FaultRule, NewAsset, PRIMARY_ZONE, RequestKind};
use serde_json::{Value, json};

use super::failures::refusal;
use super::{DAY, NOVEMBER, Photos, links, media};
use crate::icloud::assert_sound;

impl Photos {
    /// Adds an image with odd fields, and returns its id.
    fn put_odd(&mut self, name: &str, odd: &[(&'static str, Value)], path: &str) -> String {
        let content = self.content(900);
        if !path.is_empty() {
            self.expect(path, &content);
        }
        self.put(NewAsset { odd_fields: odd.to_vec(), ..NewAsset::image(name, NOVEMBER, content) })
    }

    /// Makes requests of a kind succeed with another text.
    fn replace(&self, kind: RequestKind, text: &Value, matching: &str, times: u64) {
        let action = FaultAction::Replace { text: text.to_string(), effect: false };
        self.icloud.simulator.add_fault(FaultRule::new(kind, action).matching(matching).times(times));
    }
}

#[tokio::test]
async fn photos_with_odd_names_and_dates_are_saved() {
    let mut photos = Photos::new();
    let id = photos.put_odd("x", &[("filenameEnc", Value::Null)], "");
    let nameless = photos.content(901);
    photos.change(|library| library.change(PRIMARY_ZONE, &id, |asset| asset.original = nameless.clone()));
    photos.expect(&format!("/Library/2026/11/{id}.HEIC"), &nameless);
    photos.put_odd("NO_DATE.HEIC", &[("assetDate", Value::Null)], "/Library/1970/01/NO_DATE.HEIC");
    photos.put_odd("LATE.HEIC", &[("assetDate", json!(1e18))], "/Library/1970/01/LATE.HEIC");
    photos.put_odd("EARLY.HEIC", &[("assetDate", json!(-1e300))], "/Library/1970/01/EARLY.HEIC");
    photos.put_odd("OLD.HEIC", &[("assetDate", json!(-2_000_000_000_000_i64))], "/Library/1906/08/OLD.HEIC");
    photos.put_odd("../a/b\0c.HEIC", &[], "/Library/2026/11/.._a_b_c.HEIC");
    let long = "long ".repeat(60);
    let kept = long[..160].trim_end();
    photos.put_odd(&format!("{long}.HEIC"), &[], &format!("/Library/2026/11/{kept}.HEIC"));
    // The second would have the name of the sidecar of the first.
    photos.put_odd("IMG_1.HEIC", &[], "/Library/2026/11/IMG_1.HEIC");
    let id = photos.put_odd("IMG_1.HEIC.xmp", &[], "");
    let snapshot = photos.backup().await;
    assert_sound(&snapshot);
    let odd = format!("/Library/2026/11/IMG_1.HEIC ({}).xmp", &id[..8]);
    assert!(snapshot.entries.contains_key(&odd), "{:?}", snapshot.entries.keys());
    assert_eq!(media(&snapshot), photos.expected);
}

#[tokio::test]
async fn files_that_the_service_does_not_describe_are_reported() {
    let mut photos = Photos::new();
    photos.put_odd("NO_SIZE.HEIC", &[("resOriginalRes", json!({ "fileChecksum": "x" }))], "");
    photos.put_odd("EMPTY.HEIC", &[("resOriginalRes", json!({ "size": 0 }))], "");
    photos.put_odd("NEGATIVE.HEIC", &[("resOriginalRes", json!({ "size": -5 }))], "");
    photos.put_odd("LIVE.HEIC", &[("resOriginalVidComplRes", json!({ "size": "big" }))], "/Library/2026/11/LIVE.HEIC");
    let lonely = photos.put_odd("LONELY.HEIC", &[("masterRef", Value::Null)], "");
    let (original, edited) = (photos.content(10), photos.content(20));
    photos.expect("/Library/2026/11/EDITED (edited).JPG", &edited);
    photos.put(NewAsset {
        edited: Some((edited, "public.jpeg".to_owned())),
        odd_fields: vec![("resOriginalRes", Value::Null)],
        ..NewAsset::image("EDITED.HEIC", NOVEMBER, original)
    });
    let snapshot = photos.backup().await;
    let mut wanted: Vec<String> = ["EDITED.HEIC", "EMPTY.HEIC", "LIVE.MOV", "NEGATIVE.HEIC", "NO_SIZE.HEIC", &lonely]
        .map(|name| format!("/Library/2026/11/{name}"))
        .to_vec();
    wanted.sort();
    assert_eq!(snapshot.errors.keys().cloned().collect::<Vec<_>>(), wanted);
    assert_eq!(media(&snapshot), photos.expected);
}

/// An adjustment without an edited version is reported for a month, because a device may still upload it.
#[tokio::test]
async fn an_edited_version_that_is_not_uploaded_is_reported() {
    let mut photos = Photos::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let (movie, adjusted, slow) = ("com.apple.quicktime-movie", "com.apple.photo", "com.apple.video.slomo");
    for (name, file_type, adjustment, modified_ms) in [
        ("NEW.HEIC", "public.heic", adjusted, now),
        ("OLD.HEIC", "public.heic", adjusted, now - 31 * DAY),
        ("MOVIE.MOV", movie, adjusted, now),
        ("SLOW.MOV", movie, slow, now),
    ] {
        let content = photos.content(500);
        photos.expect(&format!("/Library/2026/11/{name}"), &content);
        let odd_fields = vec![("adjustmentType", json!(adjustment))];
        let file_type = file_type.to_owned();
        photos.put(NewAsset { file_type, modified_ms, odd_fields, ..NewAsset::image(name, NOVEMBER, content) });
    }
    for versions in ["all", "edited"] {
        let snapshot = photos.backup_with(&[("photos_versions", versions)]).await;
        let wanted = ["/Library/2026/11/MOVIE (edited).MOV", "/Library/2026/11/NEW (edited).HEIC"];
        assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), wanted);
        assert!(snapshot.errors[wanted[0]].contains("does not have the edited version yet"), "{:?}", snapshot.errors);
        assert_eq!(media(&snapshot), photos.expected);
    }
    let snapshot = photos.backup_with(&[("photos_versions", "original")]).await;
    assert_sound(&snapshot);
    assert_eq!(media(&snapshot), photos.expected);
}

/// Hidden photos are saved, and the backup reports that some may be missing.
#[tokio::test]
async fn an_index_without_a_count_is_listed() {
    let mut photos = Photos::new();
    let id = photos.add("/Library/2026/11/HIDDEN.HEIC", NOVEMBER);
    photos.change(|library| library.change(PRIMARY_ZONE, &id, |asset| asset.hidden = true));
    let (refused, empty) = (json!({ "serverErrorCode": "INTERNAL_ERROR" }), json!({ "records": [] }));
    photos.replace(RequestKind::PhotosCount, &json!({ "batch": [refused, refused, empty] }), "", 1);
    photos.replace(RequestKind::PhotosCount, &json!({ "batch": [refused, empty] }), "", u64::MAX);
    let snapshot = photos.backup().await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/Library"]);
    assert!(snapshot.errors["/Library"].contains("does not count all photos"), "{:?}", snapshot.errors);
    assert_eq!(media(&snapshot), photos.expected);
}

/// A response without its list does not stand for an empty list.
#[tokio::test]
async fn a_response_without_its_list_is_requested_again() {
    let mut photos = Photos::new();
    let id = photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    let content = photos.content(10);
    photos.expect("/Shared Albums/Party/IMG_2.HEIC", &content);
    photos.change(|library| {
        for name in ["Trip", ""] {
            let album = library.add_album(PRIMARY_ZONE, name, "", false);
            library.set_member(PRIMARY_ZONE, &album, &id, true);
        }
        let party = library.add_shared_album("Party");
        library.add(&party, NewAsset::image("IMG_2.HEIC", NOVEMBER, content));
    });
    for (kind, matching) in [
        (RequestKind::PhotosZones, ""),
        (RequestKind::PhotosQuery, "CPLAlbumByPositionLive"),
        (RequestKind::SharedAlbums, ""),
        (RequestKind::SharedAlbumCount, ""),
    ] {
        photos.replace(kind, &json!({}), matching, 1);
    }
    let snapshot = photos.backup().await;
    assert_sound(&snapshot);
    assert_eq!(media(&snapshot), photos.expected);
    let albums: Vec<&str> = links(&snapshot).into_keys().collect();
    assert_eq!(albums, ["/Albums/Trip/0001 IMG_1.HEIC", "/Albums/_/0001 IMG_1.HEIC"]);
}

/// Libraries of other accounts that cannot be found are one error.
#[tokio::test]
async fn an_outage_of_the_libraries_of_others_is_reported() {
    let mut photos = Photos::new();
    photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    let outage = FaultRule::new(RequestKind::PhotosZones, refusal(500, "INTERNAL_ERROR", "try later"));
    photos.icloud.simulator.add_fault(outage.matching("shared"));
    let snapshot = photos.backup().await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/Shared Library"]);
    assert_eq!(media(&snapshot), photos.expected);
}

/// A shared library that is missing in a successful response is one error.
#[tokio::test]
async fn a_shared_library_that_disappears_is_reported() {
    for of_others in [true, false] {
        let mut photos = Photos::new();
        photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
        let content = photos.content(10);
        let zone = "SharedSync-12345678-ABCD";
        photos.change(|library| {
            library.add_zone(zone, of_others);
            library.add(zone, NewAsset::image("IMG_2.HEIC", NOVEMBER, content));
        });
        let first = photos.backup().await;
        assert_sound(&first);
        photos.change(|library| library.remove_zone(zone));
        let second = photos.backup_after(&first).await;
        assert_eq!(second.errors.keys().collect::<Vec<_>>(), ["/Shared Library"]);
        assert!(second.errors["/Shared Library"].contains("no longer lists"), "{:?}", second.errors);
        assert_eq!(media(&second), photos.expected);
    }
}
