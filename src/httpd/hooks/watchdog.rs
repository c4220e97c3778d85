// SPDX-License-Identifier: Apache-2.0
//! The functions that mod_watchdog calls: one renews, in one child at a time; the other checks for signals,
//! in every child.

use crate::httpd::child::renewing::{self, Beat};
use crate::httpd::child::tick;
use crate::httpd::state::State;
use crate::httpd::sys::guard::callback;
use apache_sys::{apr_pool_t, apr_status_t};
use std::ffi::{c_int, c_void};

callback! {
    fn watchdog_beat(state: c_int, data: *mut c_void, _pool: *mut apr_pool_t) -> apr_status_t, failing 0; {
        // SAFETY: `post_config_after_tls` has named this function to `Watchdogs` for a State that the
        // configuration keeps alive, and mod_watchdog calls back only while that configuration is in force.
        let Some(shared) = (unsafe { data.cast::<State>().as_ref() }) else { return 0 };
        renewing::beat(shared, match state as u32 {
            apache_sys::AP_WATCHDOG_STATE_STARTING => Beat::Start,
            apache_sys::AP_WATCHDOG_STATE_STOPPING => Beat::Stop,
            _ => Beat::Run,
        });
        0
    }
}

callback! {
    fn signals_beat(state: c_int, data: *mut c_void, _pool: *mut apr_pool_t) -> apr_status_t, failing 0; {
        if state as u32 == apache_sys::AP_WATCHDOG_STATE_RUNNING {
            // SAFETY: as above.
            unsafe { data.cast::<State>().as_ref() }.into_iter().for_each(tick::beat);
        }
        0
    }
}
