// SPDX-License-Identifier: Apache-2.0
//! Registers our hooks, in the order relative to other modules that each of them needs.

use super::{child, requests, stapling, start, tls, tls_alpn};
use crate::httpd::sys::guard::callback;
use apache_sys::apr_pool_t;
use std::ffi::{c_char, c_int};
use std::ptr;

/// A null-terminated list of module names, as the ordering arguments of hooks take it.
struct Names<const N: usize>([*const c_char; N]);

// SAFETY: constant pointers to static text.
unsafe impl<const N: usize> Sync for Names<N> {}

static TLS_MODULES: Names<3> = Names([c"mod_ssl.c".as_ptr(), c"mod_tls.c".as_ptr(), ptr::null()]);

callback! {
    fn register_hooks(_pool: *mut apr_pool_t) -> (), failing (); {
        let tls = TLS_MODULES.0.as_ptr();
        let none = ptr::null();
        let middle = apache_sys::APR_HOOK_MIDDLE as c_int;
        // SAFETY: the functions live as long as the loaded library, the lists are static.
        unsafe {
            apache_sys::ap_hook_check_config(Some(start::check_config), none, none, middle);
            apache_sys::ap_hook_test_config(Some(start::test_config), none, none, middle);
            // Certificates must be known before mod_ssl asks for them, and the TLS contexts of its hosts
            // exist only after it.
            apache_sys::ap_hook_post_config(Some(start::post_config_before_tls), none, tls, middle);
            apache_sys::ap_hook_post_config(Some(start::post_config_after_tls), tls, none, apache_sys::APR_HOOK_LAST as c_int);
            apache_sys::ap_hook_ssl_add_cert_files(Some(start::ssl_add_cert_files), none, none, middle);
            apache_sys::ap_hook_ssl_add_fallback_cert_files(Some(start::ssl_add_fallback_cert_files), none, none, middle);
            apache_sys::ap_hook_ssl_ocsp_prime_hook(Some(stapling::ssl_ocsp_prime), none, none, middle);
            apache_sys::ap_hook_ssl_ocsp_get_resp_hook(Some(stapling::ssl_ocsp_get_resp), none, none, middle);
            // Hooks of mod_ssl and mod_status: without these modules they never run.
            apache_sys::shim_hook_init_server(Some(tls::init_server), none, none, middle);
            apache_sys::shim_hook_status(Some(requests::status_hook), none, none, middle);
            apache_sys::ap_hook_child_init(Some(child::child_init), none, none, middle);
            apache_sys::shim_hook_child_stopping(Some(child::child_stopping));
            // Challenges are answered before mod_ssl says 503 for a host that has no certificate yet.
            apache_sys::ap_hook_post_read_request(Some(requests::post_read_request), none, tls, apache_sys::APR_HOOK_FIRST as c_int);
            // mod_ssl shakes hands in this hook, HTTP begins at its end.
            apache_sys::ap_hook_process_connection(Some(tls_alpn::process_connection), tls, none, middle);
            apache_sys::ap_hook_protocol_propose(Some(tls_alpn::protocol_propose), none, none, middle);
            apache_sys::ap_hook_protocol_switch(Some(tls_alpn::protocol_switch), none, none, middle);
            apache_sys::ap_hook_protocol_get(Some(tls_alpn::protocol_get), none, none, middle);
            apache_sys::ap_hook_ssl_answer_challenge(Some(tls_alpn::ssl_answer_challenge), none, none, middle);
            // The result of `<If>` is known from here on, and no client has been asked for a password yet.
            let first = apache_sys::APR_HOOK_FIRST as c_int;
            apache_sys::ap_hook_access_checker(Some(requests::access_checker), none, none, first);
            apache_sys::ap_hook_handler(Some(requests::handler), none, none, middle);
        }
    }
}
