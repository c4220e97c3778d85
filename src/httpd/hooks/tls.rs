// SPDX-License-Identifier: Apache-2.0
//! mod_ssl's TLS contexts: what is set on them at start, and the callback that OpenSSL calls in every full
//! handshake. The one place where more than bytes passes between mod_ssl and us: certificates are set on an
//! `SSL`.

use super::stapling;
use crate::challenge::tls_alpn01;
use crate::crypto::Identity;
use crate::httpd::live;
use crate::httpd::serve::tls_alpn;
use crate::httpd::start::certificates;
use crate::httpd::sys::connection::Connection;
use crate::httpd::sys::guard::callback;
use crate::httpd::sys::pool;
use crate::httpd::sys::server::Server;
use crate::managed::slot::Slot;
use apache_sys::{apr_pool_t, server_rec};
use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::error::ErrorStack;
use openssl::ssl::{NameType, Ssl, SslContextRef, SslRef, SslVersion};
use openssl_sys::{SSL, SSL_CTX};
use std::ffi::{c_int, c_void};

/// What the callback answers: the handshake goes on.
const GO_ON: c_int = 1;

/// Where handshakes of a host look.
struct Place {
    /// Where sets go live, and whether certificates of the host's own serve clients that want another kind of
    /// key than the live set has.
    live: Option<(Slot, bool)>,
    /// `acme-tls/1` is among its `Protocols`.
    speaks_acme_tls: bool,
}

/// The TLS context of a host, which mod_ssl keeps for as long as the configuration is in force.
pub struct Context(*mut SSL_CTX);

// SAFETY: OpenSSL's contexts are made to be shared by threads; we only make connections from it.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Sets these on a connection of this host that nobody uses: what the host's settings do not allow (a key
    /// that is too short for its security level) shows here and not in a handshake.
    pub fn try_out(&self, identities: &[Identity]) -> Result<(), String> {
        // SAFETY: mod_ssl's context outlives the configuration's pool, and who has this value is gone by
        // then.
        let context = unsafe { SslContextRef::from_ptr(self.0) };
        let ssl = Ssl::new(context).map_err(|error| error.to_string())?;
        // SAFETY: a live connection.
        unsafe { present(ssl.as_ptr(), identities, true) }.map_err(|error| error.to_string())
    }
}

/// Puts these in the place of the certificates the connection has: of all of them, or else of those with keys
/// of the same kinds.
///
/// # Safety
/// `ssl` is live and in no other thread's hands.
unsafe fn present(ssl: *mut SSL, identities: &[Identity], of_all: bool) -> Result<(), ErrorStack> {
    // SAFETY: see above; OpenSSL takes references of its own to what it is handed, and counts them
    // atomically.
    unsafe {
        if of_all {
            apache_sys::SSL_certs_clear(ssl);
        }
        for identity in identities {
            let (leaf, key) = (identity.leaf.as_ptr(), identity.key.as_ptr());
            if apache_sys::SSL_use_cert_and_key(ssl, leaf, key, identity.issuers.as_ptr(), 1) != 1 {
                return Err(ErrorStack::get());
            }
        }
    }
    Ok(())
}

callback! {
    // mod_ssl's hook for modules that have more to set on the context of a host.
    fn init_server(server: *mut server_rec, pool: *mut apr_pool_t, is_proxy: c_int, context: *mut SSL_CTX) -> c_int, failing apache_sys::OK as c_int; {
        let go_on = apache_sys::OK as c_int;
        if is_proxy != 0 || context.is_null() {
            return go_on;
        }
        // SAFETY: mod_ssl lends the server, the configuration's pool and the context it has just made. The
        // slot is freed with that pool and only in the process that made it, so it outlives every handshake.
        unsafe {
            let server = Server::new(server);
            stapling::install(server, pool, context);
            certificates::loaded(server, Context(context));
            // Connections are made from the context of the first host at an address, whichever they are for.
            apache_sys::SSL_CTX_set_msg_callback(context, Some(message_callback));
            let (live, speaks_acme_tls) = (live::slot_of(server), server.allows_acme_tls());
            if live.is_some() || speaks_acme_tls {
                let place = pool::own(pool, Place { live, speaks_acme_tls });
                apache_sys::SSL_CTX_set_cert_cb(context, Some(certificate_callback), place.cast());
            }
        }
        go_on
    }
}

/// An extension of a ClientHello: ALPN (type 16) with `acme-tls/1` as its only protocol, as validators send
/// it (RFC 8737 §3).
const OFFER: &[u8] = b"\x00\x10\x00\x0d\x00\x0b\x0aacme-tls/1";

callback! {
    // OpenSSL shows every message before it looks at it; what is wanted is the first, that of the client.
    // With TLS 1.2 a certificate is chosen before the protocol is agreed on, and only here is to be seen then
    // what the client offers.
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
                && let Some(connection) = connection_of(ssl)
            {
                connection.offer_acme_tls();
            }
        }
    }
}

/// # Safety
/// `ssl` is a live connection of mod_ssl's and in no other thread's hands; what is returned is not used
/// longer.
unsafe fn connection_of<'a>(ssl: *mut SSL) -> Option<Connection<'a>> {
    // SAFETY: mod_ssl keeps the record of the connection in the place for the application's data, and it
    // lives longer than the handshake.
    unsafe {
        let record = apache_sys::shim_connection_of(ssl);
        (!record.is_null()).then(|| Connection::new(record))
    }
}

/// Leaves a handshake nothing to show but certificates that answer a challenge, one for each kind of key:
/// which of them is shown is the choice of the validator, or of the host (`SSLHonorCipherOrder`). What
/// mod_ssl does by itself is to put one of them beside those of the host. `false`: this is no handshake for a
/// challenge that is under way.
///
/// # Safety
/// `ssl` is a live connection of mod_ssl's and in no other thread's hands.
unsafe fn shows_challenge(ssl: *mut SSL) -> bool {
    // SAFETY: see above.
    let (tls, connection) = unsafe { (SslRef::from_ptr(ssl), connection_of(ssl)) };
    let Some(connection) = connection else { return false };
    // With TLS 1.3 the protocol is agreed on, with TLS 1.2 it will be.
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
            // SAFETY: as above.
            && let Err(error) = unsafe { present(ssl, &set.identities, !keeps_own || set.has_rsa()) }
        {
            crate::log!(Error, "OpenSSL refuses a live certificate in a handshake: {error}");
        }
        GO_ON
    }
}
