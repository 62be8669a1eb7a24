//! Busy polling for the next request while requests come quickly.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::runtime::Builder;

/// How long the thread polls for the next request. On two cores, plakar takes 0.2 to 0.5 ms from a
/// response to the next request of a restore.
const POLL_TIME: Duration = Duration::from_micros(600);

/// Busy-polls stdin on the gRPC thread while plakar requests one blob after the other, as it does
/// on a machine with two cores.
///
/// Each of thousands of requests would wake a sleeping thread, and on a virtual machine the wakeup
/// may take longer than the response. So after two requests in quick succession, the thread polls
/// until none arrives within [`POLL_TIME`]. In KVM guests, the same technique is called halt
/// polling (<https://docs.kernel.org/virt/guest-halt-polling.html>).
#[derive(Debug)]
struct BusyPoll {
    stdin: OwnedFd,
    pace: Mutex<Pace>,
}

/// The time of the last request, and whether it quickly followed the request before it.
#[derive(Debug, Clone, Copy)]
struct Pace {
    last: Instant,
    quick: bool,
}

/// Makes the threads of a runtime poll `stdin` before they sleep.
///
/// # Errors
/// Fails if the process has no descriptor left.
pub fn install(builder: &mut Builder, stdin: &impl AsFd) -> io::Result<()> {
    // On a single core, polling would keep plakar from running.
    if thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
        return Ok(());
    }
    let stdin = stdin.as_fd().try_clone_to_owned()?;
    let polling = Arc::new(BusyPoll { stdin, pace: Mutex::new(Pace::new(Instant::now())) });
    let unparked = Arc::clone(&polling);
    builder.on_thread_park(move || polling.poll()).on_thread_unpark(move || unparked.note_request());
    Ok(())
}

impl BusyPoll {
    fn poll(&self) {
        if !self.pace().quick {
            return;
        }
        let end = Instant::now() + POLL_TIME;
        while !self.is_readable() {
            if Instant::now() >= end {
                self.pace().quick = false;
                return;
            }
            thread::yield_now();
        }
    }

    fn note_request(&self) {
        if self.is_readable() {
            self.pace().note(Instant::now());
        }
    }

    /// Reports whether stdin has bytes or is closed.
    fn is_readable(&self) -> bool {
        let mut stdin = [PollFd::new(&self.stdin, PollFlags::IN)];
        rustix::event::poll(&mut stdin, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    const fn new(now: Instant) -> Self {
        Self { last: now, quick: false }
    }

    fn note(&mut self, now: Instant) {
        self.quick = now.duration_since(self.last) < POLL_TIME;
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_quick_succession_start_the_polling() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for (pause, quick) in [(POLL_TIME, false), (POLL_TIME / 2, true), (POLL_TIME / 2, true), (2 * POLL_TIME, false)]
        {
            now += pause;
            pace.note(now);
            assert_eq!(pace.quick, quick, "{pause:?}");
        }
    }
}
