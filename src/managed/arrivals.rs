// SPDX-License-Identifier: Apache-2.0
//! Sets that other nodes of a fleet have got and that come into staging while a look at the domain may be under
//! way: such a look writes the job that it read before no more. Values and a lock only.

use crate::sync::lock;
use std::sync::{Arc, Mutex};

/// How many sets have come for one managed domain.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<u64>>);

impl Arrivals {
    /// Writes a set and its job into staging.
    pub fn bring<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut count = lock(&self.0);
        *count += 1;
        write()
    }

    pub fn count(&self) -> u64 {
        *lock(&self.0)
    }

    /// Writes, unless a set has come since there were `known`.
    pub fn unless_after<T>(&self, known: u64, write: impl FnOnce() -> T) -> Option<T> {
        let count = lock(&self.0);
        (*count == known).then(write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_read_before_a_set_came_writes_nothing() {
        let arrivals = Arrivals::default();
        let (before, other) = (arrivals.count(), arrivals.clone());
        assert_eq!(arrivals.unless_after(before, || 1), Some(1));
        assert_eq!(other.bring(|| 2), 2);
        assert_eq!(arrivals.unless_after(before, || 3), None);
        assert_eq!(arrivals.unless_after(arrivals.count(), || 4), Some(4));
    }
}
