//! The metadata of photos, as exiftool reads it.

use std::process::Command;

use icloud_simulator::{NewAsset, PRIMARY_ZONE, RequestKind};
use serde_json::{Value, json};

use super::{NOVEMBER, Photos, media, text};
use crate::icloud::assert_sound;

/// A change of the metadata that keeps the length of the sidecar opens the sidecar, and nothing else.
#[tokio::test]
async fn a_change_of_the_metadata_reads_no_content() {
    let mut photos = Photos::new();
    let ids: Vec<String> = (0..200)
        .map(|n| {
            let content = photos.content(50);
            let path = format!("/Library/2026/11/IMG_{n:04}.HEIC");
            photos.expect(&path, &content);
            let name = path.rsplit('/').next().unwrap_or_default();
            photos.put(NewAsset { title: "old".to_owned(), ..NewAsset::image(name, NOVEMBER + n, content) })
        })
        .collect();
    let first = photos.backup().await;
    assert_sound(&first);
    assert_eq!(media(&first), photos.expected);
    photos.change(|library| {
        for id in &ids[50..150] {
            library.change(PRIMARY_ZONE, id, |asset| asset.title = "new".to_owned());
        }
    });
    photos.icloud.simulator.reset_counts();
    let second = photos.backup_after(&first).await;
    assert_sound(&second);
    let changed: Vec<String> = (50..150).map(|n| format!("/Library/2026/11/IMG_{n:04}.HEIC.xmp")).collect();
    assert_eq!(second.opened.iter().cloned().collect::<Vec<_>>(), changed);
    assert!(text(&second, &changed[0]).contains(">new</rdf:li>"));
    assert_eq!((photos.contents(), photos.icloud.count(RequestKind::PhotosLookup)), (0, 0));
}

/// Each tag has the value of the photo, whatever characters the texts contain. The test needs exiftool (Debian:
/// libimage-exiftool-perl).
#[tokio::test]
async fn exiftool_reads_every_tag() {
    if Command::new("exiftool").arg("-ver").output().is_err() {
        plakar_host::skipped("exiftool is not on PATH");
        return;
    }
    let titles = [
        "Anna & <Bob> \"x\" 'y' ]]> &amp;",
        "line 1\nline 2\ttab\r\nend",
        "\u{1F642} \u{E9} e\u{301} \u{202E}rtl",
        "\u{1}control\u{0}",
        " spaces ",
    ];
    let mut photos = Photos::new();
    for (n, title) in titles.iter().enumerate() {
        let content = photos.content(10 + n as u64);
        photos.put(NewAsset {
            title: (*title).to_owned(),
            description: format!("about {title}"),
            favorite: n == 0,
            hidden: n == 1,
            place: Some((-48.137_154, 11.576_124)),
            time_zone_offset: -16_200,
            burst: Some((format!("burst {title}"), true)),
            ..NewAsset::image(&format!("IMG_{n}.HEIC"), NOVEMBER + 123, content)
        });
    }
    let snapshot = photos.backup().await;
    assert_sound(&snapshot);
    let folder = tempfile::tempdir().unwrap();
    for (n, title) in titles.iter().enumerate() {
        let file = folder.path().join("photo.xmp");
        std::fs::write(&file, text(&snapshot, &format!("/Library/2026/11/IMG_{n}.HEIC.xmp"))).unwrap();
        let output = Command::new("exiftool")
            .args(["-json", "-n", "-G1", "-all:all", "-validate", "-warning"])
            .arg(&file)
            .output()
            .unwrap();
        let tags: Value = serde_json::from_slice(&output.stdout).unwrap();
        let tags = &tags[0];
        assert_eq!(tags["ExifTool:Validate"], "0 0 0", "{tags}");
        // XML cannot contain control characters, and Go's client receives texts composed.
        let shown = title.replace(['\u{1}', '\0'], "\u{FFFD}").replace("e\u{301}", "\u{E9}");
        let taken = "2026:11:05 05:30:00.123-04:30";
        for (tag, value) in [
            ("XMP-dc:Title", json!(shown)),
            ("XMP-dc:Description", json!(format!("about {shown}"))),
            ("XMP-exif:DateTimeOriginal", json!(taken)),
            ("XMP-photoshop:DateCreated", json!(taken)),
            ("XMP-xmp:CreateDate", json!(taken)),
            ("XMP-xmp:Rating", if n == 0 { json!(5) } else { Value::Null }),
            ("XMP-icloud:Favorite", json!(n == 0)),
            ("XMP-icloud:Hidden", json!(n == 1)),
            ("XMP-icloud:OriginalName", json!(format!("IMG_{n}.HEIC"))),
            ("XMP-icloud:BurstID", json!(format!("burst {title}").replace(['\u{1}', '\0'], "\u{FFFD}"))),
        ] {
            assert_eq!(tags[tag], value, "{tag} of {title:?}");
        }
        for (tag, value) in [("XMP-exif:GPSLatitude", -48.137_154), ("XMP-exif:GPSLongitude", 11.576_124)] {
            let read = tags[tag].as_f64().unwrap();
            assert!((read - value).abs() < 1e-7, "{tag}: {read}");
        }
    }
}
