//! httpd's hooks for stapling, and the callback that OpenSSL asks where mod_ssl has not installed its own.

use super::guard::callback;
use super::pool;
use super::server::Server;
use crate::httpd::primed;
use crate::ocsp::Cache;
use crate::time;
use apache_sys::{apr_pool_t, apr_size_t, conn_rec, server_rec};
use openssl_sys::{SSL, SSL_CTX};
use std::ffi::{c_char, c_int, c_long, c_uchar, c_uint, c_void};
use std::ptr;
use std::sync::Arc;

const OK: c_int = apache_sys::OK as c_int;

/// Handed a response, copies it.
type Copy = unsafe extern "C" fn(der: *const c_uchar, length: apr_size_t, data: *mut c_void);

callback! {
    fn ssl_ocsp_prime(server: *mut server_rec, _pool: *mut apr_pool_t, id: *const c_char, length: apr_size_t, pem: *const c_char) -> c_int, failing apache_sys::DECLINED; {
        if id.is_null() || pem.is_null() {
            return apache_sys::DECLINED;
        }
        // SAFETY: mod_ssl lends the server, so many bytes and a C string.
        let (server, id, pem) = unsafe {
            (Server::new(server), bytes(id.cast(), length), std::ffi::CStr::from_ptr(pem).to_bytes())
        };
        if primed::prime(server, id, pem) { OK } else { apache_sys::DECLINED }
    }
}

callback! {
    fn ssl_ocsp_get_resp(server: *mut server_rec, _conn: *mut conn_rec, id: *const c_char, length: apr_size_t, copy: Option<Copy>, data: *mut c_void) -> c_int, failing apache_sys::DECLINED; {
        let Some(copy) = copy.filter(|_| !id.is_null()) else { return apache_sys::DECLINED };
        // SAFETY: mod_ssl lends server and id, and has `copy` make its own of what it is handed.
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
/// There are so many bytes, and they live as long as the result is used.
unsafe fn bytes<'a>(start: *const u8, length: apr_size_t) -> &'a [u8] {
    // SAFETY: see above.
    unsafe { std::slice::from_raw_parts(start, length) }
}

type StatusCallback = unsafe extern "C" fn(ssl: *mut SSL, data: *mut c_void) -> c_int;

// In every OpenSSL from 1.1.1 on, and missing from openssl-sys.
unsafe extern "C" {
    fn SSL_CTX_ctrl(context: *mut SSL_CTX, command: c_int, larg: c_long, parg: *mut c_void) -> c_long;
    fn SSL_CTX_callback_ctrl(
        context: *mut SSL_CTX,
        command: c_int,
        callback: Option<unsafe extern "C" fn()>,
    ) -> c_long;
}

const SET_STATUS_CALLBACK: c_int = 63;
const SET_STATUS_DATA: c_int = 64;
const GET_STATUS_CALLBACK: c_int = 128;
/// What the callback answers where there is nothing to staple, and where there is.
const SSL_TLSEXT_ERR_NOACK: c_int = 3;
const SSL_TLSEXT_ERR_OK: c_int = 0;

/// Has OpenSSL ask us for what to staple on this context, if it asks nobody else: mod_ssl has itself asked only where
/// it has told us of a certificate, and a self-signed one is none, or where it staples by itself.
///
/// # Safety
/// Server, pool and context are live; the pool lives as long as the context is used.
pub(super) unsafe fn install(server: Server<'_>, pool: *mut apr_pool_t, context: *mut SSL_CTX) {
    let mut installed: Option<StatusCallback> = None;
    // SAFETY: see above; OpenSSL writes a function pointer to where the last argument points. The cache is freed with
    // the pool and only in the process that made it, so it outlives every handshake.
    unsafe {
        SSL_CTX_ctrl(context, GET_STATUS_CALLBACK, 0, (&raw mut installed).cast());
        if installed.is_some() {
            // mod_ssl's, which asks our hook first, for each certificate. It has set it for one that it told us of, or
            // because of `SSLUseStapling on`.
            primed::note_by_mod_ssl(server);
        } else if let Some(cache) = primed::cache_of(server) {
            let callback: StatusCallback = status_callback;
            // OpenSSL hands it on as one without a type.
            let callback = std::mem::transmute::<StatusCallback, unsafe extern "C" fn()>(callback);
            SSL_CTX_callback_ctrl(context, SET_STATUS_CALLBACK, Some(callback));
            SSL_CTX_ctrl(context, SET_STATUS_DATA, 0, pool::own(pool, cache).cast());
        }
    }
}

callback! {
    // In a handshake whose client wants a response, when the certificate is chosen.
    fn status_callback(ssl: *mut SSL, data: *mut c_void) -> c_int, failing SSL_TLSEXT_ERR_NOACK; {
        // SAFETY: `install` handed over a cache that lives as long as the context; OpenSSL lends the connection, and its
        // certificate for as long. What is stapled is copied into memory that OpenSSL frees.
        unsafe {
            let Some(cache) = data.cast::<Arc<Cache>>().as_ref() else { return SSL_TLSEXT_ERR_NOACK };
            let cert = openssl_sys::SSL_get_certificate(ssl);
            let (mut id, mut length) = ([0; 20], 0 as c_uint);
            if cert.is_null()
                || openssl_sys::X509_digest(cert, openssl_sys::EVP_sha1(), id.as_mut_ptr().cast(), &mut length) != 1
            {
                return SSL_TLSEXT_ERR_NOACK;
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
            stapled.flatten().map_or(SSL_TLSEXT_ERR_NOACK, |()| SSL_TLSEXT_ERR_OK)
        }
    }
}
