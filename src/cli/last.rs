//! The command `last`.

use clap::Args;

use super::{AccountArg, Error, ExitStatus, output};
use crate::{
    account::StateFolder,
    report::{Outcome, Run},
};

/// Show the last runs of an account.
///
/// A run is a backup, a restore, or a command that stored something in a kloset. The last 100 runs of
/// this machine are kept in the state folder.
#[derive(Debug, Args)]
pub struct Last {
    #[command(flatten)]
    which: AccountArg,
    /// Number of runs to show
    #[arg(short, long, value_name = "N", default_value_t = 20)]
    number: usize,
    /// Print the runs as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Last {
    /// Prints the runs, the newest last.
    pub fn run(self, state: &StateFolder) -> Result<ExitStatus, Error> {
        let (name, account) = state.choose(self.which.name.as_deref())?;
        let runs = state.runs(&state.session_file(&account.apple_id, &account.client_id));
        let stored = runs.all().map_err(Error::io("the last runs cannot be read"))?;
        let runs: Vec<Run> = stored.iter().filter_map(|text| Run::parse(text)).collect();
        let shown = &runs[runs.len().saturating_sub(self.number)..];
        if self.json {
            output::print_json(&shown)?;
        } else if shown.is_empty() {
            output::note(&format!("No run of account {name} is known."));
        } else {
            output::print(&shown.iter().map(line).collect::<String>())?;
        }
        Ok(ExitStatus::Success)
    }
}

fn line(run: &Run) -> String {
    let result = match run.result {
        Outcome::Complete => "complete",
        Outcome::Partial => "partial",
        Outcome::Failed => "failed",
    };
    let what = match &run.reason {
        Some(reason) => reason.clone(),
        None => format!("{}; {}", run.summary.text(run.kind), run.effort()),
    };
    let label = format!("{}  {:<7} {result:<8}", output::minute(&run.began), run.kind.name());
    output::row(&label, label.len(), &format!("{}: {what}", run.location))
}
