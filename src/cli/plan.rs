//! The command `plan`.

mod folder;
mod listing;

use std::{collections::HashMap, env, fs, io, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{Error, ExitStatus, Location, output, progress::Progress};
use crate::{
    account::StateFolder,
    config,
    drive::Limits,
    report::{Bytes, counted},
    restore::{Decided, Fate, OnConflict, Plan},
};
use folder::Folder;

/// The number of uploads at once, as in a restore by default.
const UPLOADS: u16 = 64;

/// The number of requests for a file: for an address, the content and its registration.
const REQUESTS_PER_FILE: u64 = 3;

/// The durations that were measured with Apple's service in September 2026, in seconds: an upload of
/// a small file, the creation of a folder, and a call that moves old versions to the Trash.
/// <https://github.com/Dandiccf/cirrove>, `docs/benchmarks`
const UPLOAD_TIME: u64 = 3;
const FOLDER_TIME: u64 = 1;
const TRASH_TIME: u64 = 20;

/// The number of examples of each kind in the text.
const MAX_EXAMPLES: usize = 5;

/// Show what a restore would do, without doing it.
///
/// Compares the listing of a snapshot, or a folder of this machine, with the folder of the drive.
/// Exit codes: 0 everything can be restored, 1 the drive has too little free space or items would
/// fail.
#[derive(Debug, Args)]
#[command(override_usage = "plakar-icloud plan --snapshot LISTING [NAME[:/FOLDER]]\n       \
                            plakar-icloud plan DIR [NAME[:/FOLDER]]")]
pub struct Command {
    /// File with the output of "plakar ls -recursive SNAPSHOT", or - for stdin
    #[arg(long, value_name = "LISTING")]
    snapshot: Option<PathBuf>,
    /// The folder of this machine, unless --snapshot is given, and the account and folder; the name
    /// may be left out where there is only one account
    #[arg(value_name = "DIR|NAME[:/FOLDER]", num_args = 0..=2)]
    locations: Vec<String>,
    /// Option of the restore, as in "plakar restore -o", such as on_conflict=skip
    #[arg(short = 'o', value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Print the plan as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Command {
    /// Makes a plan and prints it.
    pub async fn run(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        let policy = config::restore_policy(self.options()?).map_err(|error| Error::Usage(error.to_string()))?;
        let (Folder { items, vanished }, location) = self.items()?;
        let limits = Limits { uploads: UPLOADS.into(), spool_memory: 0, spool_dir: env::temp_dir() };
        let location = Location::parse(state, location)?;
        let drive = location.open(&limits).await?;
        // The first item is the folder itself, which is not counted.
        let (progress, all) = (Progress::new(), counted(items.len().saturating_sub(1) as u64, "item"));
        let show = |decided: u64| {
            let decided = decided.saturating_sub(1);
            progress.show(decided, || format!("{decided} of {all} compared with the drive"));
        };
        let plan = Plan::make(&drive, &location.top, policy, u32::from(UPLOADS), items, show).await;
        progress.end();
        // The plan has changed nothing, so it is complete even if the session cannot be saved.
        if let Err(error) = drive.close().await {
            log::warn!("{error}");
        }
        let plan = plan.map_err(|error| Error::Failed(error.to_string()))?;
        let totals = Totals::of(&plan);
        if self.json {
            output::print_json(&value(&location, &plan, &totals, vanished))?;
        } else {
            output::print(&text(&location, &plan, &totals, policy.on_conflict))?;
            if vanished > 0 {
                let items = counted(vanished, "item");
                crate::log::notice(format_args!("left out {items} that vanished while the folder was read"));
            }
        }
        Ok(if totals.missing > 0 || totals.refused > 0 { ExitStatus::Failure } else { ExitStatus::Success })
    }

    fn options(&self) -> Result<HashMap<String, String>, Error> {
        let pair = |option: &String| match option.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Error::Usage(format!("-o {option} has no value; write -o KEY=VALUE"))),
        };
        self.options.iter().map(pair).collect()
    }

    /// Returns the items of the snapshot or folder, and the location in the drive.
    fn items(&self) -> Result<(Folder, &str), Error> {
        let (items, locations) = match (&self.snapshot, &self.locations[..]) {
            (Some(path), locations) => {
                let text =
                    if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
                let text = text.map_err(Error::io(format!("{} cannot be read", path.display())))?;
                let parsed = listing::parse(&text);
                let items = parsed.map_err(|why| Error::Usage(format!("{}: {why}", path.display())))?;
                (Folder { items, vanished: 0 }, locations)
            }
            (None, [dir, locations @ ..]) => {
                let folder = Folder::read(dir.as_ref());
                (folder.map_err(Error::io(format!("{dir} cannot be read")))?, locations)
            }
            (None, []) => return Err(Error::Usage("name a folder, or a listing with --snapshot".to_owned())),
        };
        match locations {
            [] => Ok((items, "")),
            [location] => Ok((items, location)),
            _ => Err(Error::Usage("--snapshot and a folder of this machine exclude each other".to_owned())),
        }
    }
}

/// The sums of a plan.
#[derive(Debug, Default)]
struct Totals {
    files: u64,
    folders: u64,
    refused: u64,
    /// The least and the largest number of bytes to send, without those of files of unknown size.
    bytes: (u64, u64),
    unknown: u64,
    /// The bytes that may be missing in the drive.
    missing: u64,
    requests: u64,
    seconds: u64,
}

impl Totals {
    fn of(plan: &Plan) -> Self {
        let count = |wanted: &dyn Fn(&Decided) -> bool| plan.items.iter().filter(|item| wanted(item)).count() as u64;
        let new_folders =
            count(&|item| item.is_folder && !item.is_part && matches!(item.fate, Fate::New | Fate::Beside));
        let (sent, replaced) =
            (count(&|item| item.is_sent() && !item.is_part), count(&|item| item.fate == Fate::Replaced));
        let (least, most, unknown) = plan.bytes();
        let doubtful = count(&|item| item.doubtful.is_some());
        let sent = sent + u64::from(doubtful + count(&|item| item.renamed.is_some()) > 0); // the list of renames
        // An old version is moved to the Trash, and the new one gets its name, many with one call.
        let batches = 2 * replaced.div_ceil(u64::from(UPLOADS));
        Self {
            files: count(&|item| !item.is_folder && item.fate != Fate::LeftOut),
            folders: count(&|item| item.is_folder),
            refused: count(&|item| item.fate == Fate::Refused),
            bytes: (least, most),
            unknown,
            missing: plan.free.map_or(0, |free| most.saturating_sub(free)),
            requests: REQUESTS_PER_FILE * sent + doubtful + new_folders + batches,
            seconds: (UPLOAD_TIME * sent).div_ceil(UPLOADS.into())
                + FOLDER_TIME * new_folders
                + TRASH_TIME * batches / 2,
        }
    }
}

const FATES: [(Fate, &str, &str); 7] = [
    (Fate::New, "new", "new"),
    (Fate::Replaced, "replaced", "replaced"),
    (Fate::Identical, "identical", "there already"),
    (Fate::Skipped, "skipped", "skipped because others have their names"),
    (Fate::Beside, "beside", "stored beside others that have their names"),
    (Fate::LeftOut, "left_out", "links and special files, which are left out"),
    (Fate::Refused, "refused", "would fail"),
];

fn of_fate(plan: &Plan, fate: Fate) -> impl Iterator<Item = &Decided> {
    plan.items.iter().filter(move |item| item.fate == fate && !(item.is_folder && fate == Fate::Identical))
}

/// Returns the number of folders that the destination has.
fn folders_there(plan: &Plan) -> u64 {
    plan.items.iter().filter(|item| item.is_folder && item.fate == Fate::Identical).count() as u64
}

fn value(location: &Location, plan: &Plan, totals: &Totals, vanished: u64) -> Value {
    let counts: serde_json::Map<String, Value> =
        FATES.iter().map(|(fate, key, _)| ((*key).to_owned(), json!(of_fate(plan, *fate).count()))).collect();
    let name = |fate: Fate| FATES.iter().find(|(known, ..)| *known == fate).map(|(_, key, _)| *key);
    let notable = |item: &&Decided| {
        !matches!(item.fate, Fate::New | Fate::Identical) || item.renamed.is_some() || item.doubtful.is_some()
    };
    let item = |item: &Decided| {
        json!({
            "path": item.path, "fate": name(item.fate), "renamed": item.renamed, "doubtful": item.doubtful,
            "reason": item.reason,
        })
    };
    json!({
        "account": location.name, "location": location.top.to_string(), "files": totals.files, "folders": totals.folders,
        "vanished": vanished, "folders_there": folders_there(plan), "counts": counts,
        "items": plan.items.iter().filter(notable).map(item).collect::<Vec<_>>(),
        "bytes": { "least": totals.bytes.0, "most": totals.bytes.1, "files_of_unknown_size": totals.unknown },
        "free": plan.free, "missing": totals.missing,
        "estimate": { "requests": totals.requests, "seconds_without_content": totals.seconds },
    })
}

fn text(location: &Location, plan: &Plan, totals: &Totals, on_conflict: OnConflict) -> String {
    let mut rows = vec![
        ("account", format!("{}, {}", location.name, location.top)),
        ("snapshot", format!("{} and {}", counted(totals.files, "file"), counted(totals.folders, "folder"))),
    ];
    let folders = folders_there(plan);
    for (fate, _, what) in FATES {
        let items: Vec<&Decided> = of_fate(plan, fate).collect();
        if fate == Fate::Identical && folders > 0 {
            rows.push(("", format!("{} there already", counted(folders, "folder"))));
        }
        if items.is_empty() {
            continue;
        }
        rows.push(("", format!("{} {what}", items.len())));
        if !matches!(fate, Fate::New | Fate::Identical) {
            rows.extend(items.iter().take(MAX_EXAMPLES).map(|item| {
                let reason = item.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                ("", format!("  {}{reason}", item.path))
            }));
        }
    }
    let renamed: Vec<(&str, &str)> =
        plan.items.iter().filter_map(|item| Some((item.path.as_str(), item.renamed.as_deref()?))).collect();
    if !renamed.is_empty() {
        rows.push(("renamed", counted(renamed.len() as u64, "item")));
        rows.extend(renamed.iter().take(MAX_EXAMPLES).map(|(from, to)| ("", format!("  {from} as {to}"))));
    }
    let doubtful: Vec<(&str, &str)> =
        plan.items.iter().filter_map(|item| Some((item.path.as_str(), item.doubtful.as_deref()?))).collect();
    if !doubtful.is_empty() {
        let count = counted(doubtful.len() as u64, "name");
        rows.push(("names", format!("{count} that the service may refuse; the items then get another name")));
        rows.extend(doubtful.iter().take(MAX_EXAMPLES).map(|(path, to)| ("", format!("  {path} as {to}"))));
    }
    rows.push(("to send", to_send(totals)));
    rows.push((
        "space",
        match plan.free {
            None => "the free space is unknown".to_owned(),
            Some(free) if totals.missing > 0 => {
                format!("{} are free: up to {} are missing", Bytes(free), Bytes(totals.missing))
            }
            Some(free) => format!("{} are free, which suffices", Bytes(free)),
        },
    ));
    if of_fate(plan, Fate::Replaced).next().is_some() && on_conflict != OnConflict::KeepBoth {
        rows.push(("", "old versions go to the Trash, where they still take space".to_owned()));
    }
    rows.push((
        "effort",
        format!(
            "about {} and, as fast as Apple's service was measured, {} s, without the time to send the content",
            counted(totals.requests, "request"),
            totals.seconds
        ),
    ));
    rows.into_iter().map(|(label, text)| output::row(label, 12, &text)).collect()
}

fn to_send(totals: &Totals) -> String {
    let (least, most) = totals.bytes;
    // plakar rounds the sizes that it prints.
    let mut text = if least == most { Bytes(most).to_string() } else { format!("{} to {}", Bytes(least), Bytes(most)) };
    if totals.unknown > 0 {
        text += &format!(", and {} of unknown size", counted(totals.unknown, "file"));
    }
    text
}
