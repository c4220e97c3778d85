// SPDX-License-Identifier: Apache-2.0
//! The hooks of a start, in the parent: httpd's `check_config`, `test_config` and `post_config`, and the hooks in which
//! mod_ssl requests certificates.

use super::{FAILED, OK};
use crate::httpd::start::refusal::StartFailed;
use crate::httpd::start::{after_tls, before_tls, certificates, check, dump};
use crate::httpd::state::Server;
use crate::httpd::sys::guard::callback;
use crate::httpd::sys::{PathArray, is_configuration_check, pool, tidy_heap};
use apache_sys::{apr_array_header_t, apr_pool_t, server_rec};
use std::ffi::c_int;

callback! {
    fn check_config(_conf: *mut apr_pool_t, _log: *mut apr_pool_t, _temp: *mut apr_pool_t, main: *mut server_rec) -> c_int, failing FAILED; {
        // SAFETY: httpd lends the main server.
        result(check::check(unsafe { Server::new(main) }))
    }
}

callback! {
    fn test_config(_conf: *mut apr_pool_t, main: *mut server_rec) -> (), failing (); {
        // SAFETY: httpd lends the main server.
        dump::dump(unsafe { Server::new(main) });
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
    fn post_config_after_tls(_conf: *mut apr_pool_t, _log: *mut apr_pool_t, _temp: *mut apr_pool_t, main: *mut server_rec) -> c_int, failing FAILED; {
        // SAFETY: as above.
        unsafe {
            let outcome = after_tls::after_tls(Server::new(main));
            // All that the start needed for itself is freed now.
            if outcome.is_ok() && !is_configuration_check() {
                tidy_heap();
            }
            result(outcome)
        }
    }
}

/// The reasons are in the log already.
fn result(outcome: Result<(), StartFailed>) -> c_int {
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
