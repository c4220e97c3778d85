//! mod_watchdog: one child at a time runs our renewals. Its functions are optional, so a server without
//! that module is told so instead of failing to load ours.

use super::guard::callback;
use crate::httpd::State;
use crate::httpd::refresh;
use crate::httpd::renewal::{self, Beat};
use apache_sys::{ap_watchdog_callback_fn_t, ap_watchdog_t, apr_interval_time_t, apr_pool_t, apr_status_t};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

type InstanceFn = unsafe extern "C" fn(
    watchdog: *mut *mut ap_watchdog_t,
    name: *const c_char,
    parent: c_int,
    singleton: c_int,
    pool: *mut apr_pool_t,
) -> apr_status_t;
type RegisterFn = unsafe extern "C" fn(
    watchdog: *mut ap_watchdog_t,
    interval: apr_interval_time_t,
    data: *const c_void,
    callback: ap_watchdog_callback_fn_t,
) -> apr_status_t;

/// The name of the watchdog that renews, as the C module has it.
const RENEW: &CStr = c"_md_renew_";
/// The one that every child has.
const NEWS: &CStr = c"_md_news_";

/// How often the driver looks for due jobs and finished threads: one look costs a comparison per job. And how often each
/// child looks for news, which costs an atomic load.
const BEAT_MICROS: apr_interval_time_t = 100_000;

/// Registers `state`'s renewals with mod_watchdog, to run in one child at a time.
///
/// `state` must be held by the configuration for as long as it is in force. The error is an
/// `apr_status_t`; `None` says that mod_watchdog is not loaded.
pub fn watch_renewals(state: &Arc<State>, pool: super::hooks::ConfigPool) -> Result<(), Option<i32>> {
    register(RENEW, true, watchdog_beat, state, pool)
}

/// Has every child look for news. Like [`watch_renewals`] in all else.
pub fn watch_news(state: &Arc<State>, pool: super::hooks::ConfigPool) -> Result<(), Option<i32>> {
    register(NEWS, false, news_beat, state, pool)
}

fn register(
    name: &CStr,
    is_singleton: bool,
    callback: unsafe extern "C" fn(c_int, *mut c_void, *mut apr_pool_t) -> apr_status_t,
    state: &Arc<State>,
    pool: super::hooks::ConfigPool,
) -> Result<(), Option<i32>> {
    let mut watchdog = std::ptr::null_mut();
    // SAFETY: the functions have the signatures mod_watchdog.h declares; the pool lives as long as the
    // configuration, and so does the state that the callback is handed.
    unsafe {
        let instance: InstanceFn = optional(c"ap_watchdog_get_instance").ok_or(None)?;
        let register: RegisterFn = optional(c"ap_watchdog_register_callback").ok_or(None)?;
        let status = instance(&mut watchdog, name.as_ptr(), 0, c_int::from(is_singleton), pool.raw());
        if status != 0 {
            return Err(Some(status));
        }
        match register(watchdog, BEAT_MICROS, Arc::as_ptr(state).cast(), Some(callback)) {
            0 => Ok(()),
            status => Err(Some(status)),
        }
    }
}

/// # Safety
/// `F` is the type of the optional function `name`.
unsafe fn optional<F: Copy>(name: &CStr) -> Option<F> {
    // SAFETY: both are function pointers of one size; null is "not there".
    unsafe {
        apache_sys::apr_dynamic_fn_retrieve(name.as_ptr()).map(|f| std::mem::transmute_copy::<_, F>(&f))
    }
}

callback! {
    fn watchdog_beat(state: c_int, data: *mut c_void, _pool: *mut apr_pool_t) -> apr_status_t, failing 0; {
        // SAFETY: `register` handed over a State that the configuration keeps alive, and mod_watchdog
        // calls back only while that configuration is in force.
        let Some(shared) = (unsafe { data.cast::<State>().as_ref() }) else { return 0 };
        renewal::beat(shared, match state as u32 {
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
            unsafe { data.cast::<State>().as_ref() }.into_iter().for_each(refresh::beat);
        }
        0
    }
}
