//! What a killed restore leaves under temporary names, and the next restore of other files removes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use icloud_simulator::{Content, Mutation, RequestKind};
use plakar_host::{Exporter, Host, Options, PATIENCE, Settings, Signal, Tree};

use crate::{
    disk::Disk,
    icloud::{ICloud, MODIFIED},
};

/// The part of the temporary names in iCloud.
const MARK: &str = ".icloud-new-";

fn tree() -> Tree {
    Tree::new().folder("/").file("/a.txt", "new a").file("/b.txt", "new b")
}

/// Returns a tree without the files of [`tree`].
fn others() -> Tree {
    Tree::new().folder("/").file("/other.txt", "other")
}

/// Begins a restore and kills it when `is_due` returns true.
async fn kill_restore(host: &Host, settings: &Settings, tree: &Tree, is_due: impl FnMut() -> bool) {
    let exporter = host.exporter(settings, &Options::default()).await.unwrap();
    tokio::select! {
        _ = exporter.export(tree) => {}
        () = plakar_host::until(is_due) => {}
    }
    kill(exporter).await;
}

async fn kill(exporter: Exporter) {
    let _ = exporter.connector().signal(Signal::KILL); // the process may have ended
    let _ = exporter.into_connector().wait(PATIENCE).await;
}

/// Restores a tree and returns what the process prints.
async fn restore(host: &Host, settings: &Settings, tree: &Tree) -> String {
    let exporter = host.exporter(settings, &Options::default()).await.unwrap();
    exporter.export(tree).await.unwrap().end.unwrap();
    exporter.close().await.unwrap();
    let told = exporter.connector().stderr();
    exporter.into_connector().leave().await.unwrap();
    told
}

/// Returns the lists of temporary names in the state folder.
fn lists(host: &Host) -> Vec<PathBuf> {
    let kept = host.surroundings().home().join(".local/state/plakar-icloud/kept");
    let files = fs::read_dir(kept).into_iter().flatten().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "leftovers")).collect()
}

/// Sets the ages of the lists, which are the times since their processes have ended.
fn set_ages(host: &Host, age: Duration) {
    for list in lists(host) {
        let file = fs::File::options().write(true).open(list).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }
}

/// Sets the ages of the lists so that no request of their processes is still carried out.
fn age_lists(host: &Host) {
    set_ages(host, Duration::from_mins(3));
}

fn leftovers(icloud: &ICloud) -> Vec<String> {
    icloud.contents().into_keys().filter(|path| path.contains(MARK)).collect()
}

/// Returns a drive with the files of [`tree`] in other versions, and with a file that an upload of
/// another machine seems to have left.
fn with_old_files() -> (ICloud, String) {
    let icloud = ICloud::new();
    icloud.put("to/a.txt", b"old a");
    icloud.put("to/b.txt", b"old b");
    icloud.put("to/c.txt", b"old c");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let foreign = format!("to/c.txt{MARK}{now:08x}-0badcafe");
    icloud.put(&foreign, b"of another machine");
    (icloud, format!("/{foreign}"))
}

fn settings(icloud: &ICloud) -> Settings {
    icloud.settings("icloud:///to")
}

fn text(icloud: &ICloud, path: &str) -> String {
    let content = icloud.simulator.content(path).unwrap();
    String::from_utf8(content.read(0, content.size()).to_vec()).unwrap()
}

/// Restores the tree until the new files are there beside the old ones, and kills the process.
async fn leave_behind(icloud: &ICloud) {
    icloud.hold(RequestKind::Trash, "trash");
    kill_restore(&icloud.host, &settings(icloud), &tree(), || leftovers(icloud).len() == 3).await;
    icloud.simulator.clear_faults(); // the held requests are those of the dead process
    assert_eq!(lists(&icloud.host).len(), 1);
    age_lists(&icloud.host);
}

/// The restored files are not uploaded again, and another restore has other files.
#[tokio::test]
async fn leftovers_in_icloud_are_removed_by_a_restore_that_does_not_upload_the_files() {
    for (options, tree) in [(("on_conflict", "skip"), tree()), (("on_conflict", "replace"), others())] {
        let (icloud, foreign) = with_old_files();
        leave_behind(&icloud).await;
        let trashed = icloud.simulator.trash().len();
        let told = restore(&icloud.host, &settings(&icloud).with(options.0, options.1), &tree).await;
        assert!(told.contains("killed process had left under temporary names: 2"), "{told}");
        assert_eq!(leftovers(&icloud), [foreign]);
        assert_eq!((text(&icloud, "to/a.txt"), text(&icloud, "to/b.txt")), ("old a".into(), "old b".into()));
        assert_eq!(icloud.simulator.trash().len() - trashed, 2);
        assert_eq!(lists(&icloud.host), Vec::<PathBuf>::new());
    }
}

/// Without leftovers, the lists of earlier restores cost no request, even if they replaced files.
#[tokio::test]
async fn a_restore_without_leftovers_takes_no_further_requests() {
    let icloud = ICloud::new();
    icloud.put("to/a.txt", b"old a");
    for tree in [tree(), others()] {
        restore(&icloud.host, &settings(&icloud), &tree).await;
    }
    assert_eq!(lists(&icloud.host), Vec::<PathBuf>::new());
    let requests = |icloud: &ICloud| icloud.simulator.counts().total.requests;
    let mut taken = Vec::new();
    for is_emptied in [false, true] {
        if is_emptied {
            fs::remove_dir_all(icloud.host.surroundings().home().join(".local/state/plakar-icloud/kept")).unwrap();
        }
        let before = requests(&icloud);
        restore(&icloud.host, &settings(&icloud), &others()).await;
        taken.push(requests(&icloud) - before);
    }
    assert_eq!(taken[0], taken[1]);
}

/// The last requests of a process that has just died may still be carried out.
#[tokio::test]
async fn leftovers_of_a_process_that_has_just_ended_are_kept() {
    let (icloud, foreign) = with_old_files();
    leave_behind(&icloud).await;
    set_ages(&icloud.host, Duration::ZERO);
    let list = lists(&icloud.host).remove(0);
    let told = restore(&icloud.host, &settings(&icloud), &others()).await;
    assert_eq!(told.matches("under temporary names: 2, because").count(), 1, "{told}");
    assert_eq!((leftovers(&icloud).len(), list.exists()), (3, true));
    age_lists(&icloud.host);
    restore(&icloud.host, &settings(&icloud), &others()).await;
    assert_eq!((leftovers(&icloud), list.exists()), (vec![foreign], false));
}

/// A restore of the same files leaves nothing, and does not say that files are kept.
#[tokio::test]
async fn a_restore_that_is_repeated_at_once_leaves_nothing() {
    for option in [("on_conflict", "replace"), ("skip_identical", "false"), ("verify", "content")] {
        let (icloud, foreign) = with_old_files();
        leave_behind(&icloud).await;
        set_ages(&icloud.host, Duration::ZERO);
        let told = restore(&icloud.host, &settings(&icloud).with(option.0, option.1), &tree()).await;
        assert!(!told.contains("temporary names"), "{told}");
        assert_eq!(leftovers(&icloud), [foreign]);
        assert_eq!((text(&icloud, "to/a.txt"), text(&icloud, "to/b.txt")), ("new a".into(), "new b".into()));
    }
}

/// The machine of a process is suspended while it replaces a file. The process of another machine
/// must not remove the new file, because the first one is about to move the old file to the Trash.
#[tokio::test]
async fn the_new_file_of_another_machine_is_kept_however_old_it_is() {
    let icloud = ICloud::new();
    icloud.put("to/c.txt", b"old c");
    let foreign = format!("to/c.txt{MARK}00000001-0badcafe");
    icloud.put(&foreign, b"of another machine");
    let told = restore(&icloud.host, &settings(&icloud), &tree()).await;
    assert_eq!(leftovers(&icloud), [format!("/{foreign}")]);
    assert_eq!(told.matches("c.txt.icloud-new-").count(), 1, "{told}");
    restore(&icloud.host, &settings(&icloud), &Tree::new().folder("/").file("/c.txt", "new c")).await;
    assert_eq!(leftovers(&icloud), Vec::<String>::new());
    assert_eq!(text(&icloud, "to/c.txt"), "new c");
}

/// The old file is in the Trash, so the new one is the only version in the drive.
#[tokio::test]
async fn a_leftover_whose_old_version_is_in_the_trash_gets_its_name() {
    let (icloud, foreign) = with_old_files();
    icloud.hold(RequestKind::Rename, "rename");
    kill_restore(&icloud.host, &settings(&icloud), &tree(), || icloud.simulator.trash().len() == 2).await;
    age_lists(&icloud.host);
    icloud.simulator.clear_faults(); // the held requests are those of the dead process
    restore(&icloud.host, &settings(&icloud), &others()).await;
    assert_eq!(leftovers(&icloud), [foreign]);
    assert_eq!((text(&icloud, "to/a.txt"), text(&icloud, "to/b.txt")), ("new a".into(), "new b".into()));
}

/// An item that another device has changed or renamed since is kept.
#[tokio::test]
async fn a_leftover_that_another_device_uses_is_kept() {
    let (icloud, foreign) = with_old_files();
    leave_behind(&icloud).await;
    let mut left: Vec<String> = leftovers(&icloud).into_iter().filter(|path| *path != foreign).collect();
    let (renamed, changed) = (left.remove(0), left.remove(0));
    icloud.simulator.mutate(&renamed[1..], Mutation::Rename { to: "to/mine.txt".to_owned() }).unwrap();
    let content = Content::from("edited by another device".as_bytes());
    icloud.simulator.mutate(&changed[1..], Mutation::Write { content, modified_ms: MODIFIED }).unwrap();
    let told = restore(&icloud.host, &settings(&icloud), &others()).await;
    assert!(told.contains("another device has changed"), "{told}");
    assert_eq!(text(&icloud, "to/mine.txt"), "new a");
    assert_eq!(text(&icloud, &changed[1..]), "edited by another device");
    assert_eq!(lists(&icloud.host), Vec::<PathBuf>::new());
}

/// The uploads of a process that is still running are not leftovers.
#[tokio::test]
async fn the_list_of_a_running_process_is_left_alone() {
    let (icloud, foreign) = with_old_files();
    icloud.hold(RequestKind::Trash, "trash");
    let running = icloud.host.exporter(&settings(&icloud), &Options::default()).await.unwrap();
    let tree = tree();
    let (ended, ()) = tokio::join!(running.export(&tree), async {
        plakar_host::until(|| leftovers(&icloud).len() == 3).await;
        restore(&icloud.host, &settings(&icloud), &others()).await;
        assert_eq!(leftovers(&icloud).len(), 3);
        icloud.simulator.release("trash");
    });
    ended.unwrap().end.unwrap();
    running.into_connector().leave().await.unwrap();
    assert_eq!(leftovers(&icloud), [foreign]);
    assert_eq!((text(&icloud, "to/a.txt"), text(&icloud, "to/b.txt")), ("new a".into(), "new b".into()));
}

/// A list that cannot be read, and a state folder that cannot be written, are warnings.
#[tokio::test]
async fn damaged_lists_do_not_prevent_a_restore() {
    let (icloud, foreign) = with_old_files();
    leave_behind(&icloud).await;
    let list = lists(&icloud.host).remove(0);
    let beside = |name: &str| {
        let own = list.file_name().unwrap().to_str().unwrap();
        list.with_file_name(format!("{}-{name}.leftovers", own.rsplit_once('-').unwrap().0))
    };
    fs::write(beside("GARBAGE"), "{\"n\": 1, \"entry\"\u{1b}[31m\n\0\0\0\n").unwrap();
    age_lists(&icloud.host);
    fs::create_dir(beside("FOLDER")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", beside("LINK")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(beside("FIFO")).status().unwrap();
    assert!(fifo.success());
    let told = restore(&icloud.host, &settings(&icloud), &others()).await;
    for name in ["GARBAGE", "FOLDER", "LINK", "FIFO"] {
        let about = told.lines().filter(|line| line.contains(name)).count();
        assert_eq!(about, 1, "{name}: {told}");
    }
    assert_eq!(leftovers(&icloud), [foreign]);
    assert!(!list.exists() && !beside("GARBAGE").exists(), "{told}");
}

/// Without a place for the list, files are restored as before, and the reason is said once.
#[tokio::test]
async fn a_restore_does_not_need_the_list() {
    let (icloud, _) = with_old_files();
    restore(&icloud.host, &settings(&icloud), &others()).await;
    let kept = icloud.host.surroundings().home().join(".local/state/plakar-icloud/kept");
    let _ = fs::remove_dir_all(&kept);
    fs::write(&kept, "not a folder").unwrap();
    let told = restore(&icloud.host, &settings(&icloud), &tree()).await;
    assert_eq!(told.lines().filter(|line| line.contains("cannot be stored in")).count(), 1, "{told}");
    assert_eq!((text(&icloud, "to/a.txt"), text(&icloud, "to/b.txt")), ("new a".into(), "new b".into()));
}

/// Returns the files of a folder by name.
fn files(folder: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect()
}

/// A folder of this machine stands for every service that shows incomplete files, such as SFTP.
#[tokio::test]
async fn leftovers_on_a_disk_are_removed() {
    const SIZE: usize = 24 << 20;
    let disk = Disk::new();
    let to = disk.path("to");
    let settings = disk.settings_at("to");
    let large = (0..4).fold(Tree::new().folder("/"), |tree, n| tree.file(&format!("/{n}.bin"), vec![n; SIZE]));
    let partial = |name: &String| name.ends_with(".plakar-partial");
    // Whether a file is incomplete at its death depends on the speed of the disk.
    for round in 0.. {
        assert!(round < 50, "no kill came in time");
        kill_restore(&disk.host, &settings, &large, || files(&to).keys().any(partial)).await;
        if files(&to).keys().any(partial) {
            break;
        }
    }
    disk.put("to/.OTHER.plakar-partial", "of another machine");
    let before = files(&to);
    restore(&disk.host, &settings.with("on_conflict", "skip"), &others()).await;
    let mut left = before;
    left.retain(|name, _| !partial(name) || name == ".OTHER.plakar-partial");
    left.insert("other.txt".to_owned(), 5);
    assert_eq!(files(&to), left);
    assert_eq!(lists(&disk.host), Vec::<PathBuf>::new());
}
