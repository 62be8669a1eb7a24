//! Waiting for plakar without falling asleep.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::runtime::Builder;

/// How long the thread stays awake for the next request. plakar takes 0.2 to 0.5 ms
/// from an answer to the next request of a restore on two cores.
const LENGTH: Duration = Duration::from_micros(600);

/// Keeps the thread that speaks gRPC awake while plakar asks for one blob after the
/// other, as it does where it has two cores.
///
/// Each of thousands of such requests would wake a sleeping thread, and on a virtual
/// machine that may take longer than the answer. So after two requests in quick
/// succession the thread looks for the next one instead of sleeping, until none comes
/// in time: what the guests of KVM call halt polling
/// (<https://docs.kernel.org/virt/guest-halt-polling.html>).
#[derive(Debug)]
struct Vigil {
    stdin: OwnedFd,
    pace: Mutex<Pace>,
}

/// How quickly requests follow each other.
#[derive(Debug, Clone, Copy)]
struct Pace {
    last: Instant,
    quick: bool,
}

/// Has the threads of a runtime keep a vigil for what comes from `stdin`.
///
/// # Errors
/// If the process has no descriptor left.
pub fn keep(builder: &mut Builder, stdin: &impl AsFd) -> io::Result<()> {
    // On a single core plakar could not go on meanwhile.
    if thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
        return Ok(());
    }
    let stdin = stdin.as_fd().try_clone_to_owned()?;
    let vigil = Arc::new(Vigil { stdin, pace: Mutex::new(Pace::new(Instant::now())) });
    let woken = Arc::clone(&vigil);
    builder.on_thread_park(move || vigil.stay_awake()).on_thread_unpark(move || woken.note());
    Ok(())
}

impl Vigil {
    fn stay_awake(&self) {
        if !self.pace().quick {
            return;
        }
        let end = Instant::now() + LENGTH;
        while !self.has_come() {
            if Instant::now() >= end {
                self.pace().quick = false;
                return;
            }
            thread::yield_now();
        }
    }

    fn note(&self) {
        if self.has_come() {
            self.pace().note(Instant::now());
        }
    }

    /// Whether there is something to read, or nothing to wait for.
    fn has_come(&self) -> bool {
        let mut stdin = [PollFd::new(&self.stdin, PollFlags::IN)];
        poll(&mut stdin, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
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
        self.quick = now.duration_since(self.last) < LENGTH;
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_quick_succession_begin_a_vigil() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for (pause, quick) in [(LENGTH, false), (LENGTH / 2, true), (LENGTH / 2, true), (2 * LENGTH, false)] {
            now += pause;
            pace.note(now);
            assert_eq!(pace.quick, quick, "{pause:?}");
        }
    }
}
