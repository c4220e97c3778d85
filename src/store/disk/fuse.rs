// SPDX-License-Identifier: Apache-2.0
//! The point at which a test ends the process or fills the disk: every step that changes the disk asks here
//! first. Refuses nothing outside of tests. Imports nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lets a test end the process, as seen from the disk, before any single step that changes it. The
/// default never does.
#[derive(Clone, Default)]
pub struct Fuse(Option<Arc<AtomicUsize>>);

impl Fuse {
    /// `steps` changes still happen, all later ones fail.
    pub fn after(steps: usize) -> Self {
        Fuse(Some(Arc::new(AtomicUsize::new(steps))))
    }

    /// From now on every change fails, as on a full disk.
    pub fn blow(&self) {
        self.blow_after(0);
    }

    /// From now on all changes succeed again.
    pub fn mend(&self) {
        self.blow_after(usize::MAX);
    }

    /// Whether every change fails from now on.
    pub fn is_blown(&self) -> bool {
        self.0.as_ref().is_some_and(|left| left.load(Ordering::Relaxed) == 0)
    }

    /// `steps` more changes succeed, all later ones fail.
    pub fn blow_after(&self, steps: usize) {
        if let Some(left) = &self.0 {
            left.store(steps, Ordering::Relaxed);
        }
    }

    /// One step that changes the disk; fails from the step on at which the process ends.
    pub(super) fn burn(&self) -> io::Result<()> {
        let Some(left) = &self.0 else { return Ok(()) };
        let step = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        step.map(drop).map_err(|_| io::Error::other("the test ended the process here"))
    }
}
