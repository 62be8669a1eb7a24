//! Restores over existing files on an OpenSSH server, whose process is killed.

use std::{collections::BTreeMap, fs, path::Path};

use plakar_host::{Host, Options, PATIENCE, Signal, Surroundings, Tree, until};

use super::openssh;
use crate::{
    exporter::{killed::Random, scale::sized},
    icloud::program,
    plakar::Installed,
};

const FILES: u64 = 24;
/// How many of the files replace others.
const REPLACED: u64 = 12;

fn name(n: u64) -> String {
    format!("{n:02}.bin")
}

fn old(n: u64) -> String {
    format!("old {n} ").repeat(1_000)
}

fn new(n: u64) -> String {
    format!("new {n} ").repeat(40_000)
}

fn put_old(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    (0..REPLACED).for_each(|n| fs::write(folder.join(name(n)), old(n)).unwrap());
}

/// Returns the files of a folder by name. A file may disappear while the folder is read.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    entries
        .filter_map(|entry| Some((entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).ok()?)))
        .collect()
}

fn complete() -> BTreeMap<String, String> {
    (0..FILES).map(|n| (name(n), new(n))).collect()
}

/// Returns a condition for a kill: a number of files is stored and, in half of the cases, another
/// one is being stored.
fn point(random: &mut Random, folder: &Path) -> impl FnMut() -> bool {
    let (stored, within, folder) = (random.below(FILES), random.below(2) == 1, folder.to_owned());
    move || {
        let entries: Vec<_> = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok).collect();
        let is_new = |n: &u64| fs::metadata(folder.join(name(*n))).is_ok_and(|file| file.len() == new(*n).len() as u64);
        let is_partial = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".plakar-partial");
        (0..FILES).filter(is_new).count() as u64 >= stored && (!within || entries.iter().any(is_partial))
    }
}

/// Checks that each file has its old or its new content in full. Returns how many have the new one.
fn assert_nothing_lost(folder: &Path) -> usize {
    let files = files(folder);
    for n in 0..FILES {
        let named = files.get(&name(n));
        let is_sound = match named {
            Some(content) => *content == new(n) || n < REPLACED && *content == old(n),
            None => n >= REPLACED,
        };
        assert!(is_sound, "{n}: {:?} bytes", named.map(String::len));
    }
    (0..FILES).filter(|n| files.get(&name(*n)) == Some(&new(*n))).count()
}

/// Checks that a restore has found the files that were stored, and uploaded the others.
fn assert_told(told: &str, stored: usize) {
    let all = usize::try_from(FILES).unwrap();
    let line = told.lines().find(|line| line.contains("plakar-icloud: restore: ")).unwrap_or_default();
    let before = line.split_once(" there already").and_then(|(before, _)| before.rsplit([' ', ',']).next());
    let identical = before.map_or(0, |number| number.parse().unwrap());
    assert!(line.contains(&format!("{all} files")) && identical == stored, "{stored} of {all}: {told}");
}

#[tokio::test]
async fn a_killed_restore_to_openssh_loses_nothing() {
    let Some((server, settings)) = openssh("files/to").await else { return };
    let host = Host::new(program(), Surroundings::new().unwrap());
    let tree = (0..FILES).fold(Tree::new().folder("/"), |tree, n| tree.file(&format!("/{}", name(n)), new(n)));
    let to = server.path("files/to");
    let mut random = Random::seeded();
    for round in 0..sized(4, 15) {
        let _ = fs::remove_dir_all(&to);
        put_old(&to);
        let exporter = host.exporter(&settings, &Options::default()).await.unwrap();
        tokio::select! {
            _ = exporter.export(&tree) => {}
            () = until(point(&mut random, &to)) => {}
        }
        let _ = exporter.connector().signal(Signal::KILL); // the process may have ended
        let _ = exporter.into_connector().wait(PATIENCE).await;
        let stored = assert_nothing_lost(&to);
        let exporter = host.exporter(&settings, &Options::default()).await.unwrap();
        exporter.export(&tree).await.unwrap().end.unwrap();
        exporter.close().await.unwrap();
        assert_told(&exporter.connector().stderr(), stored);
        exporter.into_connector().leave().await.unwrap();
        assert_eq!(files(&to), complete(), "round {round}");
    }
}

#[tokio::test]
async fn a_killed_plakar_with_openssh_loses_nothing() {
    let Some((server, settings)) = openssh("files/to").await else { return };
    let Some(installed) = Installed::new().await else { return };
    let plakar = &installed.plakar;
    let from = plakar.path("snapshot");
    fs::create_dir(&from).unwrap();
    (0..FILES).for_each(|n| fs::write(Path::new(&from).join(name(n)), new(n)).unwrap());
    installed.at_plain(&["backup", &from]).await;
    let location = format!("icloud://{}", server.file("files/to")); // the package serves only this protocol
    plakar.define("destination", "server", &settings.at(&location)).await.unwrap();
    let to = server.path("files/to");
    let restore = ["at", &plakar.path("plain"), "restore", "-to", "@server"].map(str::to_owned);
    let mut random = Random::seeded();
    for round in 0..sized(2, 15) {
        let _ = fs::remove_dir_all(&to);
        put_old(&to);
        let mut running = plakar.start(&restore).unwrap();
        let is_over = async { running.wait().await.map(drop) };
        tokio::select! {
            ended = is_over => ended.unwrap(),
            () = until(point(&mut random, &to)) => {}
        }
        let _ = running.kill().await; // it may have ended
        plakar.surroundings().deserted().await.unwrap();
        let stored = assert_nothing_lost(&to);
        assert_told(&plakar.must(&restore).await.unwrap(), stored);
        assert_eq!(files(&to), complete(), "round {round}");
    }
}
