// SPDX-License-Identifier: Apache-2.0
//! Server records, and httpd's facts from before it serves: listeners, owner of files, root folder.

use super::module_conf::{self, ModuleConf};
use super::pool;
use crate::store::Owner;
use apache_sys::{apr_pool_t, server_rec};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::path::PathBuf;

/// A main server or virtual host, lent for the time of a hook.
#[derive(Clone, Copy)]
pub struct Server<'p, M> {
    record: *mut server_rec,
    lent: PhantomData<(&'p (), M)>,
}

impl<'p, M: ModuleConf> Server<'p, M> {
    /// # Safety
    /// `record` is live for `'p`.
    pub unsafe fn new(record: *mut server_rec) -> Self {
        Server { record, lent: PhantomData }
    }

    fn rec(&self) -> &server_rec {
        // SAFETY: live for 'p, see `new`.
        unsafe { &*self.record }
    }

    /// Identifies the server, as long as this configuration is in force.
    pub fn key(&self) -> usize {
        self.record as usize
    }

    /// The pool that lives as long as the process.
    pub(super) fn process_pool(&self) -> *mut apr_pool_t {
        // SAFETY: httpd has one record of its process, which lives as long as that.
        unsafe { (*self.rec().process).pool }
    }

    pub fn is_main(&self) -> bool {
        self.rec().is_virtual == 0
    }

    pub fn name(&self) -> String {
        // SAFETY: httpd's strings live as long as the record.
        unsafe { pool::text(self.rec().server_hostname) }.into_owned()
    }

    /// ServerAlias names, wildcard patterns among them.
    pub fn aliases(&self) -> Vec<String> {
        // SAFETY: arrays of strings that live as long as the record.
        unsafe {
            let mut names = pool::strings(self.rec().names);
            names.extend(pool::strings(self.rec().wild_names));
            names
        }
    }

    pub fn port(&self) -> u16 {
        self.rec().port
    }

    /// The ports of `<VirtualHost ADDRESS:PORT …>`; 0 is any.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports = Vec::new();
        let mut address = self.rec().addrs;
        while !address.is_null() {
            // SAFETY: a list that lives as long as the record.
            unsafe {
                ports.push((*address).host_port);
                address = (*address).next;
            }
        }
        ports
    }

    /// `ADDRESS:PORT` of its `<VirtualHost>`, the first one; `*` is any.
    pub fn address(&self) -> String {
        let address = self.rec().addrs;
        if address.is_null() {
            return format!("*:{}", self.rec().port);
        }
        // SAFETY: as above.
        let (host, port) = unsafe { (pool::text((*address).virthost), (*address).host_port) };
        let port = if port == 0 { "*".to_string() } else { port.to_string() };
        format!("{host}:{port}")
    }

    pub fn admin(&self) -> Option<String> {
        // SAFETY: as above.
        let admin = unsafe { pool::text(self.rec().server_admin) }.into_owned();
        (!admin.is_empty()).then_some(admin)
    }

    /// File and line where the host is defined.
    pub fn defined_at(&self) -> (String, u32) {
        // SAFETY: as above.
        let file = unsafe { pool::text(self.rec().defn_name) }.into_owned();
        (file, self.rec().defn_line_number)
    }

    /// Our configuration. A host without directives of ours shares the main server's.
    pub fn conf(&self) -> Option<&'p M::Server> {
        // SAFETY: the configuration lives at least as long as the record that points to it.
        unsafe { module_conf::server_conf::<M>(self.record) }
    }

    /// Whether `Protocols` of this host allows `acme-tls/1` (RFC 8737).
    pub fn allows_acme_tls(&self) -> bool {
        // SAFETY: the connection and request may be null, httpd then asks the server's configuration.
        unsafe {
            apache_sys::ap_is_allowed_protocol(
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                self.record,
                c"acme-tls/1".as_ptr(),
            ) != 0
        }
    }
}

/// The main server and its virtual hosts, in the order of httpd's list: the last one of the configuration
/// comes first.
pub fn servers<M: ModuleConf>(main: Server<'_, M>) -> Vec<Server<'_, M>> {
    let mut all = Vec::new();
    let mut next = main.record;
    while !next.is_null() {
        // SAFETY: the list hangs together as long as the main server lives.
        unsafe {
            all.push(Server::new(next));
            next = (*next).next;
        }
    }
    all
}

/// The ports httpd listens on.
pub fn listener_ports() -> Vec<u16> {
    let mut ports = Vec::new();
    // SAFETY: httpd builds the list while reading its configuration and keeps it until the next.
    unsafe {
        let mut listener = apache_sys::ap_listeners;
        while !listener.is_null() {
            let address = (*listener).bind_addr;
            if !address.is_null() {
                ports.push((*address).port);
            }
            listener = (*listener).next;
        }
    }
    ports
}

/// `ServerRoot`.
pub fn server_root() -> PathBuf {
    // SAFETY: a string httpd sets before it reads the configuration.
    PathBuf::from(unsafe { pool::text(apache_sys::ap_server_root) }.into_owned())
}

/// The user and group of the children, if httpd is started by root; `None` otherwise.
pub fn store_owner() -> Option<Owner> {
    // SAFETY: geteuid has no conditions; mod_unixd's record is filled while the configuration is read.
    unsafe {
        if libc::geteuid() != 0 {
            return None;
        }
        Some(Owner { uid: apache_sys::ap_unixd_config.user_id, gid: apache_sys::ap_unixd_config.group_id })
    }
}

/// A random number that identifies this httpd: the same in all of its processes and over its reloads. Called
/// in the parent first.
pub fn instance() -> u64 {
    const KEY: &CStr = c"mod_md_instance";
    // SAFETY: httpd keeps the eight bytes, aligned for anything, as long as it runs, and a copy of the key;
    // only the parent writes to them, and has one thread then.
    unsafe {
        let mut kept = apache_sys::ap_retained_data_get(KEY.as_ptr()).cast::<u64>();
        if kept.is_null() {
            kept = apache_sys::ap_retained_data_create(KEY.as_ptr(), size_of::<u64>()).cast();
            kept.write(crate::crypto::random().map_or(0, u64::from_be_bytes));
        }
        kept.read()
    }
}

/// The maximum number of children at once.
pub fn child_limit() -> usize {
    let mut limit = 0;
    // SAFETY: the MPM answers once the configuration has been read; it writes an int.
    let status = unsafe { apache_sys::ap_mpm_query(apache_sys::AP_MPMQ_HARD_LIMIT_DAEMONS as _, &mut limit) };
    usize::try_from(limit).ok().filter(|_| status == 0).unwrap_or(1).max(1)
}

/// Whether this child ends, maybe once its connections are closed.
pub fn is_ending() -> bool {
    let mut state = 0;
    // SAFETY: the MPM writes an int.
    let status = unsafe { apache_sys::ap_mpm_query(apache_sys::AP_MPMQ_MPM_STATE as _, &mut state) };
    status == 0 && state == apache_sys::AP_MPMQ_STOPPING as i32
}

/// Whether httpd was started with `-D NAME`, or its configuration has `Define NAME`.
pub fn is_defined(name: &CStr) -> bool {
    // SAFETY: the name outlives the call, which only reads.
    unsafe { apache_sys::ap_exists_config_define(name.as_ptr()) != 0 }
}

/// Whether httpd was started to test its configuration, and then ends (`apachectl configtest`).
pub fn is_configuration_test() -> bool {
    // SAFETY: has no conditions.
    unsafe {
        apache_sys::ap_state_query(apache_sys::AP_SQ_RUN_MODE as _) == apache_sys::AP_SQ_RM_CONFIG_TEST as i32
    }
}

/// Whether another configuration was in force before this one: a start that fails here ends an httpd that
/// serves.
pub fn is_reload() -> bool {
    // SAFETY: has no conditions. The first one counts as 1.
    unsafe { apache_sys::ap_state_query(apache_sys::AP_SQ_CONFIG_GEN as _) > 1 }
}

/// Whether this is the first reading of the configuration, which only checks it.
pub fn is_configuration_check() -> bool {
    // SAFETY: has no conditions.
    unsafe {
        apache_sys::ap_state_query(apache_sys::AP_SQ_MAIN_STATE as _)
            == apache_sys::AP_SQ_MS_CREATE_PRE_CONFIG as i32
    }
}
