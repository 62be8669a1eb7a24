//! A circuit breaker: distinguishes an outage of the service from the failure of an item.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{sync::watch, task::spawn_blocking};

use super::{DrivePath, Error};
use crate::rclone::{self, File, Remote, Scope, Version};

/// The number of failures without a success between them after which the service counts as
/// unavailable. Failures that are all below one folder do not count, because that folder may be the
/// cause.
const MIN_FAILURES: usize = 4;
/// The time without any success after which the service counts as unavailable. It equals the
/// longest wait that the service may request.
const MAX_FAILURE_TIME: Duration = Duration::from_mins(5);

/// A kind of work. Each kind has its own hosts, which fail independently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Listing and looking up.
    List,
    /// Reading content.
    Read,
    /// Storing, deleting and creating folders.
    Write,
}

/// The circuit breaker of a drive.
///
/// An operation that got no response, after all its retries, triggers a check: the top folder is
/// listed and, if content failed, a file that was read before is read again. If the check fails
/// too, or if nothing succeeds any more, every later error is fatal: it ends the run.
#[derive(Debug)]
pub(super) struct Outage {
    remote: Remote,
    top: DrivePath,
    state: Mutex<State>,
    /// Held during a check.
    checking: tokio::sync::Mutex<()>,
    fatal: watch::Sender<Option<Error>>,
}

#[derive(Debug, Default)]
struct State {
    streaks: [Streak; 3],
    /// When the last successful check was started.
    checked: Option<Instant>,
    /// A file that was read in full.
    readable: Option<File>,
}

/// The failures of one kind of work since its last success.
#[derive(Debug, Default)]
struct Streak {
    failures: usize,
    since: Option<Instant>,
    /// The deepest folder that contains all of them.
    common: Option<DrivePath>,
}

impl Outage {
    /// Returns the circuit breaker of a remote. `top` is the folder that the run works in.
    pub fn new(remote: Remote, top: &DrivePath) -> Arc<Self> {
        Arc::new(Self {
            remote,
            top: top.clone(),
            state: Mutex::default(),
            checking: tokio::sync::Mutex::default(),
            fatal: watch::Sender::default(),
        })
    }

    /// Reports whether the last operation of this kind failed after all its retries. Until an
    /// operation succeeds again, operations of this kind get no retries.
    pub fn is_suspected(&self, work: Work) -> bool {
        self.state().streaks[work as usize].failures > 0
    }

    /// Records a success, which ends the suspicion.
    pub fn succeeded(&self, work: Work) {
        let mut state = self.state();
        if state.streaks[work as usize].failures > 0 {
            state.streaks[work as usize] = Streak::default();
        }
    }

    /// Records a file that was read in full. The backend makes a generated file without a request, so it
    /// does not show that the service responds.
    pub fn was_read(&self, file: &File) {
        if file.is_generated {
            return;
        }
        self.succeeded(Work::Read);
        if file.size.is_some_and(|size| size > 0) {
            self.state().readable = Some(file.clone());
        }
    }

    /// Returns the error that ended the run, if one has.
    pub fn fatal_error(&self) -> Option<Error> {
        self.fatal.borrow().clone()
    }

    /// Waits for the error that ends the run.
    pub async fn until_fatal_error(&self) -> Error {
        let mut fatal = self.fatal.subscribe();
        loop {
            if let Some(error) = fatal.borrow_and_update().clone() {
                return error;
            }
            // Fails only if the sender is dropped, which lives as long as `self`.
            let _ = fatal.changed().await;
        }
    }

    /// Records the failure of an operation after its last retry. Returns the error, which is
    /// fatal if it ends the run.
    pub async fn judge(&self, work: Work, error: Error) -> Error {
        let failed_at = Instant::now();
        if !error.cause().may_be_outage() || self.fatal_error().is_some() {
            return self.marked(error);
        }
        let _turn = self.checking.lock().await;
        if self.fatal_error().is_none() {
            let nothing_succeeds = self.count(work, error.path());
            let is_known = self.state().checked.is_some_and(|checked| checked > failed_at);
            if (nothing_succeeds && !self.can_check(work)) || (!is_known && !self.check(work).await) {
                log::debug!("no further requests are sent after: {error}");
                self.fatal.send_replace(Some(error.clone().into_fatal()));
            }
        }
        self.marked(error)
    }

    fn marked(&self, error: Error) -> Error {
        match self.fatal_error() {
            Some(_) => error.into_fatal(),
            None => error.into_not_fatal(),
        }
    }

    /// Counts a failure. Reports whether the counted failures alone show that the service is
    /// unavailable.
    fn count(&self, work: Work, path: &DrivePath) -> bool {
        let folder = path.parent();
        let mut state = self.state();
        let streak = &mut state.streaks[work as usize];
        streak.failures += 1;
        let since = *streak.since.get_or_insert_with(Instant::now);
        let common = streak.common.get_or_insert_with(|| folder.clone());
        *common = common.common_with(&folder);
        let everywhere = common.is_top() || *common == self.top || self.top.is_below(common);
        streak.failures >= MIN_FAILURES && (everywhere || since.elapsed() > MAX_FAILURE_TIME)
    }

    /// Reports whether a check can show that this kind of work can succeed.
    fn can_check(&self, work: Work) -> bool {
        match work {
            Work::List => true,
            Work::Read => self.state().readable.is_some(),
            Work::Write => false,
        }
    }

    /// Lists the top folder and, if content failed, reads a file. Reports whether the service
    /// responded.
    async fn check(&self, work: Work) -> bool {
        let started = Instant::now();
        let listed = self.remote.list(vec![self.top.as_str().to_owned()], None).await;
        if listed.and_then(|mut listed| listed.swap_remove(0).map(drop)).is_err_and(|error| error.may_be_outage()) {
            return false;
        }
        let readable = self.state().readable.clone().filter(|_| work == Work::Read);
        if let Some(file) = readable
            && spawn_blocking(move || read_a_byte(&file))
                .await
                .is_ok_and(|read| read.is_err_and(|error| error.may_be_outage()))
        {
            return false;
        }
        self.state().checked = Some(started);
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_a_byte(file: &File) -> Result<(), rclone::Error> {
    let scope = Scope::of(file);
    let (mut reader, _) = file.open(0, Some(1), Version::Listed, scope.id())?;
    reader.read(&mut BytesMut::with_capacity(1)).map(drop)
}
