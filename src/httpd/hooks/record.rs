// SPDX-License-Identifier: Apache-2.0
//! The module record, the one symbol httpd looks for, and the creation of per-server configuration.

use super::directives;
use super::register::register_hooks;
use crate::httpd::state::{DirConf, Module, ServerConf};
use crate::httpd::sys::guard::{callback, guard};
use crate::httpd::sys::{ModuleConf, log, pool};
use apache_sys::{apr_pool_cleanup_null, apr_pool_t, apr_status_t, module, server_rec};
use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

/// httpd writes index, handle and list link into the record when it loads the module.
#[repr(transparent)]
pub struct Record(UnsafeCell<module>);

// SAFETY: httpd writes to the record while it is single-threaded; afterwards it is only read.
unsafe impl Sync for Record {}

/// `mod_md.c` is the name that `<IfModule mod_md.c>` asks for.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static md_module: Record = Record(UnsafeCell::new(module {
    version: apache_sys::MODULE_MAGIC_NUMBER_MAJOR as c_int,
    minor_version: apache_sys::MODULE_MAGIC_NUMBER_MINOR as c_int,
    module_index: -1,
    name: c"mod_md.c".as_ptr(),
    dynamic_load_handle: ptr::null_mut(),
    next: ptr::null_mut(),
    magic: apache_sys::MODULE_MAGIC_COOKIE as std::ffi::c_ulong,
    rewrite_args: None,
    create_dir_config: Some(create_dir_config),
    merge_dir_config: Some(merge_dir_config),
    create_server_config: Some(create_server_config),
    // Merging is a pure function over all servers (`config::plan`), not httpd's pairwise one.
    merge_server_config: None,
    cmds: directives::records(),
    register_hooks: Some(register_hooks),
    flags: 0,
}));

// SAFETY: httpd puts the results of the functions below into this record's slots, or null if they panic. The
// pool of the configuration keeps it, or that of a request as long as this.
unsafe impl ModuleConf for Module {
    type Server = ServerConf;
    type Dir = DirConf;

    fn record() -> *mut module {
        md_module.0.get()
    }
}

callback! {
    fn create_dir_config(pool: *mut apr_pool_t, _dir: *mut c_char) -> *mut c_void, failing ptr::null_mut(); {
        // SAFETY: httpd lends a live pool.
        unsafe { pool::own(pool, DirConf::default()).cast() }
    }
}

callback! {
    fn merge_dir_config(_pool: *mut apr_pool_t, base: *mut c_void, added: *mut c_void) -> *mut c_void, failing base; {
        // Requests merge sections all the time: nothing is made, one of the two holds whole.
        // SAFETY: both came from `create_dir_config`, or are null after a panic there.
        let own = unsafe { added.cast::<DirConf>().as_ref() };
        if own.is_some_and(|own| own.require_https().is_some()) { added } else { base }
    }
}

callback! {
    fn create_server_config(pool: *mut apr_pool_t, server: *mut server_rec) -> *mut c_void, failing ptr::null_mut(); {
        // SAFETY: httpd lends a live pool and record.
        unsafe {
            if (*server).is_virtual == 0 {
                log::open::<Module>(server);
                close_log_with(pool);
                pool::keep_together(pool);
            }
            pool::own(pool, ServerConf::default()).cast()
        }
    }
}

/// Closes the log when this pool is cleared, which holds the log's server.
///
/// # Safety
/// `pool` is the live pool of the configuration.
unsafe fn close_log_with(pool: *mut apr_pool_t) {
    unsafe extern "C" fn close(_data: *mut c_void) -> apr_status_t {
        guard("pool_cleanup", 0, || {
            log::close();
            0
        })
    }
    // SAFETY: see above.
    unsafe {
        apache_sys::apr_pool_cleanup_register(pool, ptr::null(), Some(close), Some(apr_pool_cleanup_null));
    }
}
