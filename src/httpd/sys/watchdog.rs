// SPDX-License-Identifier: Apache-2.0
//! mod_watchdog: one child at a time runs our renewals, and every child checks for signals. Its functions are
//! looked up at run time, so that a server without mod_watchdog loads this module and logs what is missing.

use super::pool;
use apache_sys::{ap_watchdog_callback_fn_t, apr_interval_time_t, apr_pool_t};
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

/// The name of the watchdog that renews, as in the C module.
const RENEW: &CStr = c"_md_renew_";
/// The name of the watchdog that every child has.
const SIGNALS: &CStr = c"_md_signals_";

/// How often the driver looks for due jobs and finished threads: one look costs a comparison per job. And how
/// often each child checks for signals, which costs an atomic load.
const BEAT_MICROS: apr_interval_time_t = 100_000;

/// Registers with mod_watchdog functions that take a `T`, while a configuration is being put in force.
pub struct Watchdogs<'p, T> {
    pool: *mut apr_pool_t,
    renewals: ap_watchdog_callback_fn_t,
    signals: ap_watchdog_callback_fn_t,
    lent: PhantomData<&'p T>,
}

impl<T: Send + Sync + 'static> Watchdogs<'_, T> {
    /// # Safety
    /// `pool` is that of the configuration, and no other thread uses it. The functions take the data that
    /// they are handed for a `T`, which lives as long as the pool.
    pub unsafe fn new(
        pool: *mut apr_pool_t,
        renewals: ap_watchdog_callback_fn_t,
        signals: ap_watchdog_callback_fn_t,
    ) -> Self {
        Watchdogs { pool, renewals, signals, lent: PhantomData }
    }

    /// Registers renewals with mod_watchdog, to run in one child at a time. The error is an `apr_status_t`;
    /// `None` says that mod_watchdog is not loaded.
    pub fn watch_renewals(&self, state: &Arc<T>) -> Result<(), Option<i32>> {
        self.register(RENEW, true, self.renewals, state)
    }

    /// Has every child check for signals. Otherwise like [`watch_renewals`](Self::watch_renewals).
    pub fn watch_signals(&self, state: &Arc<T>) -> Result<(), Option<i32>> {
        self.register(SIGNALS, false, self.signals, state)
    }

    fn register(
        &self,
        name: &CStr,
        is_singleton: bool,
        callback: ap_watchdog_callback_fn_t,
        state: &Arc<T>,
    ) -> Result<(), Option<i32>> {
        let mut watchdog = ptr::null_mut();
        // SAFETY: the pool lives as long as the configuration (see `new`), and keeps the state that the
        // callback is handed.
        unsafe {
            let instance = apache_sys::shim_watchdog_get_instance().ok_or(None)?;
            let register = apache_sys::shim_watchdog_register_callback().ok_or(None)?;
            let status = instance(&mut watchdog, name.as_ptr(), 0, c_int::from(is_singleton), self.pool);
            if status != 0 {
                return Err(Some(status));
            }
            let state: *const T = Arc::as_ptr(&*pool::own(self.pool, state.clone()));
            match register(watchdog, BEAT_MICROS, state.cast(), callback) {
                0 => Ok(()),
                status => Err(Some(status)),
            }
        }
    }
}
