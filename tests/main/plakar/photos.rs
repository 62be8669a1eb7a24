//! A photo library through the real plakar.

use std::collections::BTreeMap;
use std::path::Path;

use icloud_simulator::{Content, NewAsset, PRIMARY_ZONE, RequestKind};

use super::{Installed, files};

/// 2026-11-05 10:00:00 UTC in milliseconds.
const NOVEMBER: i64 = 1_793_872_800_000;

fn content(number: u64) -> Content {
    Content::Generated { seed: 7_000 + number, size: 1_000 + number }
}

/// Fills the library with 300 assets, three of each name. 30 are live photos, 20 are edited, 10 are
/// RAW and 30 are videos.
fn fill(installed: &Installed, expected: &mut BTreeMap<String, String>) -> Vec<String> {
    installed.icloud.simulator.photos(|library| {
        let ids: Vec<String> = (0..300_u64)
            .map(|number| {
                let name = format!("IMG_{:04}", number % 100);
                let month = 9 + number / 100;
                let mut path = format!("/Library/2026/{month:02}/{name}");
                let taken = NOVEMBER - (11 - month as i64) * 31 * 24 * 3_600_000 + number as i64;
                let mut expect = |ending: &str, content: &Content| {
                    expected.insert(format!("{path}{ending}"), content.sha256());
                };
                let mut asset = NewAsset::image(&format!("{name}.HEIC"), taken, content(number));
                expect(".HEIC", &asset.original);
                if number % 10 == 1 {
                    asset.live = Some(content(1_000 + number));
                    expect(".MOV", &content(1_000 + number));
                }
                if number % 15 == 2 {
                    asset.edited = Some((content(2_000 + number), "public.jpeg".to_owned()));
                    expect(" (edited).JPG", &content(2_000 + number));
                }
                if number % 30 == 3 {
                    asset.alternative = Some((content(3_000 + number), "com.adobe.raw-image".to_owned()));
                    expect(".DNG", &content(3_000 + number));
                }
                if number % 10 == 4 {
                    asset.file_type = "com.apple.quicktime-movie".to_owned();
                    asset.filename = format!("{name}.MOV");
                    let made = expected.remove(&format!("{path}.HEIC")).unwrap_or_default();
                    path.push_str(".MOV");
                    expected.insert(path, made);
                }
                asset.favorite = number % 50 == 5;
                asset.hidden = number % 60 == 6;
                library.add(PRIMARY_ZONE, asset)
            })
            .collect();
        for (number, part) in ids.chunks(25).enumerate() {
            let album = library.add_album(PRIMARY_ZONE, &format!("Album {number}"), "", false);
            for id in part {
                library.set_member(PRIMARY_ZONE, &album, id, true);
            }
        }
        ids
    })
}

/// Returns the restored photos and videos, without links and the files that the program generates.
fn media(folder: &Path) -> BTreeMap<String, String> {
    let mut found = files(folder);
    found.retain(|path, _| path.starts_with("/Library/") && !path.ends_with(".xmp"));
    found
}

/// Every file of a library is the same after a backup and a restore, each content is read once, and
/// the albums are restored. Later backups read only changed files.
#[tokio::test]
async fn a_library_is_backed_up_once_and_restored() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    let mut expected = BTreeMap::new();
    let ids = fill(&installed, &mut expected);
    installed.define("source", "photos", "icloud://photos").await;
    installed.at_plain(&["backup", "@photos"]).await;
    assert_eq!(icloud.count(RequestKind::ContentGet), expected.len() as u64);

    let target = plakar.path("restored");
    installed.at_plain(&["restore", "-to", &target]).await;
    assert_eq!(media(target.as_ref()), expected);
    let restored = files(target.as_ref());
    let linked: Vec<&String> = restored.keys().filter(|path| path.starts_with("/Albums/Album 3/")).collect();
    assert_eq!(linked.len(), 26, "{linked:?}"); // with the list of paths
    assert_eq!(restored["/Albums/Album 0/0001 IMG_0000.HEIC"], expected["/Library/2026/09/IMG_0000.HEIC"]);
    let sidecars = restored.keys().filter(|path| path.ends_with(".xmp")).count();
    assert_eq!(sidecars, ids.len());

    icloud.simulator.reset_counts();
    installed.at_plain(&["backup", "@photos"]).await;
    assert_eq!(icloud.count(RequestKind::ContentGet), 0);
    icloud.simulator.photos(|library| {
        for id in &ids[..10] {
            library.change(PRIMARY_ZONE, id, |asset| asset.edited = Some((content(9), "public.jpeg".to_owned())));
        }
        for id in &ids[10..20] {
            library.change(PRIMARY_ZONE, id, |asset| asset.title = "Title".to_owned());
        }
        for id in &ids[20..30] {
            library.expunge(PRIMARY_ZONE, id);
        }
    });
    installed.at_plain(&["backup", "@photos"]).await;
    // One of the ten is a video, whose edited image is a poster.
    assert_eq!(icloud.count(RequestKind::ContentGet), 9);
    installed.at_plain(&["check"]).await;
    plakar.surroundings().deserted().await.unwrap();
}
