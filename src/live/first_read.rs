// SPDX-License-Identifier: Apache-2.0
//! Reads the sets that went live since the start, in a new child before it serves its first client: in
//! separate threads, hosts without a valid certificate first. The child waits for a short time only, and
//! never for one set that cannot be read: the threads continue while it serves. Orderings: docs/orderings.md.

use crate::managed::slot::Slot;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::time::StopFlag;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The longest wait of a new child.
pub struct Patience {
    /// For the sets of hosts that had no good certificate at the start.
    pub needed: Duration,
    /// For all others.
    pub all: Duration,
}

pub const PATIENCE: Patience = Patience { needed: Duration::from_secs(10), all: Duration::from_millis(500) };

/// Threads of a new child that read sets, at the most.
const READERS: usize = 4;

/// Reads the sets that these slots were signalled of. Returns once they are read, or the patience is over.
pub fn read(needed: Vec<Slot>, others: Vec<Slot>, patience: &Patience, stop: &StopFlag) {
    let reading = Arc::new(Reading::new(needed, others));
    if reading.slots.is_empty() {
        return;
    }
    for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(READERS) {
        let (mine, flag) = (reading.clone(), stop.clone());
        if let Err(error) = stop.spawn("md-load", move || mine.read_all(&flag)) {
            crate::log!(
                Error,
                status = error.raw_os_error().unwrap_or(0),
                "this process keeps the certificates that it has for now, because the thread that loads new ones cannot be \
                 started: {}. Raise the limit of threads (ulimit -u, TasksMax of the service).",
                crate::log::plain(&error)
            );
            return;
        }
    }
    let begin = Instant::now();
    while !reading.is_enough(begin.elapsed(), patience) && !stop.is_raised() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// The sets that are being read, the needed ones first.
#[derive(Default)]
pub struct Reading {
    slots: Vec<Slot>,
    /// How many of them are needed.
    needed: usize,
    begun: AtomicUsize,
    done: AtomicUsize,
    done_of_needed: AtomicUsize,
}

impl Reading {
    pub fn new(needed: Vec<Slot>, others: Vec<Slot>) -> Self {
        let count = needed.len();
        Reading { slots: needed.into_iter().chain(others).collect(), needed: count, ..Reading::default() }
    }

    /// What each of the threads does.
    pub fn read_all(&self, stop: &StopFlag) {
        let next = || self.begun.fetch_add(1, Ordering::Relaxed);
        for place in std::iter::repeat_with(next) {
            let Some(slot) = self.slots.get(place).filter(|_| !stop.is_raised()) else { return };
            slot.catch_up();
            if place < self.needed {
                self.done_of_needed.fetch_add(1, Ordering::Release);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether a child that has waited this long goes on to serve.
    pub fn is_enough(&self, waited: Duration, patience: &Patience) -> bool {
        let is_served = self.done_of_needed.load(Ordering::Acquire) == self.needed;
        let is_read = self.done.load(Ordering::Acquire) == self.slots.len();
        waited >= patience.needed || is_served && (waited >= patience.all || is_read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_waits_for_needed_sets_longer_than_for_others() {
        let reading = |needed, done_of_needed, done| Reading {
            slots: vec![Slot::default(); 3],
            needed,
            done_of_needed: AtomicUsize::new(done_of_needed),
            done: AtomicUsize::new(done),
            ..Reading::default()
        };
        let enough_after = |reading: Reading| {
            let is_enough = |waited: &Duration| reading.is_enough(*waited, &PATIENCE);
            [Duration::ZERO, PATIENCE.all, PATIENCE.needed].iter().position(is_enough)
        };
        assert_eq!(enough_after(reading(1, 1, 3)), Some(0), "all are read");
        assert_eq!(enough_after(reading(1, 1, 1)), Some(1), "others are missing");
        assert_eq!(enough_after(reading(0, 0, 0)), Some(1), "none is needed");
        assert_eq!(enough_after(reading(1, 0, 2)), Some(2), "a needed one is missing");
    }
}
