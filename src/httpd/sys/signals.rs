// SPDX-License-Identifier: Apache-2.0
//! Signals are for httpd's own threads.

use std::mem::MaybeUninit;
use std::ptr;

/// From here on no signal reaches the calling thread: a child learns of its end by one that interrupts
/// httpd's main thread.
pub fn block() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is filled before it is used, and only this thread is changed.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
    }
}
