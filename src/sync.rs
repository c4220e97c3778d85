// SPDX-License-Identifier: Apache-2.0
//! Locks, with one rule for a poisoned one, values that are shared, and what the lock-free parts are made of.
//!
//! These import from here what threads or processes share, so that `tests/orderings` can compile the same files
//! with loom's, which tries every order of their steps. Orderings: docs/orderings.md.

pub use arc_swap::{ArcSwap, ArcSwapOption, Guard};
pub use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

pub mod atomic {
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};

/// A lock whose holder panicked is still good here: every holder leaves whole values behind.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Equal values, each kept once and only as long as somebody uses it: thousands of domains have the same few issuers.
pub struct Shared<T>(Mutex<HashMap<Vec<u8>, Weak<T>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Shared(Mutex::default())
    }
}

impl<T> Shared<T> {
    /// The value that is in use under this name; else this one, from now on.
    pub fn share(&self, name: Vec<u8>, value: Arc<T>) -> Arc<T> {
        let mut known = lock(&self.0);
        if let Some(known) = known.get(&name).and_then(Weak::upgrade) {
            return known;
        }
        known.retain(|_, value| value.strong_count() > 0);
        known.insert(name, Arc::downgrade(&value));
        value
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        lock(&self.0).len()
    }
}
