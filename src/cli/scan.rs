//! The command `scan`.

use std::{env, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Error, ExitStatus, Location, libraries, output, progress::Progress};
use crate::{
    account::StateFolder,
    backup::{self, ExcludeOptions, Excludes, VersionsFile},
    config::{PHOTOS, SERVICE, origin_of_photos},
    drive::{DrivePath, Limits},
    rclone::{Collection, Rclone},
    report::{Bytes, counted},
};

/// The number of concurrent calls that list folders, as in a backup by default.
const LISTINGS: usize = 8;

/// The number of addresses of contents that one request returns (`ahead.go`).
const ADDRESSES_PER_REQUEST: u64 = 50;

/// Show what a drive or a photo library holds and what the next backup would read.
///
/// Lists all folders and downloads nothing. Exit codes: 0 success, 1 some folders could not be listed.
#[derive(Debug, Args)]
pub struct Scan {
    /// Account and folder; the name is optional if there is only one account
    #[arg(value_name = "NAME[:/FOLDER]", default_value = "")]
    location: String,
    /// Scan the photo library instead of the drive
    #[arg(long)]
    photos: bool,
    /// Pattern of what to leave out, as in ignore= of plakar's configuration
    #[arg(long, value_name = "PATTERN")]
    ignore: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The estimated effort of a backup.
struct Estimate {
    requests: u64,
    seconds: u64,
}

impl Scan {
    /// Scans a drive and prints the result.
    pub async fn run(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        let mut location = Location::parse(state, &self.location)?;
        let mut origin = location.account.apple_id.to_lowercase();
        if self.photos {
            let section = location.sections.entry(location.section.to_owned()).or_default();
            section.insert(SERVICE.to_owned(), PHOTOS.to_owned());
            origin = origin_of_photos(&origin);
        }
        let limits = Limits { uploads: 1, spool_memory: 0, spool_dir: env::temp_dir() };
        let began = Instant::now();
        let drive = location.open(&limits).await?;
        let Location { name, top, .. } = location;
        let options = ExcludeOptions { lines: self.ignore.clone(), ..ExcludeOptions::default() };
        let excludes = Excludes::new(&[], &options).await?;
        let last = VersionsFile::new(&state.kept_folder(), &origin, &top).load();
        let progress = Progress::new();
        let show = |scan: &backup::Scan| progress.show(scan.files, || progress_of(scan));
        let scan = backup::Scan::run(&drive, &top, &excludes, LISTINGS, last, show).await;
        // They are known after the walk has listed them.
        let collections = drive.collections().await;
        progress.end();
        // The scan has changed nothing, so it is complete even if the session cannot be saved.
        if let Err(error) = drive.close().await {
            log::warn!("{error}");
        }
        let scan = scan?;
        // Without their numbers, the scan is complete too.
        let collections = collections.inspect_err(|error| log::warn!("{error}")).ok();
        let collections = collections.as_deref();
        let estimate = Estimate::of(&scan, began.elapsed());
        let found = Found { name: &name, top: &top, scan: &scan, collections, estimate };
        if self.json {
            output::print_json(&found.value())?;
        } else {
            output::print(&found.text())?;
        }
        Ok(if scan.failed > 0 { ExitStatus::Failure } else { ExitStatus::Success })
    }
}

impl Estimate {
    /// Returns the estimate for the files that a backup would read. The time is that of its
    /// requests at the rate of the scan's requests, without the transfer of content.
    fn of(scan: &backup::Scan, took: Duration) -> Self {
        let listing = Rclone::traffic().map_or(1, |traffic| traffic.requests);
        let files = scan.changes.map_or(scan.files, |changes| changes.new + changes.changed);
        let requests = listing + files + files.div_ceil(ADDRESSES_PER_REQUEST);
        let seconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).saturating_mul(requests) / listing / 1000;
        Self { requests, seconds }
    }
}

fn progress_of(scan: &backup::Scan) -> String {
    let (files, folders) = (counted(scan.files, "file"), counted(scan.folders, "folder"));
    format!("{files}, {folders}, {}", Bytes(scan.bytes))
}

/// What a scan has found.
struct Found<'a> {
    /// The name of the account.
    name: &'a str,
    top: &'a DrivePath,
    scan: &'a backup::Scan,
    /// The photo libraries, or none if they are unknown.
    collections: Option<&'a [Collection]>,
    estimate: Estimate,
}

impl Found<'_> {
    /// Returns the JSON object.
    fn value(&self) -> Value {
        let Self { name, top, scan, collections, estimate } = self;
        let largest_folders: Vec<Value> = scan
            .largest_folders(top)
            .into_iter()
            .map(|(path, files, bytes)| json!({ "path": path.to_string(), "files": files, "bytes": bytes }))
            .collect();
        let largest_files =
            scan.largest_files.iter().map(|(path, size)| json!({ "path": path.to_string(), "bytes": size }));
        let names = scan.unportable_names.iter().map(|(path, why)| json!({ "path": path.to_string(), "reason": why }));
        let libraries = collections.map(libraries::values);
        let changes = scan.changes.map(|changes| {
            json!({ "new": changes.new, "changed": changes.changed, "gone": changes.gone, "bytes": changes.bytes })
        });
        json!({
            "account": name, "location": top.to_string(), "files": scan.files, "folders": scan.folders, "bytes": scan.bytes,
            "libraries": libraries, "packages": scan.packages, "shared": scan.shared, "excluded": scan.excluded,
            "missing": scan.missing,
            "largest_folders": largest_folders, "largest_files": largest_files.collect::<Vec<_>>(),
            "troubled_names": scan.unportable, "names": names.collect::<Vec<_>>(), "changes": changes,
            "failed": scan.failed, "failures": scan.failures.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "estimate": { "requests": estimate.requests, "seconds": estimate.seconds },
        })
    }

    /// Returns the lines for people.
    fn text(&self) -> String {
        let Self { name, top, scan, collections, estimate } = self;
        let (files, folders) = (counted(scan.files, "file"), counted(scan.folders, "folder"));
        let mut rows = vec![
            ("account", format!("{name}, {top}")),
            ("contents", format!("{files} and {folders}, {}", Bytes(scan.bytes))),
        ];
        rows.extend(libraries::lines(collections.unwrap_or_default()).map(|line| ("library", line)));
        if scan.packages > 0 {
            let packages = counted(scan.packages, "possible package");
            rows.push(("packages", format!("{packages}, whose size is known only after reading")));
        }
        if scan.shared > 0 {
            rows.push(("shared", format!("{} of other accounts", counted(scan.shared, "item"))));
        }
        if scan.excluded > 0 {
            rows.push(("left out", counted(scan.excluded, "item")));
        }
        for (path, files, bytes) in scan.largest_folders(top) {
            rows.push(("folder", format!("{} in {} of {path}", Bytes(bytes), counted(files, "file"))));
        }
        for (path, size) in &scan.largest_files {
            rows.push(("file", format!("{} {path}", Bytes(*size))));
        }
        if scan.unportable > 0 {
            let names = counted(scan.unportable, "name");
            rows.push(("names", format!("{names} that a restore to another system may refuse, for example")));
            rows.extend(scan.unportable_names.iter().map(|(path, why)| ("", format!("{path} {why}"))));
        }
        match scan.changes {
            Some(changes) => rows.push((
                "changes",
                format!(
                    "since the last backup: {} new, {} changed ({}), {} gone",
                    changes.new,
                    changes.changed,
                    Bytes(changes.bytes),
                    changes.gone
                ),
            )),
            None => rows.push(("changes", "no backup of this folder is known on this machine".to_owned())),
        }
        rows.push((
            "next backup",
            format!(
                "about {} and, at the rate of this scan, {} s, without the time for the content itself",
                counted(estimate.requests, "request"),
                estimate.seconds
            ),
        ));
        if scan.failed > 0 {
            rows.push(("failed", format!("{} could not be listed in full", counted(scan.failed, "folder or item"))));
            rows.extend(scan.failures.iter().map(|error| ("", error.to_string())));
        }
        rows.into_iter().map(|(label, text)| output::row(label, 12, &text)).collect()
    }
}
