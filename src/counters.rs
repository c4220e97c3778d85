// SPDX-License-Identifier: Apache-2.0
//! Shared memory as the layers see it: counters that every process of a configuration reads and raises.
//! Callers choose their memory; tests use a vector.

use crate::sync::atomic::AtomicU64;

/// A fixed number of counters, all 0 at first.
pub trait Counters: Send + Sync {
    fn counter(&self, index: usize) -> Option<&AtomicU64>;
}

impl Counters for Vec<AtomicU64> {
    fn counter(&self, index: usize) -> Option<&AtomicU64> {
        self.get(index)
    }
}
