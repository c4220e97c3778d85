// SPDX-License-Identifier: Apache-2.0
//! Memory for a secret: pages of its own, which Linux excludes from core dumps, and which are wiped before
//! they are unmapped.

use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::{io, slice};
use zeroize::{Zeroize, Zeroizing};

struct Pages {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping stays where it is for as long as the value lives, and only its destructor writes to it.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

/// A copy of `secret` in such memory, or on the heap if the mapping fails; wiped in both cases.
pub fn keep(secret: &[u8]) -> Arc<dyn AsRef<[u8]> + Send + Sync> {
    match Pages::new(secret) {
        Ok(pages) => Arc::new(pages),
        Err(error) => {
            crate::log!(
                Info,
                "no memory page for the key of the store ({error}): core dumps of httpd hold it"
            );
            Arc::new(Zeroizing::new(secret.to_vec()))
        }
    }
}

impl Pages {
    fn new(secret: &[u8]) -> io::Result<Self> {
        let length = secret.len();
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, of no file, wherever the kernel has room.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("it lies at address 0"))?;
        let pages = Pages { start, length };
        #[cfg(target_os = "linux")]
        // SAFETY: advice about the mapping that has just been made.
        if unsafe { libc::madvise(start.as_ptr().cast(), length, libc::MADV_DONTDUMP) } != 0 {
            let error = io::Error::last_os_error();
            crate::log!(Info, "the key of the store cannot be kept out of core dumps: {error}");
        }
        // SAFETY: the mapping is writable, at least that long, and not shared yet.
        unsafe { ptr::copy_nonoverlapping(secret.as_ptr(), start.as_ptr(), length) };
        Ok(pages)
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: within the mapping, all of it written, and not changed while anybody borrows from this
        // value.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: no borrow of this value is left; the mapping is ours, of this size. A process that was
        // forked has a copy of its own.
        unsafe {
            slice::from_raw_parts_mut(self.start.as_ptr(), self.length).zeroize();
            libc::munmap(self.start.as_ptr().cast(), self.length);
        }
    }
}
