// SPDX-License-Identifier: Apache-2.0
//! Wakes a thread in every process of a configuration. Threads sleep on a word that the processes share, and
//! whoever has something for them adds one to it. No ring is lost: a thread reads the word, looks at all
//! there is, and sleeps only while the word is what it has read. Orderings: docs/orderings.md.

use crate::counters::{self, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub struct Bell(Arc<dyn Word>);

impl Bell {
    /// To be made before the process has children, with a word of its own.
    pub fn new(word: Arc<dyn Word>) -> Self {
        Bell(word)
    }

    /// Wakes all who sleep, and keeps from sleeping who has looked already. May run in a signal handler.
    pub fn ring(&self) {
        // Released, so that a thread which sees it sees the reason.
        self.0.word().fetch_add(1, Ordering::Release);
        system::wake(self.0.word());
    }

    /// How often it has rung: to be read before the look after which the thread sleeps.
    pub fn seen(&self) -> u32 {
        self.0.word().load(Ordering::Acquire)
    }

    /// Sleeps until it has rung since `seen` was read, at most for `longest`.
    pub fn wait(&self, seen: u32, longest: Duration) {
        system::sleep(self.0.word(), seen, longest);
    }
}

/// One of this process alone.
impl Default for Bell {
    fn default() -> Self {
        Bell::new(Arc::new(AtomicU32::new(0)))
    }
}

impl counters::Bell for Bell {
    fn ring(&self) {
        Bell::ring(self);
    }
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::thread::futex::{self, Flags, Timespec};
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    pub fn wake(word: &AtomicU32) {
        // Fails for no word that there is.
        let _ = futex::wake(word, Flags::empty(), i32::MAX as u32);
    }

    /// The kernel compares the word once the thread can be woken.
    pub fn sleep(word: &AtomicU32, seen: u32, longest: Duration) {
        let longest = Timespec::try_from(longest).ok();
        // Whatever ends it is a reason to look.
        let _ = futex::wait(word, Flags::empty(), seen, longest.as_ref());
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    /// How long a sleeper may miss a ring.
    const LOOK: Duration = Duration::from_millis(100);

    pub fn wake(_word: &AtomicU32) {}

    pub fn sleep(word: &AtomicU32, seen: u32, longest: Duration) {
        let begin = Instant::now();
        while word.load(Ordering::Relaxed) == seen && begin.elapsed() < longest {
            std::thread::sleep(LOOK.min(longest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::Instant;

    const FOREVER: Duration = Duration::from_secs(600);

    fn bell() -> Bell {
        Bell::new(Arc::new(AtomicU32::new(u32::MAX)))
    }

    #[test]
    fn a_ring_since_the_look_keeps_the_thread_from_sleeping() {
        let bell = bell();
        let seen = bell.seen();
        bell.ring();
        let begin = Instant::now();
        bell.wait(seen, FOREVER);
        assert!(begin.elapsed() < FOREVER / 2);
        assert_ne!(bell.seen(), seen, "also where the count begins again");
    }

    #[test]
    fn who_is_not_woken_looks_after_a_while() {
        let bell = bell();
        let begin = Instant::now();
        bell.wait(bell.seen(), Duration::from_millis(20));
        assert!(begin.elapsed() >= Duration::from_millis(10));
    }

    #[test]
    fn no_ring_is_lost_however_the_threads_meet() {
        const RINGS: usize = 2000;
        let (bell, said) = (bell(), AtomicUsize::new(0));
        let heard: [AtomicUsize; 3] = Default::default();
        thread::scope(|scope| {
            for heard in &heard {
                scope.spawn(|| {
                    while heard.load(Ordering::Relaxed) < RINGS {
                        let seen = bell.seen();
                        let new = said.load(Ordering::Relaxed);
                        if heard.swap(new, Ordering::Relaxed) == new && new < RINGS {
                            bell.wait(seen, FOREVER);
                        }
                    }
                });
            }
            for said_now in 1..=RINGS {
                said.store(said_now, Ordering::Relaxed);
                bell.ring();
                // Each ring has to be heard before the next: one that is lost ends here.
                while heard.iter().any(|heard| heard.load(Ordering::Relaxed) < said_now) {
                    thread::yield_now();
                }
            }
        });
    }
}
