// SPDX-License-Identifier: Apache-2.0
//! Starts and ends a child. Our threads end before OpenSSL is torn down.
//!
//! A child that ends destroys its pool and calls `exit`, which runs the handler in which OpenSSL frees its
//! memory. A cleanup that runs before all others of that pool stops our threads and waits for them for a
//! limited time. If a thread is still in a call that cannot be interrupted, our own exit handler, which runs
//! before OpenSSL's, ends the process.
//!
//! In prefork both run in a signal handler, which may have interrupted httpd's only thread anywhere: they
//! touch atomics, wake sleepers and sleep, and neither take locks nor allocate memory.

use crate::fleet::replicator::thread::Ending;
use crate::httpd::child::{tick, watching};
use crate::httpd::state::{Server, State};
use crate::httpd::sys::Listening;
use crate::httpd::sys::guard::callback;
use crate::live::bell::Bell;
use crate::responder::Responder;
use crate::time::StopFlag;
use apache_sys::{apr_pool_t, apr_status_t, server_rec};
use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::Arc;

/// The key under which a child's pool has its [`End`].
const END: &CStr = c"mod_md: end of the child";

/// Lives until the process ends.
struct End {
    stop: StopFlag,
    bell: Arc<Bell>,
    responder: Option<Arc<Responder>>,
    fleet: Ending,
    /// A process that was forked to run a command and failed to also runs the handlers of its parent.
    owner: u32,
}

callback! {
    fn child_init(pool: *mut apr_pool_t, main: *mut server_rec) -> (), failing (); {
        // SAFETY: httpd lends the main server, and the pool is the child's.
        unsafe {
            let main = Server::new(main);
            if let Some(state) = tick::at_work(main) {
                if state.responder.is_some() {
                    Listening::of(main).leave();
                }
                // Before there are threads.
                end_with(pool, state);
                tick::begin(state);
                watching::begin(state);
            }
        }
    }
}

callback! {
    fn child_stopping(pool: *mut apr_pool_t, graceful: c_int) -> (), failing (); {
        if pool.is_null() {
            // MPMs take signals before the child has its pool: nothing of ours has begun.
            return;
        }
        let mut end = ptr::null_mut();
        // SAFETY: httpd lends the child's pool, which has the key since `end_with`, or not at all.
        let end = unsafe {
            apache_sys::apr_pool_userdata_get(&mut end, END.as_ptr(), pool);
            own(end)
        };
        if let Some(end) = end {
            tick::announce_end(end.responder.as_deref(), &end.fleet, &end.bell, graceful != 0);
        }
    }
}

/// Has the flag raised when the child ends, and the threads waited for.
///
/// # Safety
/// `pool` is the pool that lives as long as this child.
unsafe fn end_with(pool: *mut apr_pool_t, state: &State) {
    let (stop, bell, responder) = (state.stop.clone(), state.bell.clone(), state.responder.clone());
    let fleet = state.fleet_ending.clone();
    let end = Box::into_raw(Box::new(End { stop, bell, responder, fleet, owner: std::process::id() }));
    // SAFETY: the pool is live and copies the key, and children neither unload this library nor free the data
    // made here.
    unsafe {
        apache_sys::apr_pool_userdata_set(end.cast(), END.as_ptr(), None, pool);
        apache_sys::apr_pool_pre_cleanup_register(pool, end.cast(), Some(child_ends));
        before_openssl(end.cast());
    }
}

/// Has `process_ends` called at `exit`, before the handlers that are there already.
///
/// # Safety
/// `end` is an [`End`] that is never freed.
#[cfg(target_env = "gnu")]
unsafe fn before_openssl(end: *mut c_void) {
    // Other systems have only `atexit`, which does not pass the exit status. SAFETY: see above.
    unsafe { apache_sys::on_exit(Some(process_ends), end) };
}

#[cfg(not(target_env = "gnu"))]
unsafe fn before_openssl(_end: *mut c_void) {}

/// # Safety
/// `data` is null or an [`End`].
unsafe fn own<'a>(data: *mut c_void) -> Option<&'a End> {
    // SAFETY: see above.
    unsafe { data.cast::<End>().as_ref() }.filter(|end| end.owner == std::process::id())
}

callback! {
    fn child_ends(data: *mut c_void) -> apr_status_t, failing 0; {
        // SAFETY: as `end_with` registered it.
        if let Some(end) = unsafe { own(data) } {
            tick::end(&end.stop, &end.bell, end.responder.as_deref());
        }
        0
    }
}

#[cfg(target_env = "gnu")]
callback! {
    fn process_ends(status: c_int, data: *mut c_void) -> (), failing (); {
        // SAFETY: as `before_openssl` registered it.
        let Some(end) = (unsafe { own(data) }) else { return };
        // If the child's pool was not destroyed.
        if !end.stop.is_raised() {
            tick::end(&end.stop, &end.bell, end.responder.as_deref());
        }
        if !tick::is_quiet(&end.stop, end.responder.as_deref()) {
            // SAFETY: has no conditions. httpd has written its last data: its pool is gone.
            unsafe { libc::_exit(status) };
        }
    }
}
