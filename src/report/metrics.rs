//! The figures of the last run in the text format of Prometheus, for the textfile collector of its
//! node exporter.

use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::SystemTime,
};

use super::{Outcome, Run};

/// The mode of the file. Everybody may read it, because the exporter runs as another user.
const MODE: u32 = 0o644;

/// The metric whose value a failed run copies from the existing file.
const LAST_SUCCESS: &str = "plakar_icloud_last_success_time_seconds";

/// Replaces the file of the metrics, so that a reader gets either the old one or the new one.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn replace(path: &Path, run: &Run) -> io::Result<()> {
    let last = fs::read_to_string(path).unwrap_or_default();
    let text = text(run, SystemTime::now(), &last);
    let folder = path.parent().unwrap_or(path);
    let mut next = tempfile::Builder::new().permissions(Permissions::from_mode(MODE)).tempfile_in(folder)?;
    next.write_all(text.as_bytes())?;
    next.persist(path).map(drop).map_err(|error| error.error)
}

/// Returns the new text of the file. `last` is the existing text.
fn text(run: &Run, ended: SystemTime, last: &str) -> String {
    let ended = ended.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let is_complete = run.result == Outcome::Complete;
    let summary = &run.summary;
    let mut metrics = vec![
        ("plakar_icloud_last_run_time_seconds", "When the last run ended.", ended.to_string()),
        ("plakar_icloud_last_run_duration_seconds", "How long the last run took.", run.seconds.to_string()),
        (
            "plakar_icloud_last_run_success",
            "Whether nothing failed in the last run.",
            u8::from(is_complete).to_string(),
        ),
        ("plakar_icloud_last_run_files", "Files of the last run.", summary.files.to_string()),
        ("plakar_icloud_last_run_folders", "Folders of the last run.", summary.folders.to_string()),
        ("plakar_icloud_last_run_bytes", "Bytes of content that the last run transferred.", summary.bytes.to_string()),
        (
            "plakar_icloud_last_run_failed",
            "Items that the last run did not save or restore.",
            summary.failed.to_string(),
        ),
        (
            "plakar_icloud_last_run_missing",
            "Items that the service counted but did not list.",
            summary.missing.to_string(),
        ),
    ];
    if let Some(requests) = run.requests {
        metrics.push(("plakar_icloud_last_run_requests", "Requests of the last run.", requests.to_string()));
    }
    let success = if is_complete { Some(ended.to_string()) } else { value_of(LAST_SUCCESS, last).map(str::to_owned) };
    if let Some(success) = success {
        metrics.push((LAST_SUCCESS, "When the last run without a failure ended.", success));
    }
    let labels = format!(
        "{{kind=\"{}\",account=\"{}\",location=\"{}\"}}",
        run.kind.name(),
        escaped(&run.account),
        escaped(&run.location)
    );
    let mut text = String::new();
    for (name, help, value) in metrics {
        // Writing to a String cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{labels} {value}\n");
    }
    text
}

/// Returns the value of a metric in a file.
fn value_of<'a>(name: &str, text: &'a str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')))?;
    line.rsplit_once(' ').map(|(_, value)| value)
}

fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}
