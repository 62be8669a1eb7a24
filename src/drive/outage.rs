//! Tells a service that is gone from an item that fails.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{sync::watch, task::spawn_blocking};

use super::{DrivePath, Error};
use crate::rclone::{self, File, Remote, Scope, Version};

/// Failures without a success between them after which the service is taken for
/// gone, if they are not all below one folder that may be the reason.
const FAILURES: usize = 4;
/// How long nothing may succeed, wherever it is, before the service is taken for
/// gone. It is as long as the longest wait that the service may ask for.
const LONGEST: Duration = Duration::from_mins(5);

/// A kind of work. Each has hosts of its own, which fail on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Listing and looking up.
    List,
    /// Reading content.
    Read,
    /// Storing, deleting, making folders.
    Write,
}

/// The circuit breaker of a drive.
///
/// An operation that failed for want of an answer, with all its retries, makes it
/// ask for something else: the top folder, and for content a file that was read
/// before. If that fails as well, or nothing succeeds any more, every error from
/// then on says that it ends the run.
#[derive(Debug)]
pub(super) struct Outage {
    remote: Remote,
    top: DrivePath,
    state: Mutex<State>,
    /// Held while the service is asked.
    asking: tokio::sync::Mutex<()>,
    over: watch::Sender<Option<Error>>,
}

#[derive(Debug, Default)]
struct State {
    streaks: [Streak; 3],
    /// When the last question that was answered was asked.
    answered: Option<Instant>,
    /// A file that was read in full.
    readable: Option<File>,
}

/// Failures of a kind of work since its last success.
#[derive(Debug, Default)]
struct Streak {
    failures: usize,
    since: Option<Instant>,
    /// The deepest folder that all of them are below.
    common: Option<DrivePath>,
}

impl Outage {
    /// Watches a remote; `top` is the folder that the run is about.
    pub fn new(remote: Remote, top: &DrivePath) -> Arc<Self> {
        Arc::new(Self {
            remote,
            top: top.clone(),
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            over: watch::Sender::default(),
        })
    }

    /// Reports whether the last operation of this kind failed with all its
    /// retries: the next one gets no retries until one succeeds.
    pub fn is_suspected(&self, work: Work) -> bool {
        self.state().streaks[work as usize].failures > 0
    }

    /// Notes a success, which ends a suspicion.
    pub fn worked(&self, work: Work) {
        let mut state = self.state();
        if state.streaks[work as usize].failures > 0 {
            state.streaks[work as usize] = Streak::default();
        }
    }

    /// Notes a file that was read in full.
    pub fn was_read(&self, file: &File) {
        self.worked(Work::Read);
        if file.size.is_some_and(|size| size > 0) {
            self.state().readable = Some(file.clone());
        }
    }

    /// Returns the error that ended the run, if one has.
    pub fn over(&self) -> Option<Error> {
        self.over.borrow().clone()
    }

    /// Waits for the error that ends the run.
    pub async fn until_over(&self) -> Error {
        let mut over = self.over.subscribe();
        loop {
            if let Some(error) = over.borrow_and_update().clone() {
                return error;
            }
            // Fails only if the sender is dropped, which lives as long as this.
            let _ = over.changed().await;
        }
    }

    /// Notes the failure of an operation after its last retry. Returns the error,
    /// which says whether the run is over.
    pub async fn judge(&self, work: Work, error: Error) -> Error {
        let failed_at = Instant::now();
        if !error.cause().may_be_outage() || self.over().is_some() {
            return self.marked(error);
        }
        let _turn = self.asking.lock().await;
        if self.over().is_none() {
            let nothing_succeeds = self.count(work, error.path());
            let is_known = self.state().answered.is_some_and(|asked| asked > failed_at);
            if (nothing_succeeds && !self.can_ask_for(work)) || (!is_known && !self.answers(work).await) {
                log::debug!("nothing more is asked of the service after: {error}");
                self.over.send_replace(Some(error.clone().ends_run()));
            }
        }
        self.marked(error)
    }

    fn marked(&self, error: Error) -> Error {
        match self.over() {
            Some(_) => error.ends_run(),
            None => error.ends_nothing(),
        }
    }

    /// Counts a failure. Reports whether the failures show by themselves that
    /// nothing succeeds.
    fn count(&self, work: Work, path: &DrivePath) -> bool {
        let folder = path.parent();
        let mut state = self.state();
        let streak = &mut state.streaks[work as usize];
        streak.failures += 1;
        let since = *streak.since.get_or_insert_with(Instant::now);
        let common = streak.common.get_or_insert_with(|| folder.clone());
        *common = common.common_with(&folder);
        let everywhere = common.is_top() || *common == self.top || self.top.is_below(common);
        streak.failures >= FAILURES && (everywhere || since.elapsed() > LONGEST)
    }

    /// Reports whether there is a question that tells whether this kind of work can
    /// succeed.
    fn can_ask_for(&self, work: Work) -> bool {
        match work {
            Work::List => true,
            Work::Read => self.state().readable.is_some(),
            Work::Write => false,
        }
    }

    /// Reports whether the service answers: for the top folder, and for content if
    /// that is what failed.
    async fn answers(&self, work: Work) -> bool {
        let asked = Instant::now();
        let listed = self.remote.list(vec![self.top.as_str().to_owned()]).await;
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
        self.state().answered = Some(asked);
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_a_byte(file: &File) -> Result<(), rclone::Error> {
    let scope = Scope::of(file);
    let (mut reader, _) = file.open(0, Some(1), Version::Listed, scope.under())?;
    reader.read(&mut BytesMut::with_capacity(1)).map(drop)
}
