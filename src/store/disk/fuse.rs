// SPDX-License-Identifier: Apache-2.0
//! The point at which a test ends the process or fills the disk: every step that changes the disk asks here
//! first, and tells it here what it has written. Refuses nothing outside of tests. Imports nothing.

use std::io;
use std::sync::Arc;
#[cfg(test)]
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lets a test end the process, as seen from the disk, before any single step that changes it. The
/// default never does.
#[derive(Clone, Default)]
pub struct Fuse(Option<Arc<Wire>>);

#[derive(Default)]
struct Wire {
    /// The steps that still happen.
    left: AtomicUsize,
    /// The files that were written, with the bytes of each.
    #[cfg(test)]
    written: Mutex<Vec<(String, usize)>>,
}

impl Fuse {
    /// `steps` changes still happen, all later ones fail.
    pub fn after(steps: usize) -> Self {
        let fuse = Fuse(Some(Arc::default()));
        fuse.blow_after(steps);
        fuse
    }

    /// The bytes of each time a file of this name was written.
    #[cfg(test)]
    pub fn written(&self, file: &str) -> Vec<usize> {
        let written = self.0.as_ref().map(|wire| wire.written.lock().unwrap().clone()).unwrap_or_default();
        written.into_iter().filter(|(name, _)| name == file).map(|(_, bytes)| bytes).collect()
    }

    #[cfg(test)]
    pub(super) fn wrote(&self, file: &str, bytes: usize) {
        if let Some(wire) = &self.0 {
            wire.written.lock().unwrap().push((file.to_string(), bytes));
        }
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
        self.0.as_ref().is_some_and(|wire| wire.left.load(Ordering::Relaxed) == 0)
    }

    /// `steps` more changes succeed, all later ones fail.
    pub fn blow_after(&self, steps: usize) {
        if let Some(wire) = &self.0 {
            wire.left.store(steps, Ordering::Relaxed);
        }
    }

    /// One step that changes the disk; fails from the step on at which the process ends.
    pub(super) fn burn(&self) -> io::Result<()> {
        let Some(wire) = &self.0 else { return Ok(()) };
        let step = wire.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        step.map(drop).map_err(|_| io::Error::other("the test ended the process here"))
    }
}
