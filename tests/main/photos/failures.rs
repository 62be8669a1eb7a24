//! Faults of the service.

use std::collections::BTreeMap;

use icloud_simulator::{FaultAction, FaultRule, NewAsset, PRIMARY_ZONE, RequestKind};
use plakar_host::{Backup, Options};

use super::{DAY, NOVEMBER, Photos, links, media};
use crate::icloud::assert_sound;

const SHARED: &str = "SharedSync-12345678-ABCD";

pub(super) fn refusal(status: u16, code: &str, reason: &str) -> FaultAction {
    let body = format!(r#"{{"uuid":"0","serverErrorCode":"{code}","reason":"{reason}"}}"#);
    FaultAction::Status { status, body, headers: BTreeMap::new() }
}

/// A library that always fails is one error, after a few requests. The other library is saved.
#[tokio::test]
async fn a_library_that_fails_is_one_error() {
    let mut photos = Photos::new();
    photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    let content = photos.content(10);
    photos.change(|library| {
        library.add_zone(SHARED, false);
        library.add(SHARED, NewAsset::image("IMG_2.HEIC", NOVEMBER, content));
    });
    let broken = refusal(400, "BAD_REQUEST", "Index has invalid data");
    let rule = |kind| FaultRule::new(kind, broken.clone()).matching(SHARED);
    let fault = photos.icloud.simulator.add_fault(rule(RequestKind::PhotosQuery));
    let snapshot = photos.backup().await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/Shared Library"]);
    assert!(snapshot.errors["/Shared Library"].contains("Index has invalid data"), "{:?}", snapshot.errors);
    assert_eq!(media(&snapshot), photos.expected);
    let refused = photos.icloud.simulator.faults_applied()[&fault];
    assert!(refused <= 5, "{refused} requests");
}

/// A refusal of the account ends the backup at once, and the message says what to do.
#[tokio::test]
async fn a_refusal_of_the_account_ends_the_backup() {
    let mut photos = Photos::new();
    photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    let denied = refusal(403, "ACCESS_DENIED", "private db access disabled for this account");
    for (action, part) in [
        (denied, "Apple refuses access to the photo library"),
        (refusal(429, "THROTTLED", "Too many requests"), "Apple limits the requests to the photo library"),
    ] {
        photos.icloud.simulator.clear_faults();
        let fault = photos.icloud.simulator.add_fault(FaultRule::new(RequestKind::PhotosQuery, action));
        let settings = photos.icloud.settings("icloud://photos");
        let ended = photos.icloud.host.backup(&settings, &Options::default(), Backup::first()).await;
        let said = ended.expect_err("the backup succeeded").to_string();
        assert!(said.contains(part) && said.contains("wait for some hours"), "{said}");
        // plakar starts two importers.
        assert!(photos.icloud.simulator.faults_applied()[&fault] <= 2, "{part}");
    }
}

/// A refusal that concerns the account ends the backup, also if the request was for a shared library or an album.
#[tokio::test]
async fn a_refusal_in_a_part_of_the_library_ends_the_backup() {
    let mut photos = Photos::new();
    let id = photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    let content = photos.content(10);
    let album = photos.change(|library| {
        library.add_zone(SHARED, true);
        library.add(SHARED, NewAsset::image("IMG_2.HEIC", NOVEMBER, content));
        let album = library.add_album(PRIMARY_ZONE, "Trip", "", false);
        library.set_member(PRIMARY_ZONE, &album, &id, true);
        album
    });
    let denied = refusal(403, "ACCESS_DENIED", "private db access disabled for this account");
    for (action, part) in [
        (denied, "Apple refuses access to the photo library"),
        (refusal(503, "THROTTLED", "Too many requests"), "Apple limits the requests to the photo library"),
    ] {
        for (kind, subject) in [
            (RequestKind::PhotosQuery, SHARED),
            (RequestKind::PhotosCount, SHARED),
            (RequestKind::PhotosQuery, album.as_str()),
        ] {
            photos.icloud.simulator.clear_faults();
            let fault = photos.icloud.simulator.add_fault(FaultRule::new(kind, action.clone()).matching(subject));
            let said = photos.failure().await;
            assert!(said.contains(part) && said.contains("wait for some hours"), "{kind:?} {subject}: {said}");
            // plakar starts two importers.
            assert!(photos.icloud.simulator.faults_applied()[&fault] <= 2, "{kind:?} {subject}: {part}");
        }
    }
}

/// Adds photos to several months. So their failures are not those of one folder.
fn add_to_all_months(photos: &mut Photos) {
    for n in 0..60 {
        photos.add(&format!("/Library/2026/11/IMG_{n:04}.HEIC"), NOVEMBER - n * 30 * DAY);
    }
}

/// The folders of a library are in memory, so only requests for contents show that the account is refused.
#[tokio::test]
async fn a_refusal_while_contents_are_read_ends_the_backup() {
    for code in ["ACCESS_DENIED", "THROTTLED"] {
        let mut photos = Photos::new();
        add_to_all_months(&mut photos);
        let refused = refusal(200, code, "Too many requests");
        let fault = photos.icloud.simulator.add_fault(FaultRule::new(RequestKind::PhotosLookup, refused).skip(1));
        let said = photos.failure().await;
        assert!(said.contains("the photo library") && said.contains("wait for some hours"), "{said}");
        let requests = photos.icloud.simulator.faults_applied()[&fault];
        assert!(requests <= 16, "{requests} requests");
    }
}

/// Sidecars are read without a request, and contents whose addresses are known without the database. So neither shows
/// that the service responds.
#[tokio::test]
async fn an_outage_while_contents_are_read_ends_the_backup() {
    for (kind, before) in [(RequestKind::PhotosLookup, 1), (RequestKind::ContentGet, 3)] {
        let mut photos = Photos::new();
        add_to_all_months(&mut photos);
        photos.icloud.simulator.add_fault(photos.icloud.fail(kind, 500).skip(before));
        let said = photos.failure().await;
        assert!(said.contains("the backup ended"), "{kind:?}: {said}");
    }
}

/// Pages without records are not the end of a library.
#[tokio::test]
async fn an_empty_page_is_not_the_end() {
    let mut photos = Photos::new();
    for n in 0..950 {
        photos.add(&format!("/Library/2026/11/IMG_{n:04}.HEIC"), NOVEMBER + n);
    }
    photos.icloud.simulator.rules(|rules| rules.photos.empty_pages = 3);
    let snapshot = photos.backup().await;
    assert_sound(&snapshot);
    assert_eq!(media(&snapshot), photos.expected);
}

/// If the service counts more photos than it lists, the backup reports that it may be incomplete.
#[tokio::test]
async fn the_counts_of_the_service_are_compared() {
    let mut photos = Photos::new();
    photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    photos.icloud.simulator.rules(|rules| rules.photos.miscount = 2);
    let snapshot = photos.backup().await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/Library"]);
    assert!(snapshot.errors["/Library"].contains("more photos and videos than it lists"), "{:?}", snapshot.errors);
    assert_eq!(media(&snapshot), photos.expected);
    photos.icloud.simulator.reset_counts();
    let again = photos.backup_after(&snapshot).await;
    assert_eq!(again.errors.keys().collect::<Vec<_>>(), ["/Library"]);
    assert!(photos.calls() <= 10, "{} calls", photos.calls());
    photos.icloud.simulator.rules(|rules| {
        rules.photos = icloud_simulator::PhotosRules {
            indexing_state: "RUNNING".to_owned(),
            ..icloud_simulator::PhotosRules::default()
        }
    });
    let later = photos.backup_after(&again).await;
    assert!(later.errors["/Library"].contains("not finished indexing"), "{:?}", later.errors);
}

/// An album that cannot be listed is one error, and it is listed by the next backup.
#[tokio::test]
async fn an_album_that_fails_is_one_error() {
    let mut photos = Photos::new();
    let id = photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    photos.change(|library| {
        for name in ["Good", "Bad"] {
            let album = library.add_album(PRIMARY_ZONE, name, "", false);
            library.set_member(PRIMARY_ZONE, &album, &id, true);
        }
    });
    let bad = photos.change(|library| library.album_named(PRIMARY_ZONE, "Bad"));
    let refused = refusal(400, "BAD_REQUEST", "Index has invalid data");
    photos.icloud.simulator.add_fault(FaultRule::new(RequestKind::PhotosQuery, refused).matching(bad));
    let snapshot = photos.backup().await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/Albums/Bad"]);
    assert_eq!(links(&snapshot).into_keys().collect::<Vec<_>>(), ["/Albums/Good/0001 IMG_1.HEIC"]);
    photos.icloud.simulator.clear_faults();
    let later = photos.backup_after(&snapshot).await;
    assert_sound(&later);
    assert_eq!(links(&later).len(), 2);
}

/// An album of which the service counts more photos than it lists is one error, unless they may be hidden or deleted
/// photos. The next backup lists it again.
#[tokio::test]
async fn the_counts_of_albums_are_compared() {
    let mut photos = Photos::new();
    let ids = [1, 2, 3].map(|n| photos.add(&format!("/Library/2026/11/IMG_{n}.HEIC"), NOVEMBER + n));
    photos.change(|library| {
        let album = library.add_album(PRIMARY_ZONE, "Trip", "", false);
        library.set_member(PRIMARY_ZONE, &album, &ids[0], true);
        library.change(PRIMARY_ZONE, &ids[1], |asset| asset.hidden = true);
        library.set_deleted(PRIMARY_ZONE, &ids[2], true);
    });
    photos.expected.remove("/Library/2026/11/IMG_3.HEIC");
    photos.icloud.simulator.rules(|rules| rules.photos.album_miscount = 3);
    let first = photos.backup().await;
    assert_eq!(first.errors.keys().collect::<Vec<_>>(), ["/Albums/Trip"]);
    assert!(first.errors["/Albums/Trip"].contains("counts 3 more photos in the album"), "{:?}", first.errors);
    assert_eq!(media(&first), photos.expected);
    photos.icloud.simulator.rules(|rules| rules.photos.album_miscount = 2);
    photos.icloud.simulator.reset_counts();
    assert_sound(&photos.backup_after(&first).await);
    assert!(photos.icloud.count(RequestKind::PhotosQuery) > 0, "the album was not listed again");
    photos.icloud.simulator.reset_counts();
    assert_sound(&photos.backup_after(&first).await);
    assert_eq!(photos.icloud.count(RequestKind::PhotosQuery), 0);
}

/// An album whose photos may all be hidden is listed twice, in case the first list was empty by mistake.
#[tokio::test]
async fn an_empty_album_is_listed_again() {
    let mut photos = Photos::new();
    let ids = [1, 2].map(|n| photos.add(&format!("/Library/2026/11/IMG_{n}.HEIC"), NOVEMBER + n));
    photos.change(|library| {
        let album = library.add_album(PRIMARY_ZONE, "Trip", "", false);
        library.set_member(PRIMARY_ZONE, &album, &ids[0], true);
        library.change(PRIMARY_ZONE, &ids[1], |asset| asset.hidden = true);
    });
    let empty = FaultAction::Replace { text: r#"{"records":[]}"#.to_owned(), effect: false };
    // A single empty page is not the end of a list.
    let pages =
        FaultRule::new(RequestKind::PhotosQuery, empty).matching("CPLContainerRelationLiveByAssetDate").times(2);
    photos.icloud.simulator.add_fault(pages);
    let first = photos.backup().await;
    assert_sound(&first);
    let second = photos.backup_after(&first).await;
    assert_eq!(links(&second).len(), 2, "{:?}", links(&second));
}

/// Only the photo fails.
#[tokio::test]
async fn a_message_in_place_of_content_is_an_error() {
    let mut photos = Photos::new();
    photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    photos.add("/Library/2026/11/IMG_2.HEIC", NOVEMBER);
    let message = FaultAction::Replace { text: r#"{"error":"Not found"}"#.to_owned(), effect: false };
    photos.icloud.simulator.add_fault(FaultRule::new(RequestKind::ContentGet, message).matching("IMG_1"));
    let snapshot = photos.backup().await;
    photos.expected.remove("/Library/2026/11/IMG_1.HEIC");
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/Library/2026/11/IMG_1.HEIC"]);
    assert_eq!(media(&snapshot), photos.expected);
}

/// Expired addresses and ended sessions are renewed, and broken downloads are resumed.
#[tokio::test]
async fn temporary_faults_cause_no_errors() {
    let mut photos = Photos::new();
    for n in 0..60 {
        photos.add(&format!("/Library/2026/11/IMG_{n:04}.HEIC"), NOVEMBER + n);
    }
    let large = photos.content(6_000_000);
    photos.expect("/Library/2026/11/MOVIE.MOV", &large);
    photos.put(NewAsset {
        file_type: "com.apple.quicktime-movie".to_owned(),
        ..NewAsset::image("MOVIE.MOV", NOVEMBER, large)
    });
    let simulator = &photos.icloud.simulator;
    simulator.end_sessions_after(3, 421);
    simulator.rules(|rules| rules.photos.url_lifetime_seconds = 600);
    let truncated = FaultAction::Truncate { bytes: 1_000_000, clean: false };
    simulator.add_fault(FaultRule::new(RequestKind::ContentGet, truncated).matching("MOVIE").times(2));
    for kind in [RequestKind::PhotosQuery, RequestKind::PhotosLookup, RequestKind::ContentGet] {
        simulator.add_fault(FaultRule::new(kind, FaultAction::ResetBefore).probability(0.05));
        simulator.add_fault(FaultRule::new(kind, refusal(503, "", "")).probability(0.05));
        simulator.add_fault(FaultRule::new(kind, refusal(410, "", "")).probability(0.05).matching("IMG_003"));
    }
    let snapshot = photos.backup_with(&[("password", "correct horse")]).await;
    assert_sound(&snapshot);
    assert_eq!(media(&snapshot), photos.expected);
}
