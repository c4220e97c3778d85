// SPDX-License-Identifier: Apache-2.0
//! Locks, with one rule for a poisoned one.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock whose holder panicked is still good here: every holder leaves whole values behind.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
