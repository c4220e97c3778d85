// SPDX-License-Identifier: Apache-2.0
//! Counts the processes that serve the newest set of a managed domain. Each process has a place in the shared
//! counters, where it writes when it was last alive, which generation of signals it has processed, and which
//! sets it could not use.
//!
//! The place of a killed process is not cleared. A process that has not written for three seconds does not
//! count, and the next process that needs a place takes it over. Imports run downward: counters and time,
//! nothing of httpd.

use crate::counters::Counters;
use crate::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Milliseconds after which a process that writes nothing is taken for dead. It writes ten times a second.
const SILENCE: u64 = 3000;

/// In a place, before the bits of refused sets.
const BEAT: usize = 0;
const GENERATION: usize = 1;
const REFUSED: usize = 2;

/// A process that has no place yet.
const NOWHERE: usize = usize::MAX;

pub struct Roster {
    counters: Arc<dyn Counters>,
    mds: usize,
    places: usize,
    /// The place of this process.
    own: AtomicUsize,
}

impl Roster {
    /// How many counters it takes. First come those of the MDs: the generation of the newest set of each.
    pub fn size(mds: usize, places: usize) -> usize {
        mds.saturating_add(places.saturating_mul(width(mds)))
    }

    /// `places`: how many processes there can be.
    pub fn new(counters: Arc<dyn Counters>, mds: usize, places: usize) -> Self {
        Roster { counters, mds, places, own: AtomicUsize::new(NOWHERE) }
    }

    /// A newer set of `md` was published. Processes that have caught up with this generation know of it.
    pub fn publish(&self, md: usize, generation: u64) {
        if let Some(counter) = self.of_md(md) {
            counter.fetch_max(generation, Ordering::Release);
        }
    }

    /// Whether a set of `md` was ever published.
    pub fn is_published(&self, md: usize) -> bool {
        self.of_md(md).is_some_and(|counter| counter.load(Ordering::Acquire) != 0)
    }

    /// This process lives and has caught up with this generation.
    pub fn sign_in(&self, generation: u64, now: Timestamp) {
        let now = millis(now);
        let own = match self.own.load(Ordering::Relaxed) {
            NOWHERE => match self.take_place(now) {
                Some(place) => place,
                None => return,
            },
            place => place,
        };
        self.set(own, GENERATION, generation);
        self.set(own, BEAT, now);
    }

    /// Whether this process could not use the newest set of `md`.
    pub fn set_refused(&self, md: usize, is_refused: bool) {
        let own = self.own.load(Ordering::Relaxed);
        if let Some(bits) = self.of_place(own, REFUSED + md / 64) {
            let bit = 1 << (md % 64);
            let _ = match is_refused {
                true => bits.fetch_or(bit, Ordering::Release),
                false => bits.fetch_and(!bit, Ordering::Release),
            };
        }
    }

    /// The number of processes that serve the newest set of `md`.
    pub fn serving(&self, md: usize, now: Timestamp) -> usize {
        let now = millis(now);
        let newest = self.of_md(md).map_or(0, |counter| counter.load(Ordering::Acquire));
        let serves = |place: &usize| {
            let value = |at| self.of_place(*place, at).map_or(0, |counter| counter.load(Ordering::Acquire));
            is_alive(value(BEAT), now)
                && value(GENERATION) >= newest
                && value(REFUSED + md / 64) & (1 << (md % 64)) == 0
        };
        (0..self.places).filter(serves).count()
    }

    fn take_place(&self, now: u64) -> Option<usize> {
        let is_free = |place: &usize| {
            let Some(beat) = self.of_place(*place, BEAT) else { return false };
            let last = beat.load(Ordering::Acquire);
            !is_alive(last, now)
                && beat.compare_exchange(last, now, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let place = (0..self.places).find(is_free)?;
        (REFUSED..width(self.mds)).for_each(|at| self.set(place, at, 0));
        self.own.store(place, Ordering::Relaxed);
        Some(place)
    }

    fn set(&self, place: usize, at: usize, value: u64) {
        self.of_place(place, at).into_iter().for_each(|counter| counter.store(value, Ordering::Release));
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

    /// Processes that share counters, as far as a roster sees them.
    fn processes(count: usize, mds: usize, places: usize) -> Vec<Roster> {
        let shared: Vec<AtomicU64> = (0..Roster::size(mds, places)).map(|_| AtomicU64::new(0)).collect();
        let shared: Arc<dyn Counters> = Arc::new(shared);
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
        let later = NOW.plus(Duration::from_secs(4));
        all[1].sign_in(0, later);
        assert_eq!(all[1].serving(0, later), 1);
        all[2].sign_in(0, later);
        assert_eq!(all[1].serving(0, later), 2, "what its predecessor refused is forgotten");
    }
}
