// SPDX-License-Identifier: Apache-2.0
//! Limits how many threads compute at a time, so that renewals do not slow down requests: many concurrent
//! renewals use no more CPUs than they gain from, and signatures run at low priority
//! ([`super::signing_pool`]). The limit is a value that callers pass down: the renewing child makes it and
//! drops it at its end. Without one, as in a start, nothing is limited.

use super::places::Places;
use super::signing_pool::{SigningPool, lower_priority};
use super::{Error, PrivateKey};
use crate::model::KeySpec;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};
use crate::time::StopFlag;
use openssl::error::ErrorStack;
use openssl::pkey::Private;
use openssl::rsa::Rsa;
use std::sync::Arc;
use std::thread;

/// Makes an RSA key of this many bits, and asks again and again whether to give up; then the answer is
/// `None`. The safe bindings of OpenSSL have no such thing: the layer that may call C hands it in.
pub type MakeRsa = fn(bits: u32, is_stopped: &dyn Fn() -> bool) -> Result<Option<Rsa<Private>>, ErrorStack>;

#[derive(Clone)]
pub struct CpuLimit(Arc<Limits>);

struct Limits {
    stop: StopFlag,
    make_rsa: MakeRsa,
    /// Frequent operations of milliseconds: signatures of requests, the encryption of keys. All processors where
    /// signatures have a low priority and there is no quota, else half of them.
    short: Arc<Places>,
    /// Operations of a tenth of a second and more: RSA keys. All processors, at normal priority: with all of
    /// them busy, a large key would otherwise take minutes.
    long: Places,
    signing: SigningPool,
    /// Whether a thread can do without slowing down requests what would otherwise not be done.
    has_priorities: bool,
}

impl CpuLimit {
    /// For this machine. All computations end when `stop` is raised.
    pub fn new(stop: StopFlag, make_rsa: MakeRsa) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let signers = signers(processors, allowed_processors());
        let short = Arc::new(Places::new(signers));
        let signing = SigningPool::new(short.clone(), signers, stop.clone());
        let (long, has_priorities) = (Places::new(processors), signers == processors);
        CpuLimit(Arc::new(Limits { stop, make_rsa, short, long, signing, has_priorities }))
    }

    /// Makes a key; one that takes long waits for its place, and has another thread try as well where that takes
    /// nobody's place. `None`: the process is stopping, or `is_stopped`
    /// said so before there was a place.
    pub fn generate(
        &self,
        spec: &KeySpec,
        is_stopped: impl Fn() -> bool,
    ) -> Result<Option<PrivateKey>, Error> {
        let KeySpec::Rsa(bits) = spec else { return PrivateKey::generate(spec).map(Some) };
        let stop = &self.0.stop;
        let made =
            self.0.long.pass_unless(|| stop.is_raised() || is_stopped(), || Limits::race(&self.0, *bits));
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

impl Limits {
    /// The first key that one of two threads has found. Each looks for primes at random, which takes one several
    /// times as long as the other. The second one has a low priority, and gives up where its place is awaited.
    fn race(self: &Arc<Self>, bits: u32) -> Result<Option<Rsa<Private>>, ErrorStack> {
        let is_over = Arc::new(AtomicBool::new(false));
        let found = Arc::new(Mutex::new(None));
        let second = self.has_priorities.then(|| {
            let (limits, is_over, found) = (self.clone(), is_over.clone(), found.clone());
            self.stop.spawn("md-key", move || {
                lower_priority();
                let ends =
                    || limits.stop.is_raised() || is_over.load(Ordering::Relaxed) || limits.long.is_awaited();
                // What the first one fails in, it says itself.
                if let Some(Ok(Some(key))) = limits.long.pass_if_free(|| (limits.make_rsa)(bits, &ends)) {
                    *lock(&found) = Some(key);
                    is_over.store(true, Ordering::Relaxed);
                }
            })
        });
        let first = (self.make_rsa)(bits, &|| self.stop.is_raised() || is_over.load(Ordering::Relaxed));
        is_over.store(true, Ordering::Relaxed);
        if let Some(Ok(Some(second))) = second {
            let _ = second.join();
        }
        let second = lock(&found).take();
        if second.is_some() { Ok(second) } else { first }
    }
}

/// How many threads sign at once. `processors`: what this process may use. `allowed`: those on which its threads may
/// run, where they have a priority. Where these are more, there is a quota (cgroups), within which all threads slow
/// each other down, whatever their priority.
fn signers(processors: usize, allowed: Option<usize>) -> usize {
    if allowed.is_some_and(|allowed| allowed <= processors) { processors } else { processors / 2 }
}

#[cfg(target_os = "linux")]
fn allowed_processors() -> Option<usize> {
    usize::try_from(rustix::thread::sched_getaffinity(None).ok()?.count()).ok()
}

/// Threads have no priority of their own.
#[cfg(not(target_os = "linux"))]
fn allowed_processors() -> Option<usize> {
    None
}

/// With a limit of its own, and without a stop: for commands and tests.
impl Default for CpuLimit {
    fn default() -> Self {
        CpuLimit::new(StopFlag::default(), |bits, _| Rsa::generate(bits).map(Some))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn all_processors_sign_unless_that_would_slow_down_requests() {
        assert_eq!(signers(8, Some(8)), 8);
        assert_eq!(signers(2, Some(64)), 1, "a quota of two");
        assert_eq!(signers(8, None), 4, "no priorities");
    }

    /// As on a machine with two processors.
    fn for_two(make_rsa: MakeRsa) -> CpuLimit {
        let CpuLimit(limits) = CpuLimit::new(StopFlag::default(), make_rsa);
        let limits = Arc::into_inner(limits).unwrap();
        CpuLimit(Arc::new(Limits { long: Places::new(2), has_priorities: true, ..limits }))
    }

    #[test]
    fn the_first_key_of_two_threads_is_taken_and_ends_the_other_one() {
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        let limit = for_two(|bits, is_stopped| {
            if BEGUN.fetch_add(1, Ordering::SeqCst) > 0 {
                return Rsa::generate(bits).map(Some);
            }
            while !is_stopped() {
                thread::yield_now();
            }
            Ok(None)
        });
        assert!(limit.generate(&KeySpec::Rsa(2048), || false).unwrap().unwrap().is_rsa());
    }

    #[test]
    fn the_second_thread_for_one_key_leaves_its_place_to_another_key() {
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        static GO_ON: AtomicBool = AtomicBool::new(false);
        let begun = |count| {
            while BEGUN.load(Ordering::SeqCst) < count {
                thread::yield_now();
            }
        };
        let limit = for_two(|bits, is_stopped| {
            if BEGUN.fetch_add(1, Ordering::SeqCst) > 1 {
                return Rsa::generate(bits).map(Some);
            }
            while !is_stopped() && !GO_ON.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            if is_stopped() { Ok(None) } else { Rsa::generate(bits).map(Some) }
        });
        let make = || limit.generate(&KeySpec::Rsa(2048), || false).unwrap().is_some();
        thread::scope(|scope| {
            let long = scope.spawn(make);
            begun(2);
            assert!(make());
            assert!(!long.is_finished());
            GO_ON.store(true, Ordering::SeqCst);
            assert!(long.join().unwrap());
        });
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
        assert!(limit.generate(&rsa, || true).unwrap().is_none(), "its job was stopped");
        assert!(limit.generate(&rsa, || false).unwrap().unwrap().is_rsa());
    }
}
