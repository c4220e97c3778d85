// SPDX-License-Identifier: Apache-2.0
//! News that one process has for all of its configuration: each topic has a counter that all of them see. Who
//! has news raises it; the others notice at their next look, which costs one atomic load as long as there is
//! none.

use super::sys::Counters;
use crate::sync::lock;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub struct News {
    /// The first counts all news, the others those of one topic each.
    counters: Counters,
    /// What this process knows of the first, and of the others.
    total: AtomicU64,
    seen: Mutex<Vec<u64>>,
}

impl News {
    /// To be made in the parent, before it has children.
    pub fn new(topics: usize) -> io::Result<Self> {
        let counters = Counters::new(topics.saturating_add(1))?;
        Ok(News { counters, total: AtomicU64::new(0), seen: Mutex::new(vec![0; topics]) })
    }

    /// There is something new about `topic`. Tells how many news there are by now.
    pub fn tell(&self, topic: usize) -> u64 {
        let raise = |counter| {
            let counter = self.counters.get(counter);
            counter.map_or(0, |counter| counter.fetch_add(1, Ordering::Release).wrapping_add(1))
        };
        raise(topic + 1);
        raise(0)
    }

    /// How many of them this process has heard.
    pub fn heard(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Whether there is any since this process looked last.
    pub fn is_there_any(&self) -> bool {
        self.total.load(Ordering::Relaxed) != self.count(0)
    }

    /// The topics with news since this process looked last.
    pub fn take(&self) -> Vec<usize> {
        let mut seen = lock(&self.seen);
        // Before the others: what is told meanwhile is there at the next look.
        self.total.store(self.count(0), Ordering::Relaxed);
        let changed = |(topic, seen): (usize, &mut u64)| {
            let now = self.count(topic + 1);
            (std::mem::replace(seen, now) != now).then_some(topic)
        };
        seen.iter_mut().enumerate().filter_map(changed).collect()
    }

    fn count(&self, counter: usize) -> u64 {
        self.counters.get(counter).map_or(0, |counter| counter.load(Ordering::Acquire))
    }

    /// This process could not make use of the news about `topic`: the next look tells them again.
    pub fn put_back(&self, topic: usize) {
        if let Some(seen) = lock(&self.seen).get_mut(topic) {
            *seen = seen.wrapping_sub(1);
        }
        self.total.fetch_sub(1, Ordering::Relaxed);
    }
}
