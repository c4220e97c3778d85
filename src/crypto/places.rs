// SPDX-License-Identifier: Apache-2.0
//! Limits how many threads compute at once: a thread takes a place before it computes and returns it
//! afterwards, also when it panics.

use crate::sync::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The interval at which a thread that waits for a place checks whether the process is stopping.
const LOOK: Duration = Duration::from_millis(50);

/// As many may compute at once.
pub struct Places {
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    free: usize,
    /// Threads that wait for a place.
    waiting: usize,
}

struct Place<'a>(&'a Places);

impl Places {
    /// At least one.
    pub fn new(count: usize) -> Self {
        Places { state: Mutex::new(State { free: count.max(1), waiting: 0 }), freed: Condvar::new() }
    }

    /// Does `work` once there is a place. `work` must not ask for a place here again.
    pub fn pass<R>(&self, work: impl FnOnce() -> R) -> R {
        let _place = self.enter();
        work()
    }

    /// The same, unless the caller is stopped before there is a place.
    pub fn pass_unless<R>(&self, is_stopped: impl Fn() -> bool, work: impl FnOnce() -> R) -> Option<R> {
        let _place = self.enter_unless(&is_stopped)?;
        (!is_stopped()).then(work)
    }

    /// The same if there is a place now.
    pub fn pass_if_free<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let _place = self.enter_unless(&|| true)?;
        Some(work())
    }

    /// Whether somebody waits for a place.
    pub fn is_awaited(&self) -> bool {
        lock(&self.state).waiting > 0
    }

    fn enter(&self) -> Place<'_> {
        let mut state = lock(&self.state);
        state.waiting += 1;
        let mut state =
            self.freed.wait_while(state, |state| state.free == 0).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.free -= 1;
        Place(self)
    }

    fn enter_unless(&self, is_stopped: &impl Fn() -> bool) -> Option<Place<'_>> {
        let mut state = lock(&self.state);
        while state.free == 0 {
            if is_stopped() {
                return None;
            }
            state.waiting += 1;
            state = self.freed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        state.free -= 1;
        Some(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).free += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    #[test]
    fn no_more_than_the_limit_compute_at_once_and_all_do() {
        let (places, inside, most) = (Places::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        places.pass(|| {
                            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            std::thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                        });
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let most = most.into_inner();
        assert!(most <= 2, "{most} at once");
        assert_eq!(done.into_inner(), 160);
        // A caller that does not wait finds the places taken, and then the one that is given back.
        let enter = || places.enter_unless(&|| true);
        let (first, second) = (enter(), enter());
        assert!(first.is_some() && second.is_some() && enter().is_none());
        drop(first);
        assert!(enter().is_some());
    }

    #[test]
    fn a_stop_ends_waits_for_a_place_and_begins_nothing_more() {
        let (places, is_stopped) = (Places::new(1), AtomicBool::new(false));
        let stopped = || is_stopped.load(Ordering::SeqCst);
        assert_eq!(places.pass_unless(stopped, || 7), Some(7));
        let (begun, go_on) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                places.pass(|| {
                    begun.wait();
                    go_on.wait();
                });
            });
            begun.wait();
            let waits = [(); 4].map(|()| scope.spawn(|| places.pass_unless(stopped, || panic!("begun"))));
            is_stopped.store(true, Ordering::SeqCst);
            waits.into_iter().for_each(|wait| assert_eq!(wait.join().unwrap(), None));
            go_on.wait();
        });
        assert_eq!(places.pass_unless(stopped, || panic!("begun")), None);
    }

    #[test]
    fn a_panic_gives_its_place_back() {
        let places = Places::new(0);
        for _ in 0..3 {
            let panicked = catch_unwind(AssertUnwindSafe(|| places.pass(|| panic!("inside"))));
            assert!(panicked.is_err());
        }
        assert_eq!(places.pass(|| 7), 7, "there is one place at least");
    }
}
