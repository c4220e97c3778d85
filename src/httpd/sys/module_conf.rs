// SPDX-License-Identifier: Apache-2.0
//! The slots of this module in httpd's records of servers, sections and connections. `hooks::record` names
//! their types once.

use apache_sys::{ap_conf_vector_t, conn_rec, module, server_rec};
use std::ffi::c_void;

/// Ties the wrappers of this folder to the module's record and to its types of configuration.
///
/// # Safety
/// `record` is the record that httpd has linked, and always the same one. In its slot a server has null or a
/// pointer to a `Server`, and a section null or a pointer to a `Dir`, which live as long as the
/// configuration. Only [`connection`](super::connection) uses the slot of a connection.
pub unsafe trait ModuleConf: Copy {
    /// The configuration of a main server or virtual host.
    type Server: Sync + 'static;
    /// The configuration of a section that applies to some requests.
    type Dir: Sync + 'static;

    fn record() -> *mut module;
}

/// The configuration of a server as its record points to it; `None` where no directive of ours touched
/// it. A virtual host without any may point to the main server's.
///
/// # Safety
/// `server` is a live record whose configuration outlives `'a`.
pub unsafe fn server_conf<'a, M: ModuleConf>(server: *const server_rec) -> Option<&'a M::Server> {
    // SAFETY: the caller vouches for the record, and `M` for its slot.
    unsafe {
        apache_sys::shim_module_config((*server).module_config, M::record()).cast::<M::Server>().as_ref()
    }
}

/// The configuration of a section, which may be the whole server's.
///
/// # Safety
/// `vector` is null or a live vector whose configuration outlives `'a`.
pub unsafe fn dir_conf<'a, M: ModuleConf>(vector: *const ap_conf_vector_t) -> Option<&'a M::Dir> {
    if vector.is_null() {
        return None;
    }
    // SAFETY: the caller vouches for the vector, and `M` for its slot.
    unsafe { apache_sys::shim_module_config(vector, M::record()).cast::<M::Dir>().as_ref() }
}

/// The mark set by [`mark_connection`], or null.
///
/// # Safety
/// `connection` is live.
pub unsafe fn connection_mark<M: ModuleConf>(connection: *const conn_rec) -> *mut c_void {
    // SAFETY: the caller vouches for the record.
    unsafe { apache_sys::shim_module_config((*connection).conn_config, M::record()).cast() }
}

/// # Safety
/// `connection` is live, and no other thread uses it at the time; `mark` lives as long as it.
pub unsafe fn mark_connection<M: ModuleConf>(connection: *mut conn_rec, mark: *mut c_void) {
    // SAFETY: the caller vouches for the record; the slot of `M` is ours alone.
    unsafe { apache_sys::shim_set_module_config((*connection).conn_config, M::record(), mark) }
}
