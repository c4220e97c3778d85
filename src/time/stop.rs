// SPDX-License-Identifier: Apache-2.0
//! The end of a process, as its threads see it: a flag, and the count of threads still at work. Orderings:
//! docs/orderings.md.

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};
use std::io;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The process is about to end: threads that sleep or wait give up, leaving their state on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server process is stopping")]
pub struct Stopped;

/// How long a sleeper may miss that the flag was raised.
const LOOK: Duration = Duration::from_millis(100);

/// Raised once when the process stops; wakes every sleeper, and counts the threads still at work.
///
/// It is raised and waited for in a signal handler, too (a child of prefork): neither takes a lock or memory.
#[derive(Clone, Default)]
pub struct StopFlag(Arc<Stopping>);

#[derive(Default)]
struct Stopping {
    is_raised: AtomicBool,
    /// Threads that the end of the process waits for, and threads that it does not.
    at_work: AtomicUsize,
    aside: AtomicUsize,
    /// Called last by each thread that has been at work.
    farewell: Option<fn()>,
    /// Held by sleepers only.
    asleep: Mutex<()>,
    raised: Condvar,
}

impl StopFlag {
    /// `farewell` is called by each thread that has been at work, as the last thing it does there.
    pub fn with_farewell(farewell: fn()) -> Self {
        StopFlag(Arc::new(Stopping { farewell: Some(farewell), ..Stopping::default() }))
    }

    pub fn raise(&self) {
        self.0.is_raised.store(true, Ordering::SeqCst);
        self.0.raised.notify_all();
    }

    pub fn is_raised(&self) -> bool {
        self.0.is_raised.load(Ordering::SeqCst)
    }

    /// Waits for `d` or until the flag is raised; `Err` in the latter case.
    pub fn wait(&self, d: Duration) -> Result<(), Stopped> {
        let deadline = Instant::now() + d;
        let mut asleep = self.0.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_raised() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let woken = self.0.raised.wait_timeout(asleep, left.min(LOOK));
            asleep = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(Stopped)
    }

    /// Makes the end of the process wait, for a while, until the returned value is dropped. `None`: the end
    /// has begun, and no new work may begin.
    pub fn enter(&self) -> Option<AtWork> {
        self.unless_raised(self.count(|stopping| &stopping.at_work))
    }

    /// The same for a thread that is at work already and continues until it is done.
    pub fn stay(&self) -> AtWork {
        self.count(|stopping| &stopping.at_work)
    }

    /// Like [`enter`](Self::enter), for a system call that cannot be interrupted: the end does not wait for
    /// it.
    pub fn step_aside(&self) -> Option<AtWork> {
        self.unless_raised(self.count(|stopping| &stopping.aside))
    }

    fn count(&self, counter: fn(&Stopping) -> &AtomicUsize) -> AtWork {
        counter(&self.0).fetch_add(1, Ordering::SeqCst);
        AtWork { stopping: self.0.clone(), counter }
    }

    /// Checked after counting, so that a look after raising the flag misses no thread.
    fn unless_raised(&self, at_work: AtWork) -> Option<AtWork> {
        (!self.is_raised()).then_some(at_work)
    }

    /// Runs `work` in a thread that counts as at work until it has dropped all it has. `None`: the process is
    /// stopping.
    pub fn spawn(
        &self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<Option<JoinHandle<()>>> {
        let Some(at_work) = self.enter() else { return Ok(None) };
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            // Also where `work` panics, it goes last.
            let _at_work = at_work;
            work();
        });
        thread.map(Some)
    }

    /// Waits until no thread is at work any more, at most for `bound`. Returns whether that is so.
    pub fn wait_for_all(&self, bound: Duration) -> bool {
        let begin = Instant::now();
        while self.0.at_work.load(Ordering::SeqCst) > 0 {
            if begin.elapsed() >= bound {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Whether no thread is at work or in a call that the end does not wait for.
    pub fn is_quiet(&self) -> bool {
        let is_none = |counter: &AtomicUsize| counter.load(Ordering::SeqCst) == 0;
        is_none(&self.0.at_work) && is_none(&self.0.aside)
    }
}

/// A thread at work; see [`StopFlag::enter`].
#[must_use]
pub struct AtWork {
    stopping: Arc<Stopping>,
    counter: fn(&Stopping) -> &AtomicUsize,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(farewell) = self.stopping.farewell {
            farewell();
        }
        (self.counter)(&self.stopping).fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_stop_flag_ends_every_wait() {
        let flag = StopFlag::default();
        let other = flag.clone();
        let waiter = std::thread::spawn(move || other.wait(Duration::from_secs(600)));
        flag.raise();
        assert_eq!(waiter.join().unwrap(), Err(Stopped));
        assert_eq!(StopFlag::default().wait(Duration::ZERO), Ok(()));
    }

    #[test]
    fn after_a_stop_nothing_begins_and_who_is_at_work_is_waited_for() {
        static FAREWELLS: AtomicUsize = AtomicUsize::new(0);
        let flag = StopFlag::with_farewell(|| {
            FAREWELLS.fetch_add(1, Ordering::SeqCst);
        });
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let other = flag.clone();
        let work = move || {
            let _ = waits.recv();
            let _also = other.stay();
        };
        let thread = flag.spawn("test", work).unwrap().unwrap();
        let aside = flag.step_aside().unwrap();
        flag.raise();
        assert!(flag.enter().is_none() && flag.step_aside().is_none());
        assert!(flag.spawn("test", || panic!("begun")).unwrap().is_none());
        assert!(!flag.wait_for_all(Duration::from_millis(5)));
        go_on.send(()).unwrap();
        assert!(flag.wait_for_all(Duration::from_secs(600)));
        assert!(!flag.is_quiet(), "nobody waits for who stepped aside");
        drop(aside);
        assert!(flag.is_quiet());
        thread.join().unwrap();
        assert!(FAREWELLS.load(Ordering::SeqCst) >= 3, "one for each, before it is no longer counted");
    }

    #[test]
    fn a_thread_that_panics_is_at_work_no_more() {
        let flag = StopFlag::default();
        let thread = flag.spawn("test", || panic!("a bug")).unwrap().unwrap();
        assert!(thread.join().is_err());
        assert!(flag.is_quiet());
    }
}
