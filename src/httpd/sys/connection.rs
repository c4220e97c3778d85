// SPDX-License-Identifier: Apache-2.0
//! A connection, borrowed for the duration of a hook, and the protocol `acme-tls/1` on it (RFC 8737).

use super::module_conf::{self, ModuleConf};
use super::pool;
use super::server::Server;
use crate::challenge::tls_alpn01;
use apache_sys::{apr_array_header_t, conn_rec};
use openssl_sys::SSL;
use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ptr;

/// [`tls_alpn01::PROTOCOL`] as httpd wants it.
const ACME_TLS: &CStr = c"acme-tls/1";

/// The mark of a connection that may serve a challenge.
struct Mark {
    /// The protocol it has switched to: [`ACME_TLS`], or null.
    protocol: *const c_char,
    /// The client offers [`ACME_TLS`] and nothing else.
    is_offered: bool,
}

pub struct Connection<'c, M> {
    record: *mut conn_rec,
    lent: PhantomData<(&'c (), M)>,
}

impl<'c, M: ModuleConf> Connection<'c, M> {
    /// # Safety
    /// `record` is live for `'c`.
    pub unsafe fn new(record: *mut conn_rec) -> Self {
        Connection { record, lent: PhantomData }
    }

    /// The connection of a handshake; `None` if it is not mod_ssl's.
    ///
    /// # Safety
    /// `ssl` is live for `'c` and in no other thread's hands.
    pub unsafe fn of(ssl: *mut SSL) -> Option<Self> {
        // SAFETY: mod_ssl keeps the record of the connection in the place for the application's data, and it
        // lives longer than the handshake.
        unsafe {
            let record = apache_sys::shim_connection_of(ssl);
            (!record.is_null()).then(|| Connection::new(record))
        }
    }

    pub fn is_tls(&self) -> bool {
        // SAFETY: live for 'c, see `new`.
        unsafe { apache_sys::ap_ssl_conn_is_ssl(self.record) != 0 }
    }

    /// The server the connection arrived at. SNI may name another one.
    pub fn base_server(&self) -> Server<'c, M> {
        // SAFETY: the server outlives the connection.
        unsafe { Server::new((*self.record).base_server) }
    }

    /// From here on it speaks `acme-tls/1`: it is closed after the handshake, whatever the client sends (RFC
    /// 8737 §3).
    pub fn switch_to_acme_tls(&self) {
        self.mark(|mark| mark.protocol = ACME_TLS.as_ptr());
    }

    /// The client offers `acme-tls/1` and nothing else.
    pub fn offer_acme_tls(&self) {
        self.mark(|mark| mark.is_offered = true);
    }

    pub fn is_offered_acme_tls(&self) -> bool {
        // SAFETY: the record is live; its mark was set by `mark`, and lives as long.
        unsafe { module_conf::connection_mark::<M>(self.record).cast::<Mark>().as_ref() }
            .is_some_and(|mark| mark.is_offered)
    }

    fn mark(&self, change: impl FnOnce(&mut Mark)) {
        // SAFETY: the record and its pool are live, and the pool's memory fits any type. One thread at a time
        // has a connection, and no reference to its mark outlives these methods.
        unsafe {
            let mut mark = module_conf::connection_mark::<M>(self.record).cast::<Mark>();
            if mark.is_null() {
                mark = apache_sys::apr_palloc((*self.record).pool, size_of::<Mark>()).cast();
                if mark.is_null() {
                    return;
                }
                mark.write(Mark { protocol: ptr::null(), is_offered: false });
                module_conf::mark_connection::<M>(self.record, mark.cast());
            }
            change(&mut *mark);
        }
    }

    pub fn is_acme_tls(&self) -> bool {
        !self.switched_protocol().is_null()
    }

    /// Nothing more is read from it: the MPM closes it when the hook that processes connections has returned.
    pub fn close(&self) {
        // SAFETY: the record is live; an MPM that keeps no state of connections leaves null.
        unsafe {
            if let Some(state) = (*self.record).cs.as_mut() {
                state.state = apache_sys::CONN_STATE_LINGER;
            }
        }
    }

    /// The protocol we have switched to; null if we have not.
    pub fn switched_protocol(&self) -> *const c_char {
        // SAFETY: as above.
        let mark = unsafe { module_conf::connection_mark::<M>(self.record).cast::<Mark>().as_ref() };
        mark.map_or(ptr::null(), |mark| mark.protocol)
    }

    /// Copies text, NUL-terminated, for the lifetime of the connection.
    pub fn copy(&self, text: &str) -> *const c_char {
        // SAFETY: the connection's pool is live as long as the connection.
        unsafe { pool::copy((*self.record).pool, text) }
    }
}

/// Whether the client offers the protocol. A null list offers nothing.
///
/// # Safety
/// `offers` is null or a live array of C strings.
pub unsafe fn offers_acme_tls(offers: *const apr_array_header_t) -> bool {
    // SAFETY: the caller vouches for it.
    unsafe { pool::strings(offers) }.iter().any(|offer| offer == tls_alpn01::PROTOCOL)
}

/// # Safety
/// `proposals` is a live array of C strings.
pub unsafe fn propose_acme_tls(proposals: *mut apr_array_header_t) {
    // SAFETY: see above; the text is static.
    unsafe { apache_sys::shim_push_string(proposals, ACME_TLS.as_ptr()) }
}
