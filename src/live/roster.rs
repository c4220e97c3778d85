// SPDX-License-Identifier: Apache-2.0
//! How many processes serve the newest set of a managed domain: each has a place in counters that all share,
//! where it says that it lives, how much of the news it has heard, and which sets it could not use.
//!
//! Nobody clears the place of a process that was killed. Who has not been heard of for a while does not
//! count, and the next process takes its place.

use crate::counters::Counters;
use crate::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Milliseconds after which a process that says nothing is taken for dead. It says something ten times a
/// second.
const SILENCE: u64 = 3000;

/// In a place, before the bits of refused sets.
const BEAT: usize = 0;
const HEARD: usize = 1;
const REFUSED: usize = 2;

/// A process that has no place yet.
const NOWHERE: usize = usize::MAX;

pub struct Census {
    counters: Arc<dyn Counters>,
    mds: usize,
    places: usize,
    /// Where this process has its place.
    own: AtomicUsize,
}

impl Census {
    /// How many counters it takes. First come those of the MDs: which of the news the newest set was.
    pub fn size(mds: usize, places: usize) -> usize {
        mds.saturating_add(places.saturating_mul(width(mds)))
    }

    /// `places`: how many processes there can be.
    pub fn new(counters: Arc<dyn Counters>, mds: usize, places: usize) -> Self {
        Census { counters, mds, places, own: AtomicUsize::new(NOWHERE) }
    }

    /// There is a newer set for `md`. Who has heard so many news knows of it.
    pub fn told(&self, md: usize, news: u64) {
        if let Some(counter) = self.of_md(md) {
            counter.fetch_max(news, Ordering::Release);
        }
    }

    /// Whether there was ever word of a set for `md`.
    pub fn is_told(&self, md: usize) -> bool {
        self.of_md(md).is_some_and(|counter| counter.load(Ordering::Acquire) != 0)
    }

    /// This process lives and has heard so many news.
    pub fn note(&self, heard: u64, now: Timestamp) {
        let now = millis(now);
        let own = match self.own.load(Ordering::Relaxed) {
            NOWHERE => match self.take_place(now) {
                Some(place) => place,
                None => return,
            },
            place => place,
        };
        self.set(own, HEARD, heard);
        self.set(own, BEAT, now);
    }

    /// Whether this process could not use the newest set of `md`.
    pub fn note_refused(&self, md: usize, is_refused: bool) {
        let own = self.own.load(Ordering::Relaxed);
        if let Some(bits) = self.of_place(own, REFUSED + md / 64) {
            let bit = 1 << (md % 64);
            let _ = match is_refused {
                true => bits.fetch_or(bit, Ordering::Release),
                false => bits.fetch_and(!bit, Ordering::Release),
            };
        }
    }

    /// How many processes serve the newest set of `md`.
    pub fn serving(&self, md: usize, now: Timestamp) -> usize {
        let now = millis(now);
        let told = self.of_md(md).map_or(0, |counter| counter.load(Ordering::Acquire));
        let serves = |place: &usize| {
            let value = |at| self.of_place(*place, at).map_or(0, |counter| counter.load(Ordering::Acquire));
            is_alive(value(BEAT), now)
                && value(HEARD) >= told
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

/// A clock that was set back makes nobody immortal.
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

    /// Processes that share counters, as far as a census sees them.
    fn processes(count: usize, mds: usize, places: usize) -> Vec<Census> {
        let shared: Vec<AtomicU64> = (0..Census::size(mds, places)).map(|_| AtomicU64::new(0)).collect();
        let shared: Arc<dyn Counters> = Arc::new(shared);
        (0..count).map(|_| Census::new(shared.clone(), mds, places)).collect()
    }

    #[test]
    fn a_process_counts_once_it_has_heard_of_the_newest_set() {
        let all = processes(3, 70, 8);
        all.iter().for_each(|one| one.note(0, NOW));
        all[0].told(69, 1);
        assert_eq!(all[2].serving(69, NOW), 0);
        assert_eq!(all[2].serving(68, NOW), 3, "nothing new of that one");
        all[0].note(1, NOW);
        all[1].note(1, NOW);
        assert_eq!(all[2].serving(69, NOW), 2);
        all[2].note(2, NOW);
        assert_eq!(all[2].serving(69, NOW), 3);
    }

    #[test]
    fn a_process_that_could_not_use_a_set_does_not_count_for_it_until_it_can() {
        let all = processes(2, 70, 8);
        all.iter().for_each(|one| one.note(5, NOW));
        all[0].note_refused(69, true);
        assert_eq!([69, 68, 5].map(|md| all[1].serving(md, NOW)), [1, 2, 2]);
        all[0].note_refused(69, false);
        assert_eq!(all[1].serving(69, NOW), 2);
    }

    #[test]
    fn who_is_silent_does_not_count_and_leaves_its_place_to_another() {
        let all = processes(3, 1, 2);
        all[0].note(0, NOW);
        all[0].note_refused(0, true);
        all[1].note(0, NOW);
        all[2].note(0, NOW);
        assert_eq!(all[1].serving(0, NOW), 1, "there is no place for a third");
        let later = NOW.plus(Duration::from_secs(4));
        all[1].note(0, later);
        assert_eq!(all[1].serving(0, later), 1);
        all[2].note(0, later);
        assert_eq!(all[1].serving(0, later), 2, "what the one before has refused is forgotten");
    }
}
