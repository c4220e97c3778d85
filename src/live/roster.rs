// SPDX-License-Identifier: Apache-2.0
//! Counts the processes that serve the newest set of a managed domain. Each process has a place in the shared
//! counters, where it writes when it was last alive, which generation of signals it has processed, and which
//! sets it could not use.
//!
//! The place of a killed process is not cleared. A process that has not written for five seconds does not
//! count, and the next process that needs a place takes it over: it claims the place first, and counts only
//! once all in there is its own. A process that was silent for so long and lives finds its place taken, and
//! takes another one. Imports run downward: counters, locks and time, nothing of httpd. Orderings:
//! docs/orderings.md.

use crate::counters::Counters;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, lock};
use crate::time::Timestamp;
use std::sync::Arc;

/// Milliseconds after which a process that writes nothing is taken for dead. It writes once a second.
const SILENCE: u64 = 5000;

/// In a place, before the bits of refused sets.
const BEAT: usize = 0;
const GENERATION: usize = 1;
const REFUSED: usize = 2;

/// In the beat of a place that is taken while the rest in there is still of the process before.
const CLAIMED: u64 = 1 << 63;

pub struct Roster {
    counters: Arc<dyn Counters>,
    mds: usize,
    places: usize,
    /// Two threads of a process may sign in at once: it has one place all the same.
    own: Mutex<Option<Own>>,
}

/// The place of this process.
#[derive(Clone, Copy)]
struct Own {
    place: usize,
    /// What it wrote there last: another value is that of a process which took the place over.
    beat: u64,
}

impl Roster {
    /// How many counters it takes. First come those of the MDs: the generation of the newest set of each.
    pub fn size(mds: usize, places: usize) -> usize {
        mds.saturating_add(places.saturating_mul(width(mds)))
    }

    /// `places`: how many processes there can be.
    pub fn new(counters: Arc<dyn Counters>, mds: usize, places: usize) -> Self {
        Roster { counters, mds, places, own: Mutex::new(None) }
    }

    /// A newer set of `md` was published. Processes that have caught up with this generation know of it.
    pub fn publish(&self, md: usize, generation: u64) {
        if let Some(counter) = self.of_md(md) {
            // A number for itself: nobody reads anything else because of it.
            counter.fetch_max(generation, Ordering::Relaxed);
        }
    }

    /// Whether a set of `md` was ever published.
    pub fn is_published(&self, md: usize) -> bool {
        self.newest(md) != 0
    }

    /// This process lives and has caught up with this generation.
    pub fn sign_in(&self, generation: u64, now: Timestamp) {
        let now = millis(now);
        let mut own = lock(&self.own);
        let kept = own.filter(|own| self.is_held(*own));
        *own = kept.or_else(|| self.claim(now)).and_then(|own| {
            // Released, so that a process that sees it sees what was refused up to there.
            self.of_place(own.place, GENERATION)?.store(generation, Ordering::Release);
            let beat = self.of_place(own.place, BEAT)?;
            // Released, so that a process that sees a place in use sees nothing of the one before.
            let written = beat.compare_exchange(own.beat, now, Ordering::Release, Ordering::Relaxed);
            written.ok().map(|_| Own { beat: now, ..own })
        });
    }

    /// Whether this process could not use the newest set of `md`.
    pub fn set_refused(&self, md: usize, is_refused: bool) {
        let own = lock(&self.own);
        let place = own.filter(|own| self.is_held(*own)).map(|own| own.place);
        if let Some(bits) = place.and_then(|place| self.of_place(place, REFUSED + md / 64)) {
            let bit = 1 << (md % 64);
            // The generation that follows releases it.
            let _ = match is_refused {
                true => bits.fetch_or(bit, Ordering::Relaxed),
                false => bits.fetch_and(!bit, Ordering::Relaxed),
            };
        }
    }

    /// The number of processes that serve the newest set of `md`.
    pub fn serving(&self, md: usize, now: Timestamp) -> usize {
        let (now, newest) = (millis(now), self.newest(md));
        // In the order in which the last is written first.
        let serves = |place: &usize| {
            let at = |at| self.of_place(*place, at);
            at(BEAT).is_some_and(|beat| {
                let beat = beat.load(Ordering::Acquire);
                beat & CLAIMED == 0 && is_alive(beat, now)
            }) && at(GENERATION).is_some_and(|generation| generation.load(Ordering::Acquire) >= newest)
                && at(REFUSED + md / 64)
                    .is_some_and(|bits| bits.load(Ordering::Relaxed) & (1 << (md % 64)) == 0)
        };
        (0..self.places).filter(serves).count()
    }

    /// Takes a free place, and clears what the process before has left there.
    fn claim(&self, now: u64) -> Option<Own> {
        let claimed = now | CLAIMED;
        let is_taken = |place: &usize| {
            let Some(beat) = self.of_place(*place, BEAT) else { return false };
            let last = beat.load(Ordering::Relaxed);
            !is_alive(last & !CLAIMED, now)
                && beat.compare_exchange(last, claimed, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        let place = (0..self.places).find(is_taken)?;
        for at in REFUSED..width(self.mds) {
            self.of_place(place, at)?.store(0, Ordering::Relaxed);
        }
        Some(Own { place, beat: claimed })
    }

    fn is_held(&self, own: Own) -> bool {
        self.of_place(own.place, BEAT).is_some_and(|beat| beat.load(Ordering::Relaxed) == own.beat)
    }

    fn newest(&self, md: usize) -> u64 {
        self.of_md(md).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    fn of_md(&self, md: usize) -> Option<&AtomicU64> {
        self.counters.counter(md).filter(|_| md < self.mds)
    }

    fn of_place(&self, place: usize, at: usize) -> Option<&AtomicU64> {
        let index = self.mds + place.checked_mul(width(self.mds))? + at;
        self.counters.counter(index).filter(|_| place < self.places)
    }
}

fn width(mds: usize) -> usize {
    REFUSED + mds.div_ceil(64)
}

/// A time far ahead was written before the clock was set back: it does not count either.
fn is_alive(beat: u64, now: u64) -> bool {
    beat != 0 && now.abs_diff(beat) < SILENCE
}

fn millis(time: Timestamp) -> u64 {
    u64::try_from(time.unix_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;
    use std::time::Duration;

    fn counters(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(0)).collect()
    }

    /// Processes that share counters, as far as a roster sees them.
    fn processes(count: usize, mds: usize, places: usize) -> Vec<Roster> {
        let shared: Arc<dyn Counters> = Arc::new(counters(Roster::size(mds, places)));
        (0..count).map(|_| Roster::new(shared.clone(), mds, places)).collect()
    }

    #[test]
    fn a_process_counts_once_it_has_caught_up_with_the_newest_set() {
        let all = processes(3, 70, 8);
        all.iter().for_each(|one| one.sign_in(0, NOW));
        all[0].publish(69, 1);
        assert_eq!(all[2].serving(69, NOW), 0);
        assert_eq!(all[2].serving(68, NOW), 3, "nothing was published for that one");
        all[0].sign_in(1, NOW);
        all[1].sign_in(1, NOW);
        assert_eq!(all[2].serving(69, NOW), 2);
        all[2].sign_in(2, NOW);
        assert_eq!(all[2].serving(69, NOW), 3);
    }

    #[test]
    fn a_process_does_not_count_for_a_set_that_it_could_not_use() {
        let all = processes(2, 70, 8);
        all.iter().for_each(|one| one.sign_in(5, NOW));
        all[0].set_refused(69, true);
        assert_eq!([69, 68, 5].map(|md| all[1].serving(md, NOW)), [1, 2, 2]);
        all[0].set_refused(69, false);
        assert_eq!(all[1].serving(69, NOW), 2);
    }

    #[test]
    fn a_silent_process_does_not_count_and_leaves_its_place() {
        let all = processes(3, 1, 2);
        all[0].sign_in(0, NOW);
        all[0].set_refused(0, true);
        all[1].sign_in(0, NOW);
        all[2].sign_in(0, NOW);
        assert_eq!(all[1].serving(0, NOW), 1, "a third has no place");
        let later = NOW.plus(Duration::from_secs(6));
        all[1].sign_in(0, later);
        assert_eq!(all[1].serving(0, later), 1);
        all[2].sign_in(0, later);
        assert_eq!(all[1].serving(0, later), 2, "what its predecessor refused is forgotten");
    }

    #[test]
    fn a_process_that_was_taken_for_dead_takes_another_place() {
        let all = processes(2, 1, 2);
        all[0].sign_in(0, NOW);
        let later = NOW.plus(Duration::from_secs(6));
        all[1].sign_in(1, later);
        all[0].set_refused(0, true);
        all[0].publish(0, 1);
        assert_eq!(all[1].serving(0, later), 1, "the place is not its own any more");
        all[0].sign_in(1, later);
        assert_eq!(all[1].serving(0, later), 2);
        all[0].set_refused(0, true);
        assert_eq!(all[1].serving(0, later), 1);
    }

    #[test]
    fn two_threads_that_sign_in_at_once_take_one_place() {
        for _ in 0..50 {
            let all = processes(2, 1, 8);
            std::thread::scope(|scope| (0..4).for_each(|_| _ = scope.spawn(|| all[0].sign_in(0, NOW))));
            assert_eq!(all[1].serving(0, NOW), 1);
        }
    }

    /// A process that is killed before its step number `left`: what it would do from there on goes nowhere.
    struct Killed {
        shared: Arc<Vec<AtomicU64>>,
        nowhere: Vec<AtomicU64>,
        left: AtomicU64,
        is_dead: AtomicU64,
    }

    impl Counters for Killed {
        fn counter(&self, index: usize) -> Option<&AtomicU64> {
            if self.left.load(Ordering::Relaxed) == 0 {
                if self.is_dead.swap(1, Ordering::Relaxed) == 0 {
                    // It goes on by what it has read.
                    for (copy, counter) in self.nowhere.iter().zip(self.shared.iter()) {
                        copy.store(counter.load(Ordering::Relaxed), Ordering::Relaxed);
                    }
                }
                return self.nowhere.get(index);
            }
            self.left.fetch_sub(1, Ordering::Relaxed);
            self.shared.get(index)
        }
    }

    #[test]
    fn a_process_killed_at_any_step_counts_for_nothing_that_it_did_not_serve() {
        let (mds, places) = (70, 2);
        for steps in 0.. {
            let shared = Arc::new(counters(Roster::size(mds, places)));
            let lives = Roster::new(shared.clone(), mds, places);
            // One that served all, refused nothing and was killed as well.
            Roster::new(shared.clone(), mds, places).sign_in(9, NOW);
            let later = NOW.plus(Duration::from_secs(6));
            lives.publish(69, 9);
            let killed = Arc::new(Killed {
                shared: shared.clone(),
                nowhere: counters(shared.len()),
                left: AtomicU64::new(steps),
                is_dead: AtomicU64::new(0),
            });
            let dying = Roster::new(killed.clone(), mds, places);
            dying.sign_in(0, later);
            assert_eq!(lives.serving(69, later), 0, "it never had the set: killed at step {steps}");
            dying.set_refused(69, true);
            dying.sign_in(9, later);
            assert_eq!(lives.serving(69, later), 0, "it refused the set: killed at step {steps}");
            // Both places are in use or claimed until five seconds have passed, whatever step that was.
            let after = later.plus(Duration::from_secs(6));
            let next = [0; 2].map(|_| Roster::new(shared.clone(), mds, places));
            next.iter().for_each(|one| one.sign_in(9, after));
            assert_eq!(lives.serving(69, after), 2, "those that come after: killed at step {steps}");
            if killed.is_dead.load(Ordering::Relaxed) == 0 {
                assert!(steps >= 10, "each step was the last of one: {steps}");
                return;
            }
        }
    }
}
