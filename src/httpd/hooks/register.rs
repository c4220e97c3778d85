// SPDX-License-Identifier: Apache-2.0
//! The hooks we join, in the order httpd runs them, and the functions behind them.

use super::child::ChildPool;
use super::{stapling, tls};
use crate::challenge::tls_alpn01;
use crate::httpd::child::tick;
use crate::httpd::serve::{pages, requests, tls_alpn};
use crate::httpd::start::{before_tls, certificates};
use crate::httpd::sys::connection::{self, Connection};
use crate::httpd::sys::guard::callback;
use crate::httpd::sys::pool::{self, PathArray};
use crate::httpd::sys::request::{Answer, Request};
use crate::httpd::sys::server::Server;
use apache_sys::{
    apr_array_header_t, apr_pool_cleanup_null, apr_pool_t, apr_status_t, conn_rec, request_rec, server_rec,
};
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

/// The pool of the configuration that is being put in force.
#[derive(Clone, Copy)]
pub struct ConfigPool(*mut apr_pool_t);

impl ConfigPool {
    pub(super) fn raw(self) -> *mut apr_pool_t {
        self.0
    }
}

const OK: c_int = apache_sys::OK as c_int;
const FAILED: c_int = apache_sys::HTTP_INTERNAL_SERVER_ERROR as c_int;

/// A list of module names as the ordering arguments of hooks take it, ended by null.
struct Names<const N: usize>([*const c_char; N]);

// SAFETY: constant pointers to static text.
unsafe impl<const N: usize> Sync for Names<N> {}

static TLS_MODULES: Names<3> = Names([c"mod_ssl.c".as_ptr(), c"mod_tls.c".as_ptr(), ptr::null()]);
static WATCHDOG: Names<2> = Names([c"mod_watchdog.c".as_ptr(), ptr::null()]);

callback! {
    fn register_hooks(_pool: *mut apr_pool_t) -> (), failing (); {
        let tls = TLS_MODULES.0.as_ptr();
        let watchdog = WATCHDOG.0.as_ptr();
        let none = ptr::null();
        let middle = apache_sys::APR_HOOK_MIDDLE as c_int;
        // SAFETY: the functions live as long as the loaded library, the lists are static.
        unsafe {
            apache_sys::ap_hook_check_config(Some(check_config), none, none, middle);
            // Certificates must be known before mod_ssl asks for them, and what it made of its hosts
            // is known after it.
            apache_sys::ap_hook_post_config(Some(post_config_before_tls), none, tls, middle);
            apache_sys::ap_hook_post_config(Some(post_config_after_tls), tls, watchdog, apache_sys::APR_HOOK_LAST as c_int);
            apache_sys::ap_hook_ssl_add_cert_files(Some(ssl_add_cert_files), none, none, middle);
            apache_sys::ap_hook_ssl_add_fallback_cert_files(Some(ssl_add_fallback_cert_files), none, none, middle);
            apache_sys::ap_hook_ssl_ocsp_prime_hook(Some(stapling::ssl_ocsp_prime), none, none, middle);
            apache_sys::ap_hook_ssl_ocsp_get_resp_hook(Some(stapling::ssl_ocsp_get_resp), none, none, middle);
            // mod_ssl's own hook, and mod_status's: without these modules nobody runs them.
            apache_sys::shim_hook_init_server(Some(tls::init_server), none, none, middle);
            apache_sys::shim_hook_status(Some(status_hook), none, none, middle);
            apache_sys::ap_hook_child_init(Some(child_init), none, none, middle);
            // Challenges are answered before mod_ssl says 503 for a host that has no certificate yet.
            apache_sys::ap_hook_post_read_request(Some(post_read_request), none, tls, apache_sys::APR_HOOK_FIRST as c_int);
            // mod_ssl shakes hands in this hook, HTTP begins at its end.
            apache_sys::ap_hook_process_connection(Some(process_connection), tls, none, middle);
            apache_sys::ap_hook_protocol_propose(Some(protocol_propose), none, none, middle);
            apache_sys::ap_hook_protocol_switch(Some(protocol_switch), none, none, middle);
            apache_sys::ap_hook_protocol_get(Some(protocol_get), none, none, middle);
            apache_sys::ap_hook_ssl_answer_challenge(Some(ssl_answer_challenge), none, none, middle);
            // What `<If>` decides is known from here on, and nobody has been asked for a password yet.
            let first = apache_sys::APR_HOOK_FIRST as c_int;
            apache_sys::ap_hook_access_checker(Some(access_checker), none, none, first);
            apache_sys::ap_hook_handler(Some(handler), none, none, middle);
        }
    }
}

callback! {
    fn check_config(_conf: *mut apr_pool_t, _log: *mut apr_pool_t, _temp: *mut apr_pool_t, main: *mut server_rec) -> c_int, failing FAILED; {
        // SAFETY: httpd lends the main server.
        result(before_tls::check(unsafe { Server::new(main) }))
    }
}

callback! {
    fn post_config_before_tls(conf: *mut apr_pool_t, _log: *mut apr_pool_t, _temp: *mut apr_pool_t, main: *mut server_rec) -> c_int, failing FAILED; {
        // SAFETY: httpd lends the main server and the pool of its configuration, and has a single thread.
        unsafe {
            pool::claim(conf);
            result(before_tls::before_tls(Server::new(main)))
        }
    }
}

callback! {
    fn post_config_after_tls(conf: *mut apr_pool_t, _log: *mut apr_pool_t, _temp: *mut apr_pool_t, main: *mut server_rec) -> c_int, failing FAILED; {
        // SAFETY: as above.
        result(before_tls::after_tls(unsafe { Server::new(main) }, ConfigPool(conf)))
    }
}

callback! {
    fn child_init(pool: *mut apr_pool_t, main: *mut server_rec) -> (), failing (); {
        // SAFETY: as above; the pool is the child's.
        unsafe { tick::begin(Server::new(main), ChildPool::new(pool)) };
    }
}

/// The reasons are in the log already.
fn result(outcome: Result<(), before_tls::StartFailed>) -> c_int {
    outcome.map_or(FAILED, |()| OK)
}

callback! {
    fn ssl_add_cert_files(server: *mut server_rec, pool: *mut apr_pool_t, certs: *mut apr_array_header_t, keys: *mut apr_array_header_t) -> c_int, failing apache_sys::DECLINED; {
        // SAFETY: mod_ssl lends server, pool and two arrays of C strings.
        unsafe {
            let (mut certs, mut keys) = (PathArray::new(certs, pool), PathArray::new(keys, pool));
            if certificates::add_certificates(Server::new(server), &mut certs, &mut keys) { OK } else { apache_sys::DECLINED }
        }
    }
}

callback! {
    fn ssl_add_fallback_cert_files(server: *mut server_rec, pool: *mut apr_pool_t, certs: *mut apr_array_header_t, keys: *mut apr_array_header_t) -> c_int, failing apache_sys::DECLINED; {
        // SAFETY: as above.
        unsafe {
            let (mut certs, mut keys) = (PathArray::new(certs, pool), PathArray::new(keys, pool));
            if certificates::add_fallback(Server::new(server), &mut certs, &mut keys) { OK } else { apache_sys::DECLINED }
        }
    }
}

callback! {
    fn protocol_propose(
        record: *mut conn_rec,
        request: *mut request_rec,
        server: *mut server_rec,
        offers: *const apr_array_header_t,
        proposals: *mut apr_array_header_t,
    ) -> c_int, failing apache_sys::DECLINED; {
        // SAFETY: httpd lends connection and server, and arrays of C strings.
        unsafe {
            // With a request it would be an Upgrade of HTTP/1.1, and without offers anything goes: neither is
            // a CA.
            if request.is_null()
                && connection::offers_acme_tls(offers)
                && tls_alpn::accepts(&Connection::new(record), Server::new(server))
            {
                connection::propose_acme_tls(proposals);
                return OK;
            }
        }
        apache_sys::DECLINED
    }
}

callback! {
    fn protocol_switch(
        record: *mut conn_rec,
        request: *mut request_rec,
        server: *mut server_rec,
        protocol: *const c_char,
    ) -> c_int, failing apache_sys::DECLINED; {
        // SAFETY: httpd lends connection, server and a C string.
        unsafe {
            let connection = Connection::new(record);
            let is_ours = request.is_null()
                && pool::text(protocol) == tls_alpn01::PROTOCOL
                && tls_alpn::accepts(&connection, Server::new(server));
            if is_ours {
                connection.switch_to_acme_tls();
                return OK;
            }
        }
        apache_sys::DECLINED
    }
}

callback! {
    fn protocol_get(record: *const conn_rec) -> *const c_char, failing ptr::null(); {
        // SAFETY: httpd lends the connection, which is only read here.
        unsafe { Connection::new(record.cast_mut()) }.switched_protocol()
    }
}

callback! {
    fn process_connection(record: *mut conn_rec) -> c_int, failing apache_sys::DECLINED; {
        // SAFETY: httpd lends the connection.
        let connection = unsafe { Connection::new(record) };
        if !connection.is_acme_tls() {
            return apache_sys::DECLINED;
        }
        connection.close();
        OK
    }
}

callback! {
    fn ssl_answer_challenge(
        record: *mut conn_rec,
        server_name: *const c_char,
        cert: *mut *const c_char,
        key: *mut *const c_char,
    ) -> c_int, failing apache_sys::DECLINED; {
        // SAFETY: mod_ssl lends the connection, a C string or null, and two places for pointers.
        unsafe {
            let connection = Connection::new(record);
            let Some(answer) = tls_alpn::answer(&connection, &pool::text(server_name)) else {
                return apache_sys::DECLINED;
            };
            *cert = connection.copy(&answer.cert);
            *key = connection.copy(&answer.key);
        }
        OK
    }
}

callback! {
    fn post_read_request(record: *mut request_rec) -> c_int, failing FAILED; {
        // SAFETY: httpd lends a live request.
        let request = unsafe { Request::new(record) };
        let answer = requests::before_all(&request);
        request.send(answer, apache_sys::DONE)
    }
}

callback! {
    fn access_checker(record: *mut request_rec) -> c_int, failing FAILED; {
        // SAFETY: as above.
        let request = unsafe { Request::new(record) };
        let answer = requests::in_section(&request);
        request.send(answer, apache_sys::DONE)
    }
}

callback! {
    fn handler(record: *mut request_rec) -> c_int, failing FAILED; {
        // SAFETY: as above.
        let request = unsafe { Request::new(record) };
        let answer: Answer = pages::handler(&request);
        request.send(answer, OK)
    }
}

callback! {
    fn status_hook(record: *mut request_rec, flags: c_int) -> c_int, failing OK; {
        // SAFETY: as above.
        let request = unsafe { Request::new(record) };
        let is_short = flags as u32 & apache_sys::AP_STATUS_SHORT != 0;
        if let Some(section) = pages::server_status(&request, is_short) {
            request.write(&section);
        }
        OK
    }
}

/// The log's server lies in this pool: nothing may be sent to it after the pool is gone.
///
/// # Safety
/// `pool` is the live pool of the configuration.
pub(super) unsafe fn close_log_with(pool: *mut apr_pool_t) {
    unsafe extern "C" fn close(_data: *mut c_void) -> apr_status_t {
        crate::httpd::sys::guard::guard("pool_cleanup", 0, || {
            crate::httpd::sys::log::close();
            0
        })
    }
    // SAFETY: see above.
    unsafe {
        apache_sys::apr_pool_cleanup_register(pool, ptr::null(), Some(close), Some(apr_pool_cleanup_null));
    }
}
