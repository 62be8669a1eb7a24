//! The result of a run, for users and for programs.

mod dry_run;
mod first;
mod metrics;
mod ping;
mod run;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

pub use dry_run::is_dry_run;
pub use ping::{Ping, Signal, TEXT_VARIABLE, URL_VARIABLE};
pub use run::{Kind, Outcome, Run};

use crate::account::{self, Counts, OnEvent, RunEvent, Runs};

/// The maximum number of causes in one line.
const MAX_CAUSES: usize = 4;

/// The counts of a run: what happened to its items.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The number of files of a backup or a restore, or of objects that a store has stored.
    pub files: u64,
    /// The number of folders of the run.
    pub folders: u64,
    /// The number of other records, such as links.
    pub others: u64,
    /// The bytes of content that were transferred.
    pub bytes: u64,
    /// The number of files that plakar did not have to read, because they have not changed.
    pub unchanged: u64,
    /// The number of files that were read.
    pub read: u64,
    /// The number of files that are known to be packages.
    pub packages: u64,
    /// The number of files and folders that other accounts share.
    pub shared: u64,
    /// The number of items that were left out as configured. The items in a folder that was left
    /// out are unknown and not counted.
    pub excluded: u64,
    /// The number of items that the service counts but does not list.
    pub missing: u64,
    /// The number of items whose name in the drive differs from that in the snapshot.
    pub renamed: u64,
    /// The number of files that a restore found in the destination with the same size and time.
    pub identical: u64,
    /// The number of files that a restore has replaced.
    pub replaced: u64,
    /// The number of them whose old versions are in the Trash of the service.
    pub trashed: u64,
    /// The number of files that a restore has stored beside others that have their names.
    pub kept_both: u64,
    /// The number of items that a restore has left out because others have their names.
    pub skipped: u64,
    /// The number of packages that a restore has stored as archives, because the service refused them.
    pub archives: u64,
    /// The number of links and special files that a restore has left out.
    pub links: u64,
    /// The number of items whose permissions a restore could not set.
    pub permissions: u64,
    /// The number of items whose extended attributes a restore could not set.
    pub attributes: u64,
    /// The number of items that were not saved or not restored.
    pub failed: u64,
    /// The number of failed items by cause.
    pub causes: BTreeMap<String, u64>,
}

impl Summary {
    /// Counts an item that failed.
    pub fn fail(&mut self, cause: &str) {
        self.failed += 1;
        *self.causes.entry(cause.to_owned()).or_default() += 1;
    }

    /// Returns the causes with their numbers, the most frequent first.
    pub fn grouped_causes(&self) -> String {
        let mut causes: Vec<(&String, &u64)> = self.causes.iter().collect();
        causes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let others: u64 = causes.iter().skip(MAX_CAUSES).map(|&(_, count)| count).sum();
        let mut groups: Vec<String> =
            causes.iter().take(MAX_CAUSES).map(|(cause, count)| format!("{count} × {cause}")).collect();
        if others > 0 {
            groups.push(format!("{others} × other causes"));
        }
        groups.join("; ")
    }

    /// Returns the counts of a run that are not zero, and the causes of the failures.
    pub fn text(&self, kind: Kind) -> String {
        let (files, folders) = (counted(self.files, "file"), counted(self.folders, "folder"));
        let mut text = format!("{files} and {folders}, {} transferred", Bytes(self.bytes));
        let packages = if kind == Kind::Restore { "stored as packages" } else { "recognised as packages" };
        let replaced =
            if self.trashed == self.replaced { "replaced (old versions are in the Trash)" } else { "replaced" };
        let parts = [
            (self.unchanged, "unchanged"),
            (self.read, "read"),
            (self.packages, packages),
            (self.shared, "shared by others"),
            (self.excluded, "left out"),
            (self.identical, "there already"),
            (self.replaced, replaced),
            (self.kept_both, "restored beside others"),
            (self.skipped, "skipped because others have their names"),
            (self.renamed, "restored under another name"),
            (self.archives, "packages restored as archives"),
            (self.links, "links and special files left out"),
            (self.missing, "counted by the service but not listed"),
        ];
        for (count, what) in parts.into_iter().filter(|&(count, _)| count > 0) {
            text += &format!(", {count} {what}");
        }
        match self.failed {
            0 => text + ", none failed",
            failed => format!("{text}, {failed} failed: {}", self.grouped_causes()),
        }
    }
}

impl From<&Summary> for Counts {
    fn from(summary: &Summary) -> Self {
        Self { files: summary.files, failed: summary.failed }
    }
}

/// Where and how the runs of a configuration are reported.
#[derive(Debug, Clone)]
pub struct Destinations {
    /// The command of `on_event`.
    pub on_event: OnEvent,
    /// The file that gets the result as JSON.
    pub file: Option<PathBuf>,
    /// The file that gets the figures of the last run, for Prometheus.
    pub metrics: Option<PathBuf>,
    /// The check at a monitor.
    pub ping: Option<Ping>,
    /// The last runs of the account.
    pub runs: Option<Runs>,
    /// The name of the account, or the Apple ID or server.
    pub account: String,
    /// The folder or file that the location names.
    pub location: String,
    /// The account or server of the files.
    pub origin: String,
}

/// Reports how a run ended: on stderr, in files, in the list of the last runs, to a monitor, and by
/// the command of `on_event`.
#[derive(Debug)]
pub struct Reporter {
    kind: Kind,
    to: Destinations,
    began: SystemTime,
    reported: AtomicBool,
}

impl Reporter {
    /// Returns a reporter for a run that begins now.
    pub fn new(kind: Kind, to: &Destinations) -> Self {
        Self { kind, to: to.clone(), began: SystemTime::now(), reported: AtomicBool::default() }
    }

    /// Makes this process the one that reports, unless another process of the same plakar is.
    /// Reports whether it is.
    pub fn claim(&self) -> bool {
        first::is_first(&format!("{} {}", self.to.origin, self.to.location))
    }

    /// Sends a start signal to the monitor, unless another process of the same plakar reports.
    pub fn begun(&self) {
        if let Some(ping) = &self.to.ping
            && self.claim()
        {
            ping.send(Signal::Start, "");
        }
    }

    /// Reports a run that has a result. `partial` is the event for a run that lacks items.
    pub fn done(&self, summary: &Summary, partial: Option<RunEvent>) {
        if self.was_reported() {
            return;
        }
        let run = self.ended(summary, None);
        crate::log::notice(format_args!("{}: {}; {}", self.kind.name(), summary.text(self.kind), run.effort()));
        self.publish(&run);
        if let Some(event) = partial.filter(|_| summary.failed > 0) {
            let reason = format!(
                "{} of {} failed: {}",
                summary.failed,
                counted(summary.files, "file"),
                summary.grouped_causes()
            );
            self.to.on_event.run_ended(event, &reason, Some(summary.into()));
        }
    }

    /// Reports a run that succeeded, without a line on stderr.
    pub fn done_silently(&self, summary: &Summary) {
        if !self.was_reported() {
            self.publish(&self.ended(summary, None));
        }
    }

    /// Reports why a run failed, once. If a stream ends while plakar is sending, plakar prints only
    /// "EOF".
    pub fn failed(&self, event: RunEvent, reason: &str, summary: Option<&Summary>) {
        if self.was_reported() {
            return;
        }
        log::error!("{reason}");
        if self.claim() {
            self.publish(&self.ended(&summary.cloned().unwrap_or_default(), Some(reason)));
        }
        self.to.on_event.run_ended(event, reason, summary.map(Counts::from));
    }

    /// Reports a run that could not begin, without a line on stderr: plakar shows the reason.
    pub fn refused(&self, reason: &str) {
        if !self.was_reported() && self.claim() {
            self.publish(&self.ended(&Summary::default(), Some(reason)));
        }
    }

    fn was_reported(&self) -> bool {
        self.reported.swap(true, Ordering::Relaxed)
    }

    fn ended(&self, summary: &Summary, reason: Option<&str>) -> Run {
        Run::new(self.kind, &self.to, self.began, summary, reason)
    }

    /// Stores the result and sends it to the monitor. If that fails, the run has not failed.
    fn publish(&self, run: &Run) {
        let text = run.to_json();
        if let Some(path) = &self.to.file
            && let Err(error) =
                account::replaceable(path).and_then(|path| account::replace_file(&path, text.as_bytes()))
        {
            log::warn!("the summary cannot be written to {}: {error}", path.display());
        }
        if let Some(path) = &self.to.metrics
            && let Err(error) = account::replaceable(path).and_then(|path| metrics::replace(&path, run))
        {
            log::warn!("the metrics cannot be written to {}: {error}", path.display());
        }
        if let Some(ping) = &self.to.ping {
            let signal = if run.result == Outcome::Complete { Signal::Success } else { Signal::Failure };
            let text =
                run.reason.clone().unwrap_or_else(|| format!("{}: {}", run.kind.name(), run.summary.text(run.kind)));
            ping.send(signal, &text);
        }
        if let Some(runs) = &self.to.runs
            && let Err(error) = runs.add(self.began, text.as_bytes())
        {
            log::debug!("the run cannot be added to the last runs of the account: {error}");
        }
    }
}

/// Returns a number with a noun, such as "1 file" or "2 files".
pub fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A number of bytes, written with a unit.
#[derive(Debug, Clone, Copy)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
        match units.into_iter().find(|&(size, _)| self.0 >= size) {
            Some((size, unit)) => write!(f, "{}.{} {unit}", self.0 / size, self.0 % size / (size / 10)),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line_with_the_most_frequent_causes_first() {
        let mut summary = Summary { files: 40, folders: 1, bytes: 1_250_000, ..Summary::default() };
        assert_eq!(summary.text(Kind::Backup), "40 files and 1 folder, 1.2 MB transferred, none failed");
        for (cause, count) in [("a", 1), ("b", 3), ("c", 2), ("d", 1), ("e", 1), ("f", 1)] {
            (0..count).for_each(|_| summary.fail(cause));
        }
        let shown = summary.text(Kind::Backup);
        assert!(shown.ends_with("9 failed: 3 × b; 2 × c; 1 × a; 1 × d; 2 × other causes"), "{shown}");
        (summary.renamed, summary.unchanged) = (1, 30);
        let shown = summary.text(Kind::Backup);
        assert!(shown.contains("transferred, 30 unchanged, 1 restored under another name, 9 failed"), "{shown}");
        summary.bytes = 999;
        assert!(summary.text(Kind::Backup).contains("999 bytes"));
    }
}
