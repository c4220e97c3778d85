// SPDX-License-Identifier: Apache-2.0
//! How many threads compute at a time, so that renewals do not slow down requests: where many renewals run side
//! by side, no more of them compute at once than processors gain by it, and signatures run at a low priority
//! ([`super::signing_pool`]). The limit is a value that is handed down: the child that renews makes it, and
//! it ends with that. Without one, as in a start, nothing is limited.

use super::signing_pool::SigningPool;
use super::{Error, PrivateKey};
use crate::model::KeySpec;
use crate::sync::lock;
use crate::time::StopFlag;
use openssl::error::ErrorStack;
use openssl::pkey::Private;
use openssl::rsa::Rsa;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long somebody who waits for a place may miss that the process is stopping.
const LOOK: Duration = Duration::from_millis(50);

/// Makes an RSA key of this many bits, and asks again and again whether to give up; then the answer is
/// `None`. The safe bindings of OpenSSL have no such thing: the layer that may call C hands it in.
pub type MakeRsa = fn(bits: u32, is_stopped: &dyn Fn() -> bool) -> Result<Option<Rsa<Private>>, ErrorStack>;

#[derive(Clone)]
pub struct CpuLimit(Arc<Limits>);

struct Limits {
    stop: StopFlag,
    make_rsa: MakeRsa,
    /// What takes milliseconds, again and again: signatures of requests, the encryption of keys. Half of the
    /// processors.
    short: Arc<Places>,
    /// What takes a tenth of a second and more: RSA keys. All processors. Not at a lower priority: where all
    /// are busy a large key would take minutes.
    long: Places,
    signing: SigningPool,
}

impl CpuLimit {
    /// For this machine. Whatever computes ends when `stop` is raised.
    pub fn new(stop: StopFlag, make_rsa: MakeRsa) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let short = Arc::new(Places::new(processors / 2));
        let signing = SigningPool::new(short.clone(), processors / 2, stop.clone());
        CpuLimit(Arc::new(Limits { stop, make_rsa, short, long: Places::new(processors), signing }))
    }

    /// Makes a key; one that takes long waits for its place. `None`: the process is stopping, or `is_stopped`
    /// said so before there was a place.
    pub fn generate(
        &self,
        spec: &KeySpec,
        is_stopped: impl Fn() -> bool,
    ) -> Result<Option<PrivateKey>, Error> {
        let KeySpec::Rsa(bits) = spec else { return PrivateKey::generate(spec).map(Some) };
        let stop = &self.0.stop;
        let make = || (self.0.make_rsa)(*bits, &|| stop.is_raised());
        let made = self.0.long.pass_unless(|| stop.is_raised() || is_stopped(), make);
        made.transpose()?.flatten().map(PrivateKey::from_rsa).transpose()
    }

    /// Runs `work`, which takes milliseconds, at a low priority once there is a place. `None`: the process is
    /// stopping.
    pub(super) fn run_behind<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        self.0.signing.run(work)
    }

    /// Runs `work`, which takes milliseconds, here once there is a place. It must not ask for another one.
    pub fn pass<R>(&self, work: impl FnOnce() -> R) -> R {
        self.0.short.pass(work)
    }
}

/// With a limit of its own, and without a stop: for commands and tests.
impl Default for CpuLimit {
    fn default() -> Self {
        CpuLimit::new(StopFlag::default(), |bits, _| Rsa::generate(bits).map(Some))
    }
}

/// As many may compute at once.
pub(super) struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

struct Place<'a>(&'a Places);

impl Places {
    /// At least one.
    pub fn new(count: usize) -> Self {
        Places { free: Mutex::new(count.max(1)), freed: Condvar::new() }
    }

    /// Does `work` once there is a place. Whoever is inside must not pass the same one again.
    pub fn pass<R>(&self, work: impl FnOnce() -> R) -> R {
        let _place = self.enter();
        work()
    }

    /// The same, but for nobody who is told to stop before there is a place.
    fn pass_unless<R>(&self, is_stopped: impl Fn() -> bool, work: impl FnOnce() -> R) -> Option<R> {
        let _place = self.enter_unless(&is_stopped)?;
        (!is_stopped()).then(work)
    }

    fn enter(&self) -> Place<'_> {
        let free = self.freed.wait_while(lock(&self.free), |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Place(self)
    }

    fn enter_unless(&self, is_stopped: &impl Fn() -> bool) -> Option<Place<'_>> {
        let mut free = lock(&self.free);
        while *free == 0 {
            if is_stopped() {
                return None;
            }
            free = self.freed.wait_timeout(free, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
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
        // One who would not wait finds the places taken, and one that is given back.
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

    #[test]
    fn a_key_in_the_making_is_given_up_when_the_process_stops() {
        let (rsa, stop) = (KeySpec::Rsa(2048), StopFlag::default());
        let given_up = CpuLimit::new(stop.clone(), |_, is_stopped| {
            while !is_stopped() {
                thread::yield_now();
            }
            Ok(None)
        });
        thread::scope(|scope| {
            let made = scope.spawn(|| given_up.generate(&rsa, || false).map(|key| key.is_some()));
            stop.raise();
            assert!(!made.join().unwrap().unwrap());
        });
        let limit = CpuLimit::default();
        assert!(limit.generate(&rsa, || true).unwrap().is_none(), "its job was told to stop");
        assert!(limit.generate(&rsa, || false).unwrap().unwrap().is_rsa());
    }
}
