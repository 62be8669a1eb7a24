//! Shared albums.

use icloud_simulator::{FaultRule, NewAsset, RequestKind};

use super::failures::refusal;
use super::{NOVEMBER, Photos, media};
use crate::icloud::assert_sound;

/// Adds a shared album with photos, which the backup must have in a folder, and returns its id.
fn add_album(photos: &mut Photos, title: &str, folder: &str, count: i64) -> String {
    let id = photos.change(|library| library.add_shared_album(title));
    for n in 0..count {
        add_photo(photos, &id, folder, n);
    }
    id
}

fn add_photo(photos: &mut Photos, album: &str, folder: &str, n: i64) {
    let content = photos.content(700);
    let name = format!("IMG_{n:04}.JPG");
    photos.expect(&format!("{folder}/{name}"), &content);
    photos.change(|library| library.add(album, NewAsset::image(&name, NOVEMBER + n, content)));
}

/// Each shared album is a folder. Its photos are read once, and again only after a change.
#[tokio::test]
async fn shared_albums_are_folders() {
    for limit_is_position in [true, false] {
        let mut photos = Photos::new();
        photos.icloud.simulator.rules(|rules| rules.photos.shared_limit_is_position = limit_is_position);
        photos.add("/Library/2026/11/IMG_0001.HEIC", NOVEMBER);
        let wedding = add_album(&mut photos, "Wedding", "/Shared Albums/Wedding", 230);
        add_album(&mut photos, "A/B", "/Shared Albums/A_B", 1);
        add_album(&mut photos, "Empty", "/Shared Albums/Empty", 0);
        let first = photos.backup().await;
        assert_sound(&first);
        assert_eq!(media(&first), photos.expected);
        assert!(first.entries.contains_key("/Shared Albums/Empty"));
        assert_eq!(photos.contents(), photos.expected.len() as u64);

        photos.icloud.simulator.reset_counts();
        let second = photos.backup_after(&first).await;
        assert_sound(&second);
        assert_eq!(media(&second), photos.expected);
        assert_eq!((photos.contents(), photos.icloud.count(RequestKind::SharedAlbumPhotos)), (0, 0));

        add_photo(&mut photos, &wedding, "/Shared Albums/Wedding", 230);
        let third = photos.backup_after(&second).await;
        assert_sound(&third);
        assert_eq!(media(&third), photos.expected);
        assert_eq!(photos.contents(), 1);
    }
}

/// A shared album that the service no longer lists is one error. A failure of the list is another error.
#[tokio::test]
async fn a_shared_album_that_disappears_is_reported() {
    let mut photos = Photos::new();
    photos.add("/Library/2026/11/IMG_0001.HEIC", NOVEMBER);
    let party = add_album(&mut photos, "Party", "/Shared Albums/Party", 2);
    let first = photos.backup().await;
    assert_sound(&first);
    assert_eq!(media(&first), photos.expected);

    let outage = FaultRule::new(RequestKind::SharedAlbums, refusal(500, "", ""));
    photos.icloud.simulator.add_fault(outage);
    let second = photos.backup_after(&first).await;
    assert_eq!(second.errors.keys().collect::<Vec<_>>(), ["/Shared Albums"]);
    assert!(!second.errors["/Shared Albums"].contains("no longer lists"), "{:?}", second.errors);
    photos.icloud.simulator.clear_faults();

    photos.change(|library| library.remove_zone(&party));
    photos.expected.retain(|path, _| !path.starts_with("/Shared Albums/"));
    for _ in 0..2 {
        let later = photos.backup_after(&first).await;
        assert_eq!(later.errors.keys().collect::<Vec<_>>(), ["/Shared Albums"]);
        let said = &later.errors["/Shared Albums"];
        assert!(said.contains("no longer lists the shared album \"Party\""), "{said}");
        assert_eq!(media(&later), photos.expected);
    }
}

/// Of two albums with one title, each keeps its folder.
#[tokio::test]
async fn albums_with_the_same_title_have_two_folders() {
    let mut photos = Photos::new();
    let ids = ["Trip", "trip"].map(|title| photos.change(|library| library.add_shared_album(title)));
    for (n, id) in ids.iter().enumerate() {
        let content = photos.content(10 + n as u64);
        photos.change(|library| library.add(id, NewAsset::image(&format!("{n}.JPG"), NOVEMBER, content)));
    }
    let first = photos.backup().await;
    assert_sound(&first);
    let found = media(&first);
    let folders: Vec<&str> = found.keys().map(|path| path.rsplit_once('/').unwrap().0).collect();
    assert_eq!(folders.len(), 2, "{folders:?}");
    assert_ne!(folders[0].to_lowercase(), folders[1].to_lowercase());
    assert_eq!(media(&photos.backup_after(&first).await), found);
}

/// A shared album that cannot be listed, or lists less than the service counts, is one error. So is the list of albums.
#[tokio::test]
async fn a_shared_album_that_fails_is_one_error() {
    let mut photos = Photos::new();
    photos.add("/Library/2026/11/IMG_0001.HEIC", NOVEMBER);
    let bad = photos.change(|library| library.add_shared_album("Bad"));
    add_album(&mut photos, "Good", "/Shared Albums/Good", 1);
    let refused = refusal(403, "ACCESS_DENIED", "not allowed");
    let simulator = &photos.icloud.simulator;
    let fault = simulator.add_fault(FaultRule::new(RequestKind::SharedAlbumPhotos, refused.clone()).matching(&bad));
    let snapshot = photos.backup().await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/Shared Albums/Bad"]);
    assert_eq!(media(&snapshot), photos.expected);
    assert!(simulator.faults_applied()[&fault] <= 4);

    simulator.clear_faults();
    simulator.rules(|rules| rules.photos.miscount = 1);
    photos.change(|library| {
        library.add(&bad, NewAsset::image("x.JPG", NOVEMBER, icloud_simulator::Content::Generated { seed: 9, size: 9 }))
    });
    let snapshot = photos.backup().await;
    assert!(snapshot.errors["/Shared Albums/Bad"].contains("counts 1 more"), "{:?}", snapshot.errors);

    simulator.rules(|rules| rules.photos.miscount = 0);
    simulator.add_fault(FaultRule::new(RequestKind::SharedAlbums, refused));
    let snapshot = photos.backup().await;
    assert_eq!(snapshot.errors.keys().collect::<Vec<_>>(), ["/Shared Albums"]);
    assert!(media(&snapshot).contains_key("/Library/2026/11/IMG_0001.HEIC"));
}
