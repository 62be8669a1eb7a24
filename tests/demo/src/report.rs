//! The output of the steps: a progress bar while a step runs, and a line when it is verified.

use std::future::Future;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use icloud_simulator::RequestKind;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Digests, Failure};
use crate::drive::Drive;

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(100);

pub struct Report<'a> {
    drive: &'a Drive,
    start: Instant,
    step: String,
    verified: usize,
}

impl<'a> Report<'a> {
    pub fn new(drive: &'a Drive) -> Self {
        Self { drive, start: Instant::now(), step: String::new(), verified: 0 }
    }

    pub fn line(&self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(io::stdout(), "{text}")?)
    }

    /// Runs a step and counts its requests from its start. The bar moves with the requests of one
    /// kind, or shows the number of all requests.
    pub async fn step<T>(
        &mut self,
        name: &str,
        goal: Option<(RequestKind, u64)>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.drive.simulator.reset_counts();
        let bar = bar(name, goal.map(|(_, count)| count));
        let start = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        let mut work = std::pin::pin!(work);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                _ = ticks.tick() => {
                    let counts = self.drive.simulator.counts();
                    bar.set_position(goal.map_or(counts.total.requests, |(kind, _)| counts.of(kind)));
                }
            }
        };
        bar.finish_and_clear();
        let requests = self.drive.simulator.counts().total.requests;
        self.step = format!("{name:28}{:7.2} s {requests:6} requests", start.elapsed().as_secs_f64());
        result.map_err(|error| format!("{name}: {error}").into())
    }

    /// Completes the line of the last step with the verified result.
    pub fn verified(&mut self, what: &str) -> Result<(), Failure> {
        self.verified += 1;
        let step = std::mem::take(&mut self.step);
        self.line(&format!("  {step}   {what}"))
    }

    /// Fails unless two numbers are equal.
    pub fn expect(&self, what: &str, seen: u64, wanted: u64) -> Result<(), Failure> {
        if seen == wanted { Ok(()) } else { Err(format!("{seen} {what} instead of {wanted}").into()) }
    }

    /// Verifies that two folders have the same content, byte for byte.
    pub fn same(&mut self, what: &str, seen: &Digests, wanted: &Digests) -> Result<(), Failure> {
        let differs = |(path, digest): &(&String, &String)| wanted.get(*path) != Some(*digest);
        let missing = wanted.keys().find(|path| !seen.contains_key(*path));
        if let Some(path) = seen.iter().find(differs).map(|(path, _)| path).or(missing) {
            return Err(format!("{what} differs at {path}").into());
        }
        self.verified(&format!("{} files, equal by sha256", seen.len()))
    }

    pub fn end(self) -> Result<(), Failure> {
        let (verified, seconds) = (self.verified, self.start.elapsed().as_secs_f64());
        self.line(&format!("All {verified} steps did what they should, in {seconds:.1} s."))
    }
}

fn bar(name: &str, goal: Option<u64>) -> ProgressBar {
    let (bar, template) = match goal {
        Some(count) => (ProgressBar::new(count), "  {prefix:28} {bar:30} {pos}/{len} files, {elapsed}"),
        None => (ProgressBar::new_spinner(), "  {prefix:28} {spinner} {pos} requests, {elapsed}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_prefix(name.to_owned())
}
