// SPDX-License-Identifier: Apache-2.0
//! Shared memory as the layers see it: counters that every process of a configuration reads and raises.
//! Callers choose their memory; tests use a vector.

use crate::sync::atomic::{AtomicU32, AtomicU64};

/// A fixed number of counters, all 0 at first.
pub trait Counters: Send + Sync {
    fn counter(&self, index: usize) -> Option<&AtomicU64>;
}

/// A number on which threads of all processes can sleep, 0 at first.
pub trait Word: Send + Sync {
    fn word(&self) -> &AtomicU32;
}

/// Tells the processes of a configuration that there is something to look at.
pub trait Bell: Send + Sync {
    fn ring(&self);
}

impl Word for AtomicU32 {
    fn word(&self) -> &AtomicU32 {
        self
    }
}

impl Counters for Vec<AtomicU64> {
    fn counter(&self, index: usize) -> Option<&AtomicU64> {
        self.get(index)
    }
}
