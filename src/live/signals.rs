// SPDX-License-Identifier: Apache-2.0
//! Signals between the processes of one configuration. Each topic has a generation in the shared counters;
//! one process raises it and rings the bell, the others notice at their next look. A look costs one atomic load while nothing is
//! new (docs/orderings.md). Signals carry no data: receivers read the subject of a topic elsewhere, and
//! handle a topic once that was raised twice between two looks.
//!
//! Imports run downward: counters and locks, nothing of httpd.

use crate::counters::{Bell, Counters};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, lock};
use std::sync::Arc;

pub struct Signals {
    /// The first counts all signals, the others those of one topic each.
    counters: Arc<dyn Counters>,
    /// The generation of the first that this process has seen, and those of the others.
    generation: AtomicU64,
    taken: Mutex<Vec<u64>>,
    /// Wakes those who look.
    bell: Option<Arc<dyn Bell>>,
}

impl Signals {
    /// How many counters it takes.
    pub fn size(topics: usize) -> usize {
        topics.saturating_add(1)
    }

    /// To be made before the process has children, with counters of its own.
    pub fn new(counters: Arc<dyn Counters>, topics: usize) -> Self {
        Signals { counters, generation: AtomicU64::new(0), taken: Mutex::new(vec![0; topics]), bell: None }
    }

    /// Every signal rings this bell.
    #[must_use]
    pub fn ringing(self, bell: Arc<dyn Bell>) -> Self {
        Signals { bell: Some(bell), ..self }
    }

    /// Signals all processes that `topic` has changed. The answer is the generation that knows of it.
    pub fn raise(&self, topic: usize) -> u64 {
        let raise = |counter| {
            let counter = self.counters.counter(counter);
            counter.map_or(0, |counter| counter.fetch_add(1, Ordering::Release).wrapping_add(1))
        };
        // The topic first: a process that sees the new generation sees the change.
        raise(topic + 1);
        let generation = raise(0);
        self.bell.iter().for_each(|bell| bell.ring());
        generation
    }

    /// The generation that this process has taken.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Whether there are signals that this process has not taken.
    pub fn is_pending(&self) -> bool {
        self.generation() != self.count(0)
    }

    /// The topics that changed since this process looked last.
    pub fn take(&self) -> Vec<usize> {
        let mut taken = lock(&self.taken);
        // Before the others: topics raised meanwhile are pending at the next look.
        self.generation.store(self.count(0), Ordering::Relaxed);
        let changed = |(topic, taken): (usize, &mut u64)| {
            let now = self.count(topic + 1);
            (std::mem::replace(taken, now) != now).then_some(topic)
        };
        taken.iter_mut().enumerate().filter_map(changed).collect()
    }

    fn count(&self, counter: usize) -> u64 {
        self.counters.counter(counter).map_or(0, |counter| counter.load(Ordering::Acquire))
    }

    /// Makes the next look of this process take the signal of `topic` again, because it could not read the
    /// change.
    pub fn put_back(&self, topic: usize) {
        if let Some(taken) = lock(&self.taken).get_mut(topic) {
            *taken = taken.wrapping_sub(1);
        }
        self.generation.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const TOPICS: usize = 3;

    fn counters() -> Vec<AtomicU64> {
        (0..Signals::size(TOPICS)).map(|_| AtomicU64::new(0)).collect()
    }

    /// Two processes, as signals see them.
    fn pair() -> (Signals, Signals) {
        let shared: Arc<dyn Counters> = Arc::new(counters());
        (Signals::new(shared.clone(), TOPICS), Signals::new(shared, TOPICS))
    }

    #[test]
    fn each_process_takes_a_signal_once_and_however_often_it_was_raised() {
        let (one, other) = pair();
        assert!(!one.is_pending() && one.take().is_empty());
        assert_eq!([one.raise(2), one.raise(0), other.raise(2)], [1, 2, 3]);
        for process in [&one, &other] {
            assert!(process.is_pending());
            assert_eq!(process.take(), [0, 2]);
            assert_eq!(process.generation(), 3);
            assert!(!process.is_pending() && process.take().is_empty());
        }
        one.raise(1);
        assert_eq!((other.take(), other.generation()), (vec![1], 4));
    }

    #[test]
    fn a_signal_that_is_put_back_is_pending_again_in_that_process_alone() {
        let (one, other) = pair();
        one.raise(1);
        one.raise(2);
        assert_eq!((one.take(), other.take()), (vec![1, 2], vec![1, 2]));
        one.put_back(1);
        assert!(one.is_pending() && !other.is_pending());
        assert_eq!(one.generation(), 1, "it does not claim to know all");
        assert_eq!((one.take(), one.generation()), (vec![1], 2));
        assert!(other.take().is_empty() && !one.is_pending());
    }

    #[test]
    fn the_bell_rings_once_all_is_there_to_be_taken() {
        struct Looking(Signals, Mutex<Vec<usize>>);
        impl Bell for Looking {
            fn ring(&self) {
                lock(&self.1).extend(self.0.take());
            }
        }
        let shared: Arc<dyn Counters> = Arc::new(counters());
        let looking = Arc::new(Looking(Signals::new(shared.clone(), TOPICS), Mutex::default()));
        let raising = Signals::new(shared, TOPICS).ringing(looking.clone());
        [2, 0].into_iter().for_each(|topic| _ = raising.raise(topic));
        assert_eq!(*lock(&looking.1), [2, 0]);
    }

    #[test]
    fn a_topic_that_does_not_exist_disturbs_no_other() {
        let (one, other) = pair();
        one.raise(TOPICS);
        one.put_back(TOPICS);
        assert!(other.take().is_empty() && one.take().is_empty());
        one.raise(0);
        assert_eq!((one.take(), other.take()), (vec![0], vec![0]));
    }

    /// Another process does something just before this one looks at its counters for the `at`th time.
    struct Interrupted {
        counters: Arc<Vec<AtomicU64>>,
        looks: AtomicUsize,
        at: usize,
        meanwhile: Box<dyn Fn() + Send + Sync>,
    }

    impl Counters for Interrupted {
        fn counter(&self, index: usize) -> Option<&AtomicU64> {
            if self.looks.fetch_add(1, Ordering::Relaxed) == self.at {
                (self.meanwhile)();
            }
            self.counters.get(index)
        }
    }

    fn interrupted(
        shared: &Arc<Vec<AtomicU64>>,
        at: usize,
        meanwhile: impl Fn() + Send + Sync + 'static,
    ) -> Signals {
        let (counters, looks) = (shared.clone(), AtomicUsize::new(0));
        Signals::new(Arc::new(Interrupted { counters, looks, at, meanwhile: Box::new(meanwhile) }), TOPICS)
    }

    #[test]
    fn a_signal_raised_while_another_process_looks_is_not_lost() {
        for topic in 0..TOPICS {
            for at in 0..=TOPICS {
                let shared = Arc::new(counters());
                let raising = Signals::new(shared.clone(), TOPICS);
                let looking = interrupted(&shared, at, move || _ = raising.raise(topic));
                let mut taken = looking.take();
                while looking.is_pending() {
                    taken.extend(looking.take());
                }
                assert_eq!((taken, looking.generation()), (vec![topic], 1), "{topic} at {at}");
            }
        }
    }

    #[test]
    fn a_signal_of_a_process_that_was_killed_meanwhile_is_taken_with_the_next_one() {
        let shared = Arc::new(counters());
        let [other, new] = [0; 2].map(|_| Signals::new(shared.clone(), TOPICS));
        // Killed after the topic, before the count of all.
        shared[1 + 2].fetch_add(1, Ordering::Relaxed);
        other.raise(0);
        for process in [&other, &new] {
            assert_eq!((process.take(), process.generation(), process.is_pending()), (vec![0, 2], 1, false));
        }
    }

    #[test]
    fn a_look_while_another_process_raises_a_signal_does_not_lose_it() {
        // Before either of the two counters is raised, and between them.
        for at in 0..2 {
            let shared = Arc::new(counters());
            let looking = Arc::new(Signals::new(shared.clone(), TOPICS));
            let taken = Arc::new(Mutex::new(Vec::new()));
            let meanwhile = {
                let (looking, taken) = (looking.clone(), taken.clone());
                move || lock(&taken).extend(looking.take())
            };
            assert_eq!(interrupted(&shared, at, meanwhile).raise(1), 1);
            assert!(looking.is_pending());
            lock(&taken).extend(looking.take());
            assert_eq!((lock(&taken).as_slice(), looking.is_pending()), ([1].as_slice(), false), "at {at}");
        }
    }
}
