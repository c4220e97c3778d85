// SPDX-License-Identifier: Apache-2.0
//! The stapling hooks, and the status callback for OpenSSL contexts on which mod_ssl sets none.

use super::OK;
use crate::httpd::start::stapled;
use crate::httpd::state::Server;
use crate::httpd::sys::guard::callback;
use crate::httpd::sys::pool;
use crate::ocsp::Cache;
use crate::time;
use apache_sys::{ap_ssl_ocsp_copy_resp, apr_pool_t, apr_size_t, conn_rec, server_rec};
use openssl_sys::{SSL, SSL_CTX};
use std::ffi::{c_char, c_int, c_long, c_uint, c_void};
use std::ptr;
use std::sync::Arc;

callback! {
    fn ssl_ocsp_prime(server: *mut server_rec, _pool: *mut apr_pool_t, id: *const c_char, length: apr_size_t, pem: *const c_char) -> c_int, failing apache_sys::DECLINED; {
        if id.is_null() || pem.is_null() {
            return apache_sys::DECLINED;
        }
        // SAFETY: mod_ssl lends the server, `length` bytes and a C string.
        let (server, id, pem) = unsafe {
            (Server::new(server), bytes(id.cast(), length), std::ffi::CStr::from_ptr(pem).to_bytes())
        };
        if stapled::prime(server, id, pem) { OK } else { apache_sys::DECLINED }
    }
}

callback! {
    fn ssl_ocsp_get_resp(server: *mut server_rec, _conn: *mut conn_rec, id: *const c_char, length: apr_size_t, copy: ap_ssl_ocsp_copy_resp, data: *mut c_void) -> c_int, failing apache_sys::DECLINED; {
        let Some(copy) = copy.filter(|_| !id.is_null()) else { return apache_sys::DECLINED };
        // SAFETY: mod_ssl lends server and id, and `copy` makes a copy of its own from the response passed to
        // it.
        let answered = unsafe {
            let state = Server::new(server).conf().and_then(|conf| conf.stapling());
            state.and_then(|stapling| {
                stapling.staple(bytes(id.cast(), length), |der| match der {
                    Some(der) => copy(der.as_ptr(), der.len(), data),
                    None => copy(ptr::null(), 0, data),
                })
            })
        };
        answered.map_or(apache_sys::DECLINED, |()| OK)
    }
}

/// # Safety
/// `start` points to `length` bytes that live as long as the result is used.
unsafe fn bytes<'a>(start: *const u8, length: apr_size_t) -> &'a [u8] {
    // SAFETY: see above.
    unsafe { std::slice::from_raw_parts(start, length) }
}

/// The result of the callback if there is nothing to staple.
const NOTHING: c_int = apache_sys::SSL_TLSEXT_ERR_NOACK as c_int;

/// Has OpenSSL call us for the response to staple on this context, unless it calls mod_ssl: mod_ssl sets its
/// own callback only if it has named a certificate to us, which a self-signed one is not, or if it staples by
/// itself.
///
/// # Safety
/// Server, pool and context are live; the pool lives as long as the context is used.
pub(super) unsafe fn install(server: Server<'_>, pool: *mut apr_pool_t, context: *mut SSL_CTX) {
    // SAFETY: see above. The cache is freed with the pool and only in the process that made it, so it
    // outlives every handshake.
    unsafe {
        if apache_sys::shim_status_callback(context).is_some() {
            // mod_ssl's, which calls our hook first, for each certificate. It was set for a certificate that
            // mod_ssl has named to us, or because of `SSLUseStapling on`.
            stapled::note_by_mod_ssl(server);
        } else if let Some(cache) = stapled::cache_of(server) {
            let cache = pool::own(pool, cache);
            apache_sys::shim_set_status_callback(context, Some(status_callback), cache.cast());
        }
    }
}

callback! {
    // In a handshake whose client wants a response, when the certificate is chosen.
    fn status_callback(ssl: *mut SSL, data: *mut c_void) -> c_int, failing NOTHING; {
        // SAFETY: `install` handed over a cache that lives as long as the context; OpenSSL lends the
        // connection, and its certificate for as long. The stapled response is copied into memory that
        // OpenSSL frees.
        unsafe {
            let Some(cache) = data.cast::<Arc<Cache>>().as_ref() else { return NOTHING };
            let cert = openssl_sys::SSL_get_certificate(ssl);
            let (mut id, mut length) = ([0; 20], 0 as c_uint);
            if cert.is_null()
                || openssl_sys::X509_digest(cert, openssl_sys::EVP_sha1(), id.as_mut_ptr().cast(), &mut length) != 1
            {
                return NOTHING;
            }
            let stapled = cache.staple(&id, time::now(), |der| {
                let der = der?;
                let size = c_long::try_from(der.len()).ok()?;
                let copy = openssl_sys::OPENSSL_malloc(der.len()).cast::<u8>();
                if copy.is_null() {
                    return None;
                }
                ptr::copy_nonoverlapping(der.as_ptr(), copy, der.len());
                openssl_sys::SSL_set_tlsext_status_ocsp_resp(ssl, copy, size);
                Some(())
            });
            stapled.flatten().map_or(NOTHING, |()| apache_sys::SSL_TLSEXT_ERR_OK as c_int)
        }
    }
}
