// SPDX-License-Identifier: Apache-2.0
//! The module record, the one symbol httpd looks for, and the creation of per-server configuration.

use super::{directives, register};
use crate::httpd::state::{DirConf, ServerConf};
use crate::httpd::sys::pool;
use apache_sys::{ap_conf_vector_t, apr_pool_t, conn_rec, module, server_rec};
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
    register_hooks: Some(register::register_hooks),
    flags: 0,
}));

/// The number httpd gave this module; -1 before it is loaded.
pub fn index() -> c_int {
    // SAFETY: see `Record`.
    unsafe { (*md_module.0.get()).module_index }
}

/// The configuration of a server as its record points to it; `None` where no directive of ours touched
/// it. A virtual host without any may point to the main server's.
///
/// # Safety
/// `server` is a live record whose configuration outlives `'a`.
pub unsafe fn server_conf<'a>(server: *const server_rec) -> Option<&'a ServerConf> {
    // SAFETY: the caller vouches for the record; what stands at our index is null or came from
    // `create_server_config`, and httpd frees it with the configuration.
    unsafe {
        apache_sys::shim_module_config((*server).module_config, md_module.0.get())
            .cast::<ServerConf>()
            .as_ref()
    }
}

/// The configuration of a section, which may be the whole server's.
///
/// # Safety
/// `vector` is a live vector whose configuration outlives `'a`.
pub unsafe fn dir_conf<'a>(vector: *const ap_conf_vector_t) -> Option<&'a DirConf> {
    if vector.is_null() {
        return None;
    }
    // SAFETY: the caller vouches for the vector; what stands at our index came from `create_dir_config`
    // or `merge_dir_config`.
    unsafe { apache_sys::shim_module_config(vector, md_module.0.get()).cast::<DirConf>().as_ref() }
}

/// What [`mark_connection`] has put there; null where it has not.
///
/// # Safety
/// `connection` is live.
pub unsafe fn connection_mark(connection: *const conn_rec) -> *mut c_void {
    // SAFETY: what stands at our index is null or came from `mark_connection`.
    unsafe { apache_sys::shim_module_config((*connection).conn_config, md_module.0.get()).cast() }
}

/// # Safety
/// `connection` is live, and nobody else uses it at the time; `mark` is live as long as it.
pub unsafe fn mark_connection(connection: *mut conn_rec, mark: *mut c_void) {
    // SAFETY: the caller vouches for the record; the place at our index is ours alone.
    unsafe { apache_sys::shim_set_module_config((*connection).conn_config, md_module.0.get(), mark) }
}

crate::httpd::sys::guard::callback! {
    fn create_dir_config(pool: *mut apr_pool_t, _dir: *mut c_char) -> *mut c_void, failing ptr::null_mut(); {
        // SAFETY: httpd lends a live pool.
        unsafe { pool::own(pool, DirConf::default()).cast() }
    }
}

crate::httpd::sys::guard::callback! {
    fn merge_dir_config(_pool: *mut apr_pool_t, base: *mut c_void, added: *mut c_void) -> *mut c_void, failing base; {
        // Requests merge sections all the time: nothing is made, one of the two holds whole.
        // SAFETY: both came from `create_dir_config`, or are null after a panic there.
        let own = unsafe { added.cast::<DirConf>().as_ref() };
        if own.is_some_and(|own| own.require_https().is_some()) { added } else { base }
    }
}

crate::httpd::sys::guard::callback! {
    fn create_server_config(pool: *mut apr_pool_t, server: *mut server_rec) -> *mut c_void, failing ptr::null_mut(); {
        // SAFETY: httpd lends a live pool and record.
        unsafe {
            if (*server).is_virtual == 0 {
                crate::httpd::sys::log::open(server);
                register::close_log_with(pool);
                pool::keep_together(pool);
            }
            pool::own(pool, ServerConf::default()).cast()
        }
    }
}
