// SPDX-License-Identifier: Apache-2.0
//! Signals are for httpd's own threads.

use std::mem::MaybeUninit;
use std::ptr;

/// From here on no signal reaches the calling thread: a child learns of its end by one that interrupts
/// httpd's main thread.
pub fn block() {
    block_all(ptr::null_mut());
}

/// Threads that `begin` starts get no signal, from their first moment on.
pub fn unsignalled<R>(begin: impl FnOnce() -> R) -> R {
    let mut former = MaybeUninit::<libc::sigset_t>::zeroed();
    block_all(former.as_mut_ptr());
    let begun = begin();
    // SAFETY: the set was written, and only this thread is changed.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, former.as_ptr(), ptr::null_mut()) };
    begun
}

fn block_all(former: *mut libc::sigset_t) {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is filled before it is used, and only this thread is changed.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), former);
    }
}
