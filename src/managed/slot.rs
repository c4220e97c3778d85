// SPDX-License-Identifier: Apache-2.0
//! The slot in which a process keeps the live set of one managed domain.
//!
//! A handshake takes the set that is in the slot, without a lock and without reading the disk. Publisher,
//! watching thread and the threads of a new child read the newer set that a slot was signalled. Orderings:
//! docs/orderings.md.

use super::live_set::LiveSet;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{ArcSwapOption, Guard, Mutex, MutexGuard, OnceLock};
use std::fmt;
use std::sync::{Arc, PoisonError, TryLockError, Weak};

/// Reads the sets that slots are signalled.
pub trait Source: Send + Sync {
    /// Fills the slot of the MD of this index with the newest set. A set that cannot be used leaves the slot
    /// unchanged.
    fn fill(&self, index: usize, slot: &Slot);

    /// How many processes serve the newest set of this MD.
    fn serving(&self, index: usize) -> usize;
}

#[derive(Clone, Default)]
pub struct Slot(Arc<Inner>);

#[derive(Default)]
struct Inner {
    set: Place,
    is_attached: AtomicBool,
    /// The number of signals for a newer set, and how many of these are handled.
    signalled: AtomicU64,
    handled: AtomicU64,
    /// Held while a set is read.
    reading: Mutex<()>,
    source: OnceLock<(Weak<dyn Source>, usize)>,
}

/// The swappable pointer is made with the first set only, which arrives in a child. Dropping one in httpd's
/// parent would leave a thread-local destructor behind, which keeps the library loaded (docs/unsafe.md).
#[derive(Default)]
struct Place(OnceLock<ArcSwapOption<LiveSet>>);

impl Place {
    fn load(&self) -> Guard<Option<Arc<LiveSet>>> {
        self.0.get().map_or_else(|| Guard::from_inner(None), |set| set.load())
    }

    fn store(&self, set: Option<Arc<LiveSet>>) {
        self.0.get_or_init(ArcSwapOption::default).store(set);
    }
}

impl Slot {
    /// `None`: the certificates of the start are still in use.
    pub fn load(&self) -> Guard<Option<Arc<LiveSet>>> {
        self.0.set.load()
    }

    /// Reads the signalled set. Waits while another thread reads it.
    pub fn catch_up(&self) {
        if self.is_behind() {
            self.read(&self.lock());
        }
    }

    /// The same, but returns if another thread is reading it.
    pub fn catch_up_if_free(&self) {
        let reading = match self.0.reading.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.read(&reading);
    }

    pub fn store(&self, set: LiveSet) {
        self.0.set.store(Some(Arc::new(set)));
    }

    /// Sets come from there, as those of the MD of this index.
    pub fn connect(&self, source: Weak<dyn Source>, index: usize) {
        let _ = self.0.source.set((source, index));
    }

    /// Signals that there is a newer set than the one in the slot.
    pub fn signal(&self) {
        self.0.signalled.fetch_add(1, Ordering::Release);
    }

    /// Whether a signalled set is not read yet.
    pub fn is_behind(&self) -> bool {
        self.0.handled.load(Ordering::Acquire) != self.0.signalled.load(Ordering::Relaxed)
    }

    /// `put` stores the newest set, so that signals up to now need no read.
    pub fn replace(&self, put: impl FnOnce(&Slot)) {
        let _reading = self.lock();
        self.deal(put);
    }

    /// How many processes serve the newest set.
    pub fn serving(&self) -> usize {
        self.with_source(|source, index| source.serving(index)).unwrap_or_default()
    }

    fn with_source<R>(&self, ask: impl FnOnce(&dyn Source, usize) -> R) -> Option<R> {
        let (source, index) = self.0.source.get()?;
        Some(ask(source.upgrade()?.as_ref(), *index))
    }

    fn read(&self, _reading: &MutexGuard<'_, ()>) {
        if self.is_behind() {
            self.deal(|slot| {
                self.with_source(|source, index| source.fill(index, slot));
            });
        }
    }

    fn deal(&self, put: impl FnOnce(&Slot)) {
        // Loaded first, so that a signal during `put` stays unhandled.
        let signalled = self.0.signalled.load(Ordering::Acquire);
        put(self);
        self.0.handled.store(signalled, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handshakes of a host look here.
    pub fn attach(&self) {
        self.0.is_attached.store(true, Ordering::Relaxed);
    }

    /// Whether a set in here is served; else only a restart brings a new one into use.
    pub fn is_attached(&self) -> bool {
        self.0.is_attached.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.set.load().as_ref().map(|set| set.since);
        f.debug_struct("Slot").field("since", &since).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Identities;
    use crate::crypto::fixture::NOW;
    use crate::managed::serve::Certs;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    /// Each set is a second younger than the one before.
    #[derive(Default)]
    struct Sets {
        read: AtomicUsize,
        is_broken: AtomicBool,
        is_signalled_meanwhile: AtomicBool,
    }

    impl Source for Sets {
        fn fill(&self, _index: usize, slot: &Slot) {
            let count = self.read.fetch_add(1, Ordering::Relaxed);
            if self.is_signalled_meanwhile.swap(false, Ordering::Relaxed) {
                slot.signal();
            }
            if !self.is_broken.load(Ordering::Relaxed) {
                let since = NOW.plus(Duration::from_secs(count as u64));
                slot.store(LiveSet {
                    since,
                    ca_url: None,
                    certs: Certs::default(),
                    identities: Identities::default(),
                });
            }
        }

        fn serving(&self, _index: usize) -> usize {
            0
        }
    }

    fn connected() -> (Arc<Sets>, Slot) {
        let (sets, slot) = (Arc::new(Sets::default()), Slot::default());
        let source: Weak<Sets> = Arc::downgrade(&sets);
        slot.connect(source, 0);
        (sets, slot)
    }

    fn seconds(slot: &Slot) -> Option<u64> {
        slot.load().as_ref().map(|set| set.since.since(NOW).as_secs())
    }

    #[test]
    fn a_set_is_read_once_by_those_who_keep_the_slot_up_and_not_by_who_asks() {
        let (sets, slot) = connected();
        slot.signal();
        assert_eq!(seconds(&slot), None, "what there was");
        assert!(slot.is_behind());
        assert_eq!(sets.read.load(Ordering::Relaxed), 0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    slot.catch_up();
                    assert_eq!(seconds(&slot), Some(0));
                });
            }
        });
        assert_eq!(sets.read.load(Ordering::Relaxed), 1);
        assert!(!slot.is_behind());
    }

    #[test]
    fn a_set_that_cannot_be_used_leaves_the_one_before_and_is_not_read_again() {
        let (sets, slot) = connected();
        let caught_up = || {
            slot.catch_up();
            seconds(&slot)
        };
        slot.signal();
        assert_eq!(caught_up(), Some(0));
        sets.is_broken.store(true, Ordering::Relaxed);
        slot.signal();
        assert_eq!(caught_up(), Some(0));
        assert_eq!(caught_up(), Some(0));
        assert_eq!(sets.read.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_set_that_is_at_hand_is_not_read() {
        let (sets, slot) = connected();
        slot.signal();
        slot.replace(|slot| sets.fill(0, slot));
        assert_eq!(seconds(&slot), Some(0));
        assert_eq!(sets.read.load(Ordering::Relaxed), 1, "by who had it");
    }

    #[test]
    fn a_signal_during_a_read_is_not_lost() {
        let (sets, slot) = connected();
        sets.is_signalled_meanwhile.store(true, Ordering::Relaxed);
        slot.signal();
        slot.catch_up();
        assert_eq!(seconds(&slot), Some(0));
        assert!(slot.is_behind());
        slot.catch_up_if_free();
        assert_eq!(seconds(&slot), Some(1));
    }

    #[test]
    fn no_caller_waits_for_a_set_that_is_being_read() {
        let (sets, slot) = connected();
        slot.signal();
        slot.catch_up();
        slot.signal();
        let (reading, go_on) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            // As a disk does that does not answer.
            scope.spawn(|| {
                slot.replace(|slot| {
                    reading.wait();
                    go_on.wait();
                    sets.fill(0, slot);
                });
            });
            reading.wait();
            assert_eq!(seconds(&slot), Some(0), "the one before");
            slot.catch_up_if_free();
            assert!(slot.is_behind());
            go_on.wait();
        });
        assert_eq!(seconds(&slot), Some(1));
    }
}
