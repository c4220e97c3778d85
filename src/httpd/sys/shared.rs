// SPDX-License-Identifier: Apache-2.0
//! Counters that all processes of one configuration share, without a lock: an anonymous mapping, made before
//! httpd forks and inherited by every child. A child keeps it until it ends, even if the parent has put the
//! next configuration in force.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A fixed number of counters, all 0 at first.
pub struct Counters {
    first: NonNull<AtomicU64>,
    count: usize,
    owner: u32,
}

// SAFETY: the mapping stays where it is for as long as the value lives, and atomics may be used from
// everywhere.
unsafe impl Send for Counters {}
// SAFETY: as above.
unsafe impl Sync for Counters {}

impl Counters {
    /// Called in the parent, before it has children.
    pub fn new(count: usize) -> io::Result<Self> {
        let count = count.max(1);
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, of no file, wherever the kernel has room.
        let start = unsafe { libc::mmap(ptr::null_mut(), size(count), access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("it lies at address 0"))?;
        Ok(Counters { first, count, owner: std::process::id() })
    }

    pub fn get(&self, index: usize) -> Option<&AtomicU64> {
        // SAFETY: within the mapping, which is aligned to a page and filled with zeros: atomics of value 0.
        (index < self.count).then(|| unsafe { self.first.add(index).as_ref() })
    }
}

impl crate::counters::Counters for Counters {
    fn counter(&self, index: usize) -> Option<&AtomicU64> {
        self.get(index)
    }
}

/// A word in a mapping of its own.
pub struct Word(Counters);

impl Word {
    /// Called in the parent, before it has children.
    pub fn new() -> io::Result<Self> {
        Counters::new(1).map(Word)
    }
}

impl crate::counters::Word for Word {
    fn word(&self) -> &AtomicU32 {
        // SAFETY: the mapping lives as long as this value, is aligned and filled with zeros, and nobody sees a
        // counter in it.
        unsafe { AtomicU32::from_ptr(self.0.first.as_ptr().cast()) }
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // When a child that ends drops this, other threads may still be at work. The kernel unmaps it there.
        if std::process::id() == self.owner {
            // SAFETY: the mapping is ours, of this size, and no borrow of this value is left.
            unsafe { libc::munmap(self.first.as_ptr().cast(), size(self.count)) };
        }
    }
}

/// In bytes. A count that overflows makes the mapping fail.
fn size(count: usize) -> usize {
    count.saturating_mul(size_of::<AtomicU64>())
}
