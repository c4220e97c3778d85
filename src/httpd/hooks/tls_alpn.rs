// SPDX-License-Identifier: Apache-2.0
//! The hooks of a connection that speaks `acme-tls/1` (RFC 8737): they propose the protocol and switch to it,
//! give mod_ssl the challenge certificates, and close the connection after the handshake.

use super::OK;
use crate::challenge::tls_alpn01;
use crate::httpd::child::watching;
use crate::httpd::serve::tls_alpn;
use crate::httpd::state::{Connection, Server, state_of};
use crate::httpd::sys::guard::callback;
use crate::httpd::sys::{offers_acme_tls, pool, propose_acme_tls};
use apache_sys::{apr_array_header_t, conn_rec, request_rec, server_rec};
use std::ffi::{c_char, c_int};
use std::ptr;

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
                && offers_acme_tls(offers)
                && tls_alpn::accepts(&Connection::new(record), Server::new(server))
            {
                propose_acme_tls(proposals);
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
        if let Some(state) = state_of(connection.base_server()) {
            watching::begin_again(&state);
        }
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
