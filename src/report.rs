//! The result of a run, for the user who started it and for programs.

mod first;

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::account::{Counts, OnEvent, RunEvent};

/// The maximum number of causes in one line.
const CAUSES: usize = 4;

/// The result of a backup or a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The number of files of the run.
    pub files: u64,
    /// The number of folders of the run.
    pub folders: u64,
    /// The number of other records, such as links.
    pub others: u64,
    /// The bytes of content that were transferred.
    pub bytes: u64,
    /// The number of files that have another name in the drive than in the snapshot.
    pub renamed: u64,
    /// The number of items that were not saved or not restored.
    pub failed: u64,
    /// The number of failed items by cause.
    pub causes: BTreeMap<String, u64>,
}

impl Summary {
    /// Counts an item that failed.
    pub fn fail(&mut self, cause: &str) {
        self.failed += 1;
        match self.causes.get_mut(cause) {
            Some(count) => *count += 1,
            None => drop(self.causes.insert(cause.to_owned(), 1)),
        }
    }

    /// Returns the causes with their numbers, the most frequent first.
    pub fn grouped_causes(&self) -> String {
        let mut causes: Vec<(&String, &u64)> = self.causes.iter().collect();
        causes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let others: u64 = causes.iter().skip(CAUSES).map(|&(_, count)| count).sum();
        let mut groups: Vec<String> =
            causes.iter().take(CAUSES).map(|(cause, count)| format!("{count} × {cause}")).collect();
        if others > 0 {
            groups.push(format!("{others} × other causes"));
        }
        groups.join("; ")
    }
}

/// Writes the counts, and the causes of the failures.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (files, folders) = (counted(self.files, "file"), counted(self.folders, "folder"));
        write!(f, "{files} and {folders}, {} transferred", Bytes(self.bytes))?;
        if self.renamed > 0 {
            write!(f, ", {} restored under another name", counted(self.renamed, "file"))?;
        }
        match self.failed {
            0 => write!(f, ", none failed"),
            failed => write!(f, ", {failed} failed: {}", self.grouped_causes()),
        }
    }
}

impl From<&Summary> for Counts {
    fn from(summary: &Summary) -> Self {
        Self { files: summary.files, failed: summary.failed }
    }
}

/// Reports how a run ended: on stderr, and by the command of `on_event`.
#[derive(Debug)]
pub struct Reporter {
    on_event: OnEvent,
    configuration: String,
    told: AtomicBool,
}

impl Reporter {
    /// Returns a reporter for the runs of one configuration.
    pub fn new(on_event: &OnEvent, configuration: &str) -> Self {
        Self { on_event: on_event.clone(), configuration: configuration.to_owned(), told: AtomicBool::default() }
    }

    /// Makes this process the one that reports, unless another process of the same plakar is.
    /// Reports whether it is.
    pub fn claim(&self) -> bool {
        first::is_first(&self.configuration)
    }

    /// Reports a run that has a result. `partial` is the event for a run that lacks items.
    pub fn done(&self, what: &str, summary: &Summary, partial: Option<RunEvent>) {
        if self.was_told() {
            return;
        }
        crate::log::notice(format_args!("{what}: {summary}"));
        if let Some(event) = partial.filter(|_| summary.failed > 0) {
            let reason = format!(
                "{} of {} failed: {}",
                summary.failed,
                counted(summary.files, "file"),
                summary.grouped_causes()
            );
            self.on_event.run_ended(event, &reason, Some(summary.into()));
        }
    }

    /// Reports why a run failed, once. plakar itself prints only "EOF" if a stream ends while
    /// plakar is sending.
    pub fn failed(&self, event: RunEvent, reason: &str, summary: Option<&Summary>) {
        if self.was_told() {
            return;
        }
        log::error!("{reason}");
        self.on_event.run_ended(event, reason, summary.map(Counts::from));
    }

    fn was_told(&self) -> bool {
        self.told.swap(true, Ordering::Relaxed)
    }
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

struct Bytes(u64);

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
        assert_eq!(summary.to_string(), "40 files and 1 folder, 1.2 MB transferred, none failed");
        for (cause, count) in [("a", 1), ("b", 3), ("c", 2), ("d", 1), ("e", 1), ("f", 1)] {
            (0..count).for_each(|_| summary.fail(cause));
        }
        let shown = summary.to_string();
        assert!(shown.ends_with("9 failed: 3 × b; 2 × c; 1 × a; 1 × d; 2 × other causes"), "{shown}");
        summary.renamed = 1;
        assert!(summary.to_string().contains(", 1 file restored under another name, 9 failed"), "{summary}");
        summary.bytes = 999;
        assert!(summary.to_string().contains("999 bytes"));
    }
}
