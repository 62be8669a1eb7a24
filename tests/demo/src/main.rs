//! A demo of all functions on a simulated iCloud: a drive is backed up, changed, backed up again,
//! and restored into itself and to this machine. A kloset in the drive is written, checked and
//! read. Each step is verified.
//!
//! Started with arguments, it is the program that it shows, so that one executable is linked.

mod drive;
mod report;
mod through_host;
mod through_plakar;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use icloud_simulator::RequestKind;
use plakar_host::Plakar;

use drive::Drive;
use report::Report;
use through_host::ThroughHost;
use through_plakar::ThroughPlakar;

type Failure = Box<dyn std::error::Error>;

/// SHA-256 in hexadecimal by path, with a leading slash.
type Digests = BTreeMap<String, String>;

/// The folder that is backed up, where it is restored to, and the kloset.
const FILES: &str = "Files";
const RESTORED: &str = "Restored";
const KLOSET: &str = "Kloset";

/// The way in which the demo starts the connectors: through plakar or through the host of the
/// tests.
trait Way {
    /// The name in the first line of the report.
    const NAME: &str;

    async fn back_up_drive(&self) -> Result<(), Failure>;
    async fn restore_into_drive(&self) -> Result<(), Failure>;
    async fn restore_here(&self) -> Result<PathBuf, Failure>;
    async fn make_kloset(&self) -> Result<(), Failure>;
    /// Backs up into the kloset the files that were restored to this machine.
    async fn keep(&self) -> Result<(), Failure>;
    async fn check(&self) -> Result<(), Failure>;
    async fn restore_kept(&self) -> Result<PathBuf, Failure>;
    /// Waits for processes that are still running.
    async fn leave(self) -> Result<(), Failure>;
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some() {
        return plakar_icloud::program::main();
    }
    show()
}

#[tokio::main(flavor = "current_thread")]
async fn show() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let drive = Drive::start()?;
    match Plakar::on_path() {
        Some(executable) => tell(&drive, ThroughPlakar::new(executable, &drive).await?).await,
        None => tell(&drive, ThroughHost::new(&drive)?).await,
    }
}

async fn tell<W: Way>(drive: &Drive, way: W) -> Result<(), Failure> {
    let mut report = Report::new(drive);
    report.line(&format!("A simulated iCloud, {} ms for every answer, {}.", drive::LATENCY_MS, W::NAME))?;
    report.step("sign in", None, drive.sign_in()).await?;
    report.verified(&format!("{}, by password and code", drive.apple_id()))?;
    back_up(drive, &mut report, &way).await?;
    restore(drive, &mut report, &way).await?;
    keep(drive, &mut report, &way).await?;
    way.leave().await?;
    report.end()
}

async fn back_up(drive: &Drive, report: &mut Report<'_>, way: &impl Way) -> Result<(), Failure> {
    let files = drive.files(FILES);
    let downloads = Some((RequestKind::ContentGet, drive.downloads(FILES)));
    report.step("back up the drive", downloads, way.back_up_drive()).await?;
    report.expect("downloads", drive.counted(RequestKind::ContentGet), drive.downloads(FILES))?;
    report.verified(&format!("{} files, each downloaded once", files.len()))?;

    report.step("back up again", None, way.back_up_drive()).await?;
    report.expect("downloads", drive.counted(RequestKind::ContentGet), 0)?;
    report.verified("nothing changed, nothing downloaded")?;

    let changed = drive.change()?;
    report.step("back up what changed", Some((RequestKind::ContentGet, changed)), way.back_up_drive()).await?;
    let (downloads, files) = (drive.counted(RequestKind::ContentGet), drive.files(FILES).len());
    if downloads < changed {
        return Err(format!("{downloads} downloads for {changed} changed files").into());
    }
    report.verified(&format!("{changed} of {files} files are new or changed, {downloads} were downloaded"))
}

async fn restore(drive: &Drive, report: &mut Report<'_>, way: &impl Way) -> Result<(), Failure> {
    let files = drive.files(FILES);
    let uploads = Some((RequestKind::UpdateDocuments, files.len() as u64));
    report.step("restore into the drive", uploads, way.restore_into_drive()).await?;
    report.same("the restored folder of the drive", &drive.files(RESTORED), &files)?;
    let here = report.step("restore onto this machine", None, way.restore_here()).await?;
    report.same("the restored folder of this machine", &digests(&here)?, &files)
}

async fn keep(drive: &Drive, report: &mut Report<'_>, way: &impl Way) -> Result<(), Failure> {
    report.step("make a kloset in the drive", None, way.make_kloset()).await?;
    if !drive.files(KLOSET).contains_key("/CONFIG") {
        return Err("the kloset has no CONFIG".into());
    }
    report.verified("its CONFIG is there")?;
    report.step("back up into it", None, way.keep()).await?;
    let objects = drive.files(KLOSET);
    let of = |folder: &str| objects.keys().filter(|path| path.starts_with(folder)).count();
    report.expect("locks left", of("/locks/") as u64, 0)?;
    report.verified(&format!("packfiles: {}, states: {}, no lock left", of("/packfiles/"), of("/states/")))?;
    report.step("check it", None, way.check()).await?;
    report.verified("every chunk is what its name says")?;
    let back = report.step("restore from it", None, way.restore_kept()).await?;
    report.same("what the kloset gave back", &digests(&back)?, &drive.files(FILES))
}

/// Returns the files below a folder of this machine.
fn digests(folder: &PathBuf) -> Result<Digests, Failure> {
    let mut found = Digests::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = format!("/{}", path.strip_prefix(folder)?.display());
            found.insert(name, drive::hex(&plakar_host::digest(&std::fs::read(&path)?)));
        }
    }
    Ok(found)
}
