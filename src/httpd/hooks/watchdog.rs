// SPDX-License-Identifier: Apache-2.0
//! mod_watchdog: one child at a time runs our renewals. Its functions are optional, so a server without
//! that module is told so instead of failing to load ours.

use crate::httpd::child::renewing;
use crate::httpd::child::renewing::Beat;
use crate::httpd::child::tick;
use crate::httpd::state::State;
use crate::httpd::sys::guard::callback;
use apache_sys::{ap_watchdog_callback_fn_t, apr_interval_time_t, apr_pool_t, apr_status_t};
use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

/// The name of the watchdog that renews, as the C module has it.
const RENEW: &CStr = c"_md_renew_";
/// The one that every child has.
const NEWS: &CStr = c"_md_news_";

/// How often the driver looks for due jobs and finished threads: one look costs a comparison per job. And how
/// often each child looks for news, which costs an atomic load.
const BEAT_MICROS: apr_interval_time_t = 100_000;

/// Registers `state`'s renewals with mod_watchdog, to run in one child at a time.
///
/// `state` must be held by the configuration for as long as it is in force. The error is an
/// `apr_status_t`; `None` says that mod_watchdog is not loaded.
pub fn watch_renewals(state: &Arc<State>, pool: super::register::ConfigPool) -> Result<(), Option<i32>> {
    register(RENEW, true, Some(watchdog_beat), state, pool)
}

/// Has every child look for news. Like [`watch_renewals`] in all else.
pub fn watch_news(state: &Arc<State>, pool: super::register::ConfigPool) -> Result<(), Option<i32>> {
    register(NEWS, false, Some(news_beat), state, pool)
}

fn register(
    name: &CStr,
    is_singleton: bool,
    callback: ap_watchdog_callback_fn_t,
    state: &Arc<State>,
    pool: super::register::ConfigPool,
) -> Result<(), Option<i32>> {
    let mut watchdog = std::ptr::null_mut();
    // SAFETY: the pool lives as long as the configuration, and so does the state that the callback is handed.
    unsafe {
        let instance = apache_sys::shim_watchdog_get_instance().ok_or(None)?;
        let register = apache_sys::shim_watchdog_register_callback().ok_or(None)?;
        let status = instance(&mut watchdog, name.as_ptr(), 0, c_int::from(is_singleton), pool.raw());
        if status != 0 {
            return Err(Some(status));
        }
        match register(watchdog, BEAT_MICROS, Arc::as_ptr(state).cast(), callback) {
            0 => Ok(()),
            status => Err(Some(status)),
        }
    }
}

callback! {
    fn watchdog_beat(state: c_int, data: *mut c_void, _pool: *mut apr_pool_t) -> apr_status_t, failing 0; {
        // SAFETY: `register` handed over a State that the configuration keeps alive, and mod_watchdog
        // calls back only while that configuration is in force.
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
    fn news_beat(state: c_int, data: *mut c_void, _pool: *mut apr_pool_t) -> apr_status_t, failing 0; {
        if state as u32 == apache_sys::AP_WATCHDOG_STATE_RUNNING {
            // SAFETY: as above.
            unsafe { data.cast::<State>().as_ref() }.into_iter().for_each(tick::beat);
        }
        0
    }
}
