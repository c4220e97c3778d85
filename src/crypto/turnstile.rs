// SPDX-License-Identifier: Apache-2.0
//! Who computes when. Whatever answers requests of sites waits for a processor behind all that compute at
//! that moment: where many renewals run side by side, no more of them compute at once than get anywhere by
//! it, and the signatures of requests, which are most of it, leave the processor to whoever else wants it.

use std::panic::resume_unwind;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long somebody who waits for a place may miss that the process is stopping.
const LOOK: Duration = Duration::from_millis(50);

/// What takes milliseconds, again and again: signatures of requests, the encryption of keys. Half of the
/// processors.
pub(super) static SHORT: LazyLock<Turnstile> = LazyLock::new(|| Turnstile::new(processors() / 2));

/// What takes a tenth of a second and more: RSA keys. All processors. Not at a lower priority: where all are
/// busy a large key would take minutes.
pub(super) static LONG: LazyLock<Turnstile> = LazyLock::new(|| Turnstile::new(processors()));

/// With it a thread gets a tenth of what others get where all want a processor.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

fn lower_priority() {
    // Elsewhere it would be that of the whole process. Where it is refused, nothing is lost.
    #[cfg(target_os = "linux")]
    if rustix::process::getpriority_process(None).is_ok_and(|own| own < NICE) {
        let _ = rustix::process::setpriority_process(None, NICE);
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Lets so many threads in at once.
pub(super) struct Turnstile {
    free: Mutex<usize>,
    freed: Condvar,
}

struct Place<'a>(&'a Turnstile);

impl Turnstile {
    /// At least one.
    fn new(places: usize) -> Self {
        Turnstile { free: Mutex::new(places.max(1)), freed: Condvar::new() }
    }

    /// Does `work` once there is a place. Whoever is inside must not pass the same one again.
    pub fn pass<R>(&self, work: impl FnOnce() -> R) -> R {
        let _place = self.enter();
        work()
    }

    /// The same, but for nobody who is told to stop before there is a place.
    pub fn pass_unless<R>(&self, is_stopped: impl Fn() -> bool, work: impl FnOnce() -> R) -> Option<R> {
        let _place = self.enter_unless(&is_stopped)?;
        (!is_stopped()).then(work)
    }

    /// The same at a lower priority: in a thread of its own, as nobody may raise the priority of a thread
    /// again, and commands inherit it. It ends before this returns, so that neither a fork nor an unloaded
    /// module leaves it behind.
    pub fn pass_behind<R: Send>(
        &self,
        is_stopped: impl Fn() -> bool,
        work: impl Fn() -> R + Sync,
    ) -> Option<R> {
        let behind = || {
            lower_priority();
            work()
        };
        self.pass_unless(is_stopped, || {
            thread::scope(|scope| {
                match thread::Builder::new().name("md-compute".into()).spawn_scoped(scope, behind) {
                    Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                    // Where there cannot be another thread.
                    Err(_) => work(),
                }
            })
        })
    }

    fn enter(&self) -> Place<'_> {
        let free = self.freed.wait_while(self.free(), |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Place(self)
    }

    fn enter_unless(&self, is_stopped: &impl Fn() -> bool) -> Option<Place<'_>> {
        let mut free = self.free();
        while *free == 0 {
            if is_stopped() {
                return None;
            }
            free = self.freed.wait_timeout(free, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Place(self))
    }

    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free() += 1;
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
        let (turnstile, inside, most) = (Turnstile::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        turnstile.pass(|| {
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
        // One who would not wait finds the places taken, and one that is given back.
        let enter = || turnstile.enter_unless(&|| true);
        let (first, second) = (enter(), enter());
        assert!(first.is_some() && second.is_some() && enter().is_none());
        drop(first);
        assert!(enter().is_some());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_behind_others_has_a_lower_priority_and_its_caller_keeps_its_own() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let own = nice();
        let behind = Turnstile::new(1).pass_behind(|| false, nice);
        assert_eq!((behind, nice()), (Some(own.max(NICE)), own));
    }

    #[test]
    fn a_stop_ends_waits_for_a_place_and_begins_nothing_more() {
        let (turnstile, is_stopped) = (Turnstile::new(1), AtomicBool::new(false));
        let stopped = || is_stopped.load(Ordering::SeqCst);
        assert_eq!(turnstile.pass_unless(stopped, || 7), Some(7));
        let (begun, go_on) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                turnstile.pass(|| {
                    begun.wait();
                    go_on.wait();
                });
            });
            begun.wait();
            let waits = [(); 4].map(|()| scope.spawn(|| turnstile.pass_behind(stopped, || panic!("begun"))));
            is_stopped.store(true, Ordering::SeqCst);
            waits.into_iter().for_each(|wait| assert_eq!(wait.join().unwrap(), None));
            go_on.wait();
        });
        assert_eq!(turnstile.pass_unless(stopped, || panic!("begun")), None);
    }

    #[test]
    fn a_panic_gives_its_place_back() {
        let turnstile = Turnstile::new(0);
        for _ in 0..3 {
            let panicked = catch_unwind(AssertUnwindSafe(|| turnstile.pass(|| panic!("inside"))));
            assert!(panicked.is_err());
            let panicked =
                catch_unwind(AssertUnwindSafe(|| turnstile.pass_behind(|| false, || panic!("inside"))));
            assert!(panicked.is_err());
        }
        assert_eq!(turnstile.pass(|| 7), 7, "there is one place at least");
    }
}
