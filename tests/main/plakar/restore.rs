//! `plakar restore` into the drive.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use bytes::Bytes;
use icloud_simulator::{FaultAction, FaultRule, HoldAt, NameMatching, RequestKind};
use plakar_host::{Role, digest};

use crate::exporter::{killed, scale::sized};
use crate::icloud::{ICloud, MODIFIED, hex};

use super::Installed;

/// Backs up a small tree on this disk.
async fn backed_up(installed: &Installed) {
    let plakar = &installed.plakar;
    for (path, content) in [("a.txt", "a"), ("sub/b.txt", "b"), ("sub/empty", ""), ("sub/deep/c d.txt", "c")] {
        let path = std::path::PathBuf::from(plakar.path("from")).join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    std::os::unix::fs::symlink("a.txt", plakar.path("from/link")).unwrap();
    installed.at_plain(&["backup", &plakar.path("from")]).await;
}

fn paths(installed: &Installed) -> Vec<String> {
    installed.icloud.contents().into_keys().collect()
}

/// A second restore leaves no duplicates. A missing destination folder is created. A location on the
/// command line overrides the stored one. A folder after the name of the destination is used as it
/// is written.
#[tokio::test]
async fn snapshots_are_restored_into_the_drive() {
    let Some(installed) = Installed::new().await else { return };
    let plakar = &installed.plakar;
    backed_up(&installed).await;
    std::fs::remove_file(plakar.path("from/link")).unwrap();
    installed.at_plain(&["backup", &plakar.path("from")]).await;
    installed.define("destination", "drive", "icloud:///to").await;
    for _ in 0..2 {
        installed.at_plain(&["restore", "-to", "@drive"]).await;
        assert_eq!(paths(&installed), ["/to/a.txt", "/to/sub/b.txt", "/to/sub/deep/c d.txt", "/to/sub/empty"]);
    }
    installed.at_plain(&["restore", "-to", "@drive:sub dir"]).await;
    assert!(paths(&installed).contains(&"/to/sub dir/sub/deep/c d.txt".to_owned()), "{:?}", paths(&installed));
    installed.at_plain(&["restore", "-o", "location=icloud:///else where", "-to", "@drive"]).await;
    assert!(paths(&installed).contains(&"/else where/a.txt".to_owned()), "{:?}", paths(&installed));
}

/// A file that cannot be stored and a link, which the drive cannot store, are errors. The others are
/// restored, and the restore fails at its end.
#[tokio::test]
async fn a_restore_with_failed_files_fails() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    backed_up(&installed).await;
    installed.define("destination", "drive", "icloud:///to").await;
    icloud.simulator.add_fault(icloud.fail(RequestKind::UploadWeb, 400).matching("b.txt"));
    let restore = ["at", &plakar.path("plain"), "restore", "-o", "links=error", "-to", "@drive"];
    let outcome = plakar.run(restore).await.unwrap();
    assert_eq!(outcome.status, Some(1), "{}", outcome.output);
    assert!(outcome.output.contains("2 of "), "{}", outcome.output);
    assert!(outcome.output.contains("/sub/b.txt") && outcome.output.contains("/link"), "{}", outcome.output);
    assert_eq!(paths(&installed), ["/to/a.txt", "/to/sub/deep/c d.txt", "/to/sub/empty"]);
}

/// A packfile is damaged, so plakar cannot read the file to its end.
#[tokio::test]
async fn a_file_that_plakar_cannot_read_is_not_restored_in_part() {
    let Some(installed) = Installed::new().await else { return };
    let plakar = &installed.plakar;
    let content = icloud_simulator::Content::Generated { seed: 1, size: 9_000_000 };
    std::fs::create_dir(plakar.path("from")).unwrap();
    std::fs::write(format!("{}/large.bin", plakar.path("from")), content.read(0, content.size())).unwrap();
    installed.at_plain(&["backup", &plakar.path("from")]).await;
    damage_largest(plakar.path("plain").as_ref());
    installed.define("destination", "drive", "icloud:///to").await;
    let outcome = plakar.run(["at", &plakar.path("plain"), "restore", "-to", "@drive"]).await.unwrap();
    assert_eq!(outcome.status, Some(1), "{}", outcome.output);
    assert_eq!(paths(&installed), Vec::<String>::new());
}

/// Inverts bytes in the middle of the largest file.
fn damage_largest(folder: &std::path::Path) {
    let mut largest = (0, folder.to_owned());
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                largest = largest.max((entry.metadata().unwrap().len(), entry.path()));
            }
        }
    }
    let mut bytes = std::fs::read(&largest.1).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 100].iter_mut().for_each(|byte| *byte = !*byte);
    std::fs::write(&largest.1, bytes).unwrap();
}

/// Names with characters that the drive refuses, equal names, and names of the maximum length are
/// restored under other names. A backup and a restore of the restored tree changes no name again.
#[tokio::test]
async fn two_hundred_unusual_names_are_restored() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    icloud.simulator.rules(|rules| rules.drive.name_matching = NameMatching::IgnoringCase);
    let odd = [
        "\r", "\n", "\t", "\u{7f}", "\\", ":", "?", "*", "\"", "<", "|", "%", "#", "&", "'", "~2", "\u{e9}", "e\u{301}",
    ];
    let odd =
        odd.into_iter().chain(["\u{2028}", "\u{202e}", "\u{1f600}", "\u{ff3c}", "\u{240d}", "\u{fb01}", "\u{df}"]);
    let from = std::path::PathBuf::from(plakar.path("odd"));
    let mut texts = Vec::new();
    for (number, odd) in odd.enumerate() {
        let long = "x".repeat(255 - odd.len());
        let names = [
            format!("a{odd}b.txt"),
            format!("A{odd}b.txt"),
            format!("{odd}start"),
            format!("END{odd}"),
            format!("end{odd}"),
            format!("{long}{odd}"),
        ];
        for name in names {
            let folder = from.join(format!("folder {}{odd}", number % 7));
            std::fs::create_dir_all(&folder).unwrap();
            for path in [folder.join(&name), from.join(&name)] {
                std::fs::write(&path, path.to_str().unwrap()).unwrap();
                texts.push(hex(&digest(path.to_str().unwrap().as_bytes())));
            }
        }
    }
    assert!(texts.len() > 200);
    texts.sort_unstable();
    installed.at_plain(&["backup", from.to_str().unwrap()]).await;
    installed.define("destination", "first", "icloud:///first").await;
    installed.define("destination", "second", "icloud:///second").await;
    installed.define("source", "restored", "icloud:///first").await;
    let told = installed.at_plain(&["restore", "-to", "@first"]).await;
    assert!(told.contains(" is restored as "), "{told}");
    let mut stored: Vec<String> = below(&installed, "/first").into_values().collect();
    stored.sort_unstable();
    assert_eq!(stored, texts);
    assert!(icloud.simulator.trash().is_empty());
    let kloset = plakar.path("second");
    plakar.must(["at", &kloset, "create", "-plaintext"]).await.unwrap();
    plakar.must(["at", &kloset, "backup", "@restored"]).await.unwrap();
    let told = plakar.must(["at", &kloset, "restore", "-to", "@second"]).await.unwrap();
    assert!(!told.contains(" is restored as "), "{told}");
    assert_eq!(below(&installed, "/second"), below(&installed, "/first"));
}

/// Returns the contents below a folder of the drive, without the list of renames.
fn below(installed: &Installed, folder: &str) -> BTreeMap<String, String> {
    let strip = |(path, digest): (String, String)| Some((path.strip_prefix(folder)?.to_owned(), digest));
    let mut contents: BTreeMap<String, String> = installed.icloud.contents().into_iter().filter_map(strip).collect();
    contents.remove("/plakar-icloud-renames.txt");
    contents
}

/// plakar prints only "EOF" if the stream of records ends while it is sending.
#[tokio::test]
async fn the_cause_of_a_restore_that_ends_early_is_printed_once() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    let from = plakar.path("many");
    std::fs::create_dir(&from).unwrap();
    for n in 0..200 {
        std::fs::write(format!("{from}/{n}"), "content").unwrap();
    }
    installed.at_plain(&["backup", &from]).await;
    installed.define("destination", "drive", "icloud:///to").await;
    let hold = FaultAction::Hold { gate: "uploads".to_owned(), at: HoldAt::Arrival };
    icloud.simulator.add_fault(FaultRule::new(RequestKind::UploadWeb, hold).skip(20));
    let running = plakar.start(["at", &plakar.path("plain"), "restore", "-to", "@drive"]).unwrap();
    icloud.until(RequestKind::UploadWeb, 21).await;
    icloud.simulator.end_sessions(421);
    icloud.simulator.end_trust();
    icloud.simulator.release("uploads");
    let ended = plakar.finish(running).await.unwrap();
    assert_eq!(ended.status, Some(1), "{}", ended.output);
    let causes: Vec<&str> =
        ended.output.lines().filter(|line| line.starts_with("plakar-icloud: error: the restore ended")).collect();
    assert!(matches!(causes[..], [line] if line.contains("plakar-icloud login")), "{}", ended.output);
}

/// Old and new contents survive the death of plakar at any request, and the next restore completes.
#[tokio::test]
async fn a_killed_plakar_loses_nothing() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    let from = plakar.path("snapshot");
    std::fs::create_dir(&from).unwrap();
    for (name, content) in killed::snapshot() {
        std::fs::write(format!("{from}/{name}"), content).unwrap();
    }
    installed.at_plain(&["backup", &from]).await;
    let mut random = killed::Random::seeded();
    for round in 0..sized(4, 50) {
        let folder = format!("to{round}");
        killed::put_old(icloud, &folder);
        installed.define("destination", &folder, &format!("icloud:///{folder}")).await;
        let restore = ["at", &plakar.path("plain"), "restore", "-to", &format!("@{folder}")].map(str::to_owned);
        let point = icloud.simulator.counts().total.requests + random.below(90);
        let mut running = plakar.start(&restore).unwrap();
        let is_over = async { running.wait().await.map(drop) };
        tokio::select! {
            ended = is_over => ended.unwrap(),
            () = plakar_host::until(|| icloud.simulator.counts().total.requests > point) => {}
        }
        let _ = running.kill().await; // it may have ended
        plakar.surroundings().deserted().await.unwrap();
        killed::assert_nothing_lost(icloud, &folder);
        plakar.must(&restore).await.unwrap();
        assert_eq!(killed::below(icloud, &folder), killed::complete(), "round {round}");
    }
}

/// A snapshot without files, and one of a single file.
#[tokio::test]
async fn the_smallest_snapshots_are_restored() {
    let Some(installed) = Installed::new().await else { return };
    let plakar = &installed.plakar;
    let from = plakar.path("nothing");
    std::fs::create_dir(&from).unwrap();
    installed.at_plain(&["backup", &from]).await;
    installed.define("destination", "drive", "icloud:///to").await;
    installed.at_plain(&["restore", "-to", "@drive"]).await;
    assert_eq!(paths(&installed), Vec::<String>::new());
    assert!(installed.icloud.simulator.snapshot().iter().any(|item| item.path == "to" && item.folder));
    std::fs::write(format!("{from}/alone.txt"), "alone").unwrap();
    installed.at_plain(&["backup", &format!("{from}/alone.txt")]).await;
    installed.at_plain(&["restore", "-to", "@drive"]).await;
    assert_eq!(paths(&installed), ["/to/alone.txt"]);
}

/// A file is larger than the memory that its restore takes. It is restored byte for byte.
#[tokio::test]
async fn a_large_file_takes_little_memory() {
    let Some(installed) = Installed::new().await else { return };
    let Installed { icloud, plakar } = &installed;
    let size: u64 = sized(64 << 20, 6 << 30);
    icloud.simulator.rules(|rules| rules.drive.quota = 1 << 40);
    let (from, kloset) = (plakar.path("large"), plakar.path("plain"));
    std::fs::create_dir(&from).unwrap();
    let file = std::fs::File::create_new(format!("{from}/large.bin")).unwrap();
    file.set_len(size).unwrap();
    for offset in (0..size).step_by(1 << 24) {
        file.write_all_at(&offset.to_le_bytes(), offset).unwrap(); // otherwise all blocks would be equal
    }
    let file = std::fs::File::open(format!("{from}/large.bin")).unwrap();
    let backup = plakar.start(["at", &kloset, "backup", &from]).unwrap().wait_with_output().await.unwrap();
    assert!(backup.status.success(), "{backup:?}");
    installed.define("destination", "drive", "icloud:///to").await;
    icloud.hold(RequestKind::UpdateDocuments, "sent");
    let running = plakar.start(["at", &kloset, "restore", "-to", "@drive"]).unwrap();
    icloud.simulator.wait_for(RequestKind::UpdateDocuments, 1, Duration::from_mins(30)).await.unwrap();
    let processes = plakar.surroundings().processes();
    let memory: Vec<_> = processes
        .iter()
        .filter(|process| process.serves(Role::Exporter))
        .filter_map(plakar_host::Running::resident)
        .collect();
    icloud.simulator.release("sent");
    let ended = plakar.finish(running).await.unwrap();
    assert_eq!(ended.status, Some(0), "{}", ended.output);
    assert!(!memory.is_empty() && memory.iter().all(|resident| resident.most <= 128 * 1024), "{memory:?}");
    let content = icloud.simulator.content("to/large.bin").unwrap();
    assert_eq!(content.size(), size);
    let mut piece = vec![0; 1 << 20];
    for offset in (0..size).step_by(piece.len()) {
        file.read_exact_at(&mut piece, offset).unwrap();
        assert_eq!(content.read(offset, piece.len() as u64), piece, "at {offset}");
    }
}

/// Returns what a package contains. The paths of folders end with a slash.
fn contents(icloud: &ICloud, path: &str) -> BTreeMap<String, Vec<u8>> {
    let content = icloud.simulator.content(path).unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(content.read(0, content.size()))).unwrap();
    let mut entries = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        entries.insert(entry.name().unwrap().into_owned(), bytes);
    }
    entries
}

/// A package is a package again after a backup and a restore, whether it is saved as an archive or as
/// a folder. A second restore stores nothing.
#[tokio::test]
async fn packages_become_packages_again() {
    let entries = [
        ("Data/a", Bytes::from(vec![1; 2_000_000])),
        ("Data/empty/", Bytes::new()),
        ("Data/Inner.rtfd/TXT.rtf", Bytes::from("inner")),
        ("caf\u{e9}.txt", Bytes::from("coffee")),
        ("index.xml", Bytes::new()),
    ];
    let entries = entries.map(|(name, bytes)| (name.to_owned(), bytes));
    for form in ["archive", "tree"] {
        let Some(installed) = Installed::new().await else { return };
        let Installed { icloud, plakar } = &installed;
        icloud.put("from/file.txt", b"content");
        let packages = ["report.pages", "sub/caf\u{e9}.band"];
        for path in packages {
            icloud.simulator.put_package(&format!("from/{path}"), &entries, None, MODIFIED);
        }
        let source = icloud.settings("icloud:///from").with("packages", form);
        plakar.define("source", "from", &source).await.unwrap();
        installed.define("destination", "to", "icloud:///to").await;
        installed.at_plain(&["backup", "@from"]).await;
        for posts in [3, 0] {
            let before = icloud.count(RequestKind::ContentPost);
            let told = installed.at_plain(&["restore", "-to", "@to"]).await;
            assert_eq!(icloud.count(RequestKind::ContentPost) - before, posts, "{form}: {told}");
            let kinds = |folder: &str| -> Vec<(String, bool, bool, u64)> {
                let below = |item: icloud_simulator::ItemInfo| {
                    Some((item.path.strip_prefix(folder)?.to_owned(), item.folder, item.sha256.is_some(), item.size))
                };
                icloud.simulator.snapshot().into_iter().filter_map(below).collect()
            };
            assert_eq!(kinds("to/"), kinds("from/"), "{form}");
            for path in packages {
                let stored = contents(icloud, &format!("to/{path}"));
                assert!(stored.len() >= entries.len());
                assert_eq!(stored, contents(icloud, &format!("from/{path}")), "{form}: {path}");
            }
        }
        assert!(icloud.simulator.trash().is_empty());
    }
}
