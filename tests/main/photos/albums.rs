//! Albums: their order, and folders that contain each other.

use icloud_simulator::PRIMARY_ZONE;
use plakar_host::Snapshot;

use super::{NOVEMBER, Photos, links, text};
use crate::icloud::assert_sound;

/// Returns the targets of the links in an album, by the names of the links.
fn members(snapshot: &Snapshot, album: &str) -> Vec<String> {
    let folder = format!("{album}/");
    links(snapshot).into_keys().filter_map(|path| path.strip_prefix(&folder)).map(str::to_owned).collect()
}

/// Returns the names of links to photos in this order.
fn numbered(photos: &[usize]) -> Vec<String> {
    (1..).zip(photos).map(|(number, photo): (usize, _)| format!("{number:04} IMG_{photo:02}.HEIC")).collect()
}

/// The links have the order of the album, which differs from that of the dates, in a listing and in changes. A photo that
/// is deleted leaves no gap.
#[tokio::test]
async fn links_are_in_the_order_of_the_album() {
    let mut photos = Photos::new();
    let ids: Vec<String> =
        (0..12).map(|n| photos.add(&format!("/Library/2026/11/IMG_{n:02}.HEIC"), NOVEMBER + n)).collect();
    let mut order = vec![7, 2, 11, 0, 5, 9, 1, 10, 3, 8, 6, 4];
    let album = photos.change(|library| {
        let album = library.add_album(PRIMARY_ZONE, "Trip", "", false);
        order.iter().for_each(|&n| library.set_member(PRIMARY_ZONE, &album, &ids[n], true));
        album
    });
    let first = photos.backup().await;
    assert_sound(&first);
    assert_eq!(members(&first, "/Albums/Trip"), numbered(&order));

    // The first photo moves to the end, and another one is deleted.
    photos.change(|library| {
        library.set_member(PRIMARY_ZONE, &album, &ids[7], false);
        library.set_member(PRIMARY_ZONE, &album, &ids[7], true);
        library.set_deleted(PRIMARY_ZONE, &ids[0], true);
    });
    order = vec![2, 11, 5, 9, 1, 10, 3, 8, 6, 4, 7];
    let second = photos.backup_after(&first).await;
    assert_sound(&second);
    assert_eq!(members(&second, "/Albums/Trip"), numbered(&order));
    let list: String = order.iter().map(|n| format!("Library/2026/11/IMG_{n:02}.HEIC\n")).collect();
    assert_eq!(text(&second, "/Albums/Trip/album.txt"), format!("# Trip\n{list}"));

    photos.icloud.simulator.rules(|rules| rules.photos.accepts_tokens = false);
    let third = photos.backup_after(&second).await;
    assert_sound(&third);
    assert_eq!(members(&third, "/Albums/Trip"), numbered(&order));
}

/// Folders that contain each other are in no list of albums, but their albums are saved.
#[tokio::test]
async fn folders_that_contain_each_other_are_saved() {
    let mut photos = Photos::new();
    let id = photos.add("/Library/2026/11/IMG_01.HEIC", NOVEMBER);
    let [one, two] = photos.change(|library| {
        let folders = ["One", "Two"].map(|name| library.add_album(PRIMARY_ZONE, name, "", true));
        for folder in &folders {
            let album = library.add_album(PRIMARY_ZONE, "Trip", folder, false);
            library.set_member(PRIMARY_ZONE, &album, &id, true);
        }
        folders
    });
    let first = photos.backup().await;
    assert_sound(&first);
    photos.change(|library| {
        library.move_album(PRIMARY_ZONE, &one, &two);
        library.move_album(PRIMARY_ZONE, &two, &one);
    });
    let paths = match one < two {
        true => ["/Albums/One/Trip", "/Albums/One/Two/Trip"],
        false => ["/Albums/Two/One/Trip", "/Albums/Two/Trip"],
    };
    for accepts_tokens in [true, false] {
        photos.icloud.simulator.rules(|rules| rules.photos.accepts_tokens = accepts_tokens);
        let later = photos.backup_after(&first).await;
        assert_sound(&later);
        assert_eq!(links(&later).len(), 2, "{:?}", links(&later));
        for path in paths {
            assert_eq!(members(&later, path), numbered(&[1]), "{path}");
        }
    }
}
