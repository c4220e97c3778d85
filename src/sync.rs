// SPDX-License-Identifier: Apache-2.0
//! Locks, with one rule for a poisoned one, and what the lock-free parts are made of.
//!
//! These import from here what threads or processes share, so that `tests/orderings` can compile the same files
//! with loom's, which tries every order of their steps. Orderings: docs/orderings.md.

pub use arc_swap::{ArcSwap, ArcSwapOption, Guard};
pub use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

pub mod atomic {
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

use std::sync::PoisonError;

/// A lock whose holder panicked is still good here: every holder leaves whole values behind.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
