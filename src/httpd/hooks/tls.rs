// SPDX-License-Identifier: Apache-2.0
//! The callbacks that OpenSSL calls in every full handshake, and the mod_ssl hook that sets them on the TLS
//! contexts of a start.

use super::{OK, stapling};
use crate::challenge::tls_alpn01;
use crate::httpd::serve::tls_alpn;
use crate::httpd::start::certificates;
use crate::httpd::state::{Connection, Server};
use crate::httpd::sys::guard::callback;
use crate::httpd::sys::{Context, pool, present};
use crate::managed::slot::Slot;
use apache_sys::{apr_pool_t, server_rec};
use foreign_types::ForeignTypeRef;
use openssl::ssl::{NameType, SslRef, SslVersion};
use openssl_sys::{SSL, SSL_CTX};
use std::ffi::{c_int, c_void};

/// The result with which a handshake goes on.
const GO_ON: c_int = 1;

/// The data that the callback needs about a host.
struct Place {
    /// The slot of live sets, and whether certificates of the host's own serve clients that need another key
    /// type than the live set has.
    live: Option<(Slot, bool)>,
    /// `acme-tls/1` is among its `Protocols`.
    speaks_acme_tls: bool,
}

callback! {
    // mod_ssl's hook for modules that add to the context of a host.
    fn init_server(server: *mut server_rec, pool: *mut apr_pool_t, is_proxy: c_int, context: *mut SSL_CTX) -> c_int, failing OK; {
        if is_proxy != 0 || context.is_null() {
            return OK;
        }
        // SAFETY: mod_ssl lends the server, the configuration's pool and the context it has just made. The
        // slot is freed with that pool and only in the process that made it, so it outlives every handshake.
        unsafe {
            let server = Server::new(server);
            stapling::install(server, pool, context);
            // Sets are tried out on it in children, which end before mod_ssl frees it with that pool.
            certificates::loaded(server, Context::new(context));
            // Connections are made from the context of the first host at an address, whichever they are for.
            apache_sys::SSL_CTX_set_msg_callback(context, Some(message_callback));
            let (live, speaks_acme_tls) = (certificates::live_slot(server), server.allows_acme_tls());
            if live.is_some() || speaks_acme_tls {
                let place = pool::own(pool, Place { live, speaks_acme_tls });
                apache_sys::SSL_CTX_set_cert_cb(context, Some(certificate_callback), place.cast());
            }
        }
        OK
    }
}

/// An extension of a ClientHello: ALPN (type 16) with `acme-tls/1` as its only protocol, as validators send
/// it (RFC 8737 §3).
const OFFER: &[u8] = b"\x00\x10\x00\x0d\x00\x0b\x0aacme-tls/1";

callback! {
    // OpenSSL passes every message here before it parses it; only the first one matters, the ClientHello.
    // With TLS 1.2 a certificate is chosen before the protocol is negotiated, and the protocols that the
    // client offers are available nowhere else then.
    fn message_callback(
        is_sent: c_int,
        _version: c_int,
        content_type: c_int,
        message: *const c_void,
        length: usize,
        ssl: *mut SSL,
        _data: *mut c_void,
    ) -> (), failing (); {
        if is_sent != 0 || content_type != apache_sys::SSL3_RT_HANDSHAKE as c_int || message.is_null() || ssl.is_null() {
            return;
        }
        // SAFETY: OpenSSL lends the connection and the message.
        unsafe {
            apache_sys::SSL_set_msg_callback(ssl, None);
            let message = std::slice::from_raw_parts(message.cast::<u8>(), length);
            if message.windows(OFFER.len()).any(|part| part == OFFER)
                && let Some(connection) = Connection::of(ssl)
            {
                connection.offer_acme_tls();
            }
        }
    }
}

/// Leaves a handshake only the certificates that answer a challenge, one for each key type: the validator
/// chooses between them, or the host does (`SSLHonorCipherOrder`). mod_ssl by itself would only add one of
/// them to those of the host. `false`: this handshake is not for a challenge that is under way.
///
/// # Safety
/// `ssl` is a live connection of mod_ssl's and in no other thread's hands.
unsafe fn shows_challenge(ssl: *mut SSL) -> bool {
    // SAFETY: see above.
    let (tls, connection) = unsafe { (SslRef::from_ptr(ssl), Connection::of(ssl)) };
    let Some(connection) = connection else { return false };
    // With TLS 1.3 the protocol is agreed on already, with TLS 1.2 not yet.
    let is_agreed = tls.selected_alpn_protocol() == Some(tls_alpn01::PROTOCOL.as_bytes());
    let will_be = || connection.is_offered_acme_tls() && tls.version2() != Some(SslVersion::TLS1_3);
    if !is_agreed && !will_be() {
        return false;
    }
    let name = tls.servername(NameType::HOST_NAME).unwrap_or_default();
    let Some(identities) = tls_alpn::certificates(&connection, name) else { return is_agreed };
    // SAFETY: see above.
    unsafe { apache_sys::SSL_certs_clear(ssl) };
    // A host's settings may refuse one kind.
    let refusals = identities.iter().filter_map(|identity| {
        // SAFETY: see above.
        unsafe { present(ssl, std::slice::from_ref(identity), false) }.err()
    });
    let refusals: Vec<String> = refusals.map(|refusal| refusal.to_string()).collect();
    if refusals.len() == identities.len() {
        let reasons = refusals.join("; ");
        crate::log!(
            Error,
            "OpenSSL refuses the certificates of the tls-alpn-01 challenge of {name}, so that its validation fails: \
             {reasons}. Check openssl.cnf and SSLOpenSSLConfCmd"
        );
    }
    true
}

callback! {
    // In a handshake, when the host is known and no session is resumed. The connection for a tls-alpn-01
    // challenge comes here, too.
    fn certificate_callback(ssl: *mut SSL, data: *mut c_void) -> c_int, failing GO_ON; {
        // SAFETY: `init_server` handed over a place that lives as long as the context.
        let Some(place) = (unsafe { data.cast::<Place>().as_ref() }) else { return GO_ON };
        // SAFETY: OpenSSL lends the connection of this handshake.
        if place.speaks_acme_tls && unsafe { shows_challenge(ssl) } {
            return GO_ON;
        }
        if let Some((slot, keeps_own)) = &place.live
            && let Some(set) = slot.load().as_ref()
        {
            let of_all = !keeps_own || set.identities.has_rsa();
            // SAFETY: as above.
            let presented = set.identities.open().and_then(|all| Ok(unsafe { present(ssl, all, of_all) }?));
            if let Err(error) = presented {
                crate::log!(Error, "OpenSSL refuses a live certificate in a handshake: {error}");
            }
        }
        GO_ON
    }
}
