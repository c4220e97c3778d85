//! mod_ssl's TLS contexts: what is set on them at start, and the callback that OpenSSL calls in every full
//! handshake. The one place where more than bytes passes between mod_ssl and us: certificates are set on an `SSL`.

use super::guard::callback;
use super::server::Server;
use super::{ocsp, pool};
use crate::challenge::tls_alpn01;
use crate::crypto::Identity;
use crate::httpd::{live, tls};
use crate::renew::slot::Slot;
use apache_sys::{apr_pool_t, server_rec};
use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContextRef, SslRef};
use openssl_sys::{EVP_PKEY, SSL, SSL_CTX, X509, stack_st_X509};
use std::ffi::{c_int, c_void};

type CertCallback = unsafe extern "C" fn(ssl: *mut SSL, data: *mut c_void) -> c_int;

// In every OpenSSL from 1.1.1 on, and missing from openssl-sys.
unsafe extern "C" {
    fn SSL_CTX_set_cert_cb(context: *mut SSL_CTX, callback: Option<CertCallback>, data: *mut c_void);
    fn SSL_certs_clear(ssl: *mut SSL);
    fn SSL_use_cert_and_key(
        ssl: *mut SSL,
        leaf: *mut X509,
        key: *mut EVP_PKEY,
        chain: *mut stack_st_X509,
        replace: c_int,
    ) -> c_int;
}

/// What the callback answers: the handshake goes on.
const GO_ON: c_int = 1;

/// Where handshakes of a host look.
struct Place {
    slot: Slot,
    /// Certificates of the host's own serve clients that want another kind of key than the live set has.
    keeps_own: bool,
}

/// The TLS context of a host, which mod_ssl keeps for as long as the configuration is in force.
pub struct Context(*mut SSL_CTX);

// SAFETY: OpenSSL's contexts are made to be shared by threads; we only make connections from it.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Sets these on a connection of this host that nobody uses: what the host's settings do not allow (a key that
    /// is too short for its security level) shows here and not in a handshake.
    pub fn try_out(&self, identities: &[Identity]) -> Result<(), String> {
        // SAFETY: mod_ssl's context outlives the configuration's pool, and who has this value is gone by then.
        let context = unsafe { SslContextRef::from_ptr(self.0) };
        let ssl = Ssl::new(context).map_err(|error| error.to_string())?;
        // SAFETY: a live connection.
        unsafe { present(ssl.as_ptr(), identities, true) }.map_err(|error| error.to_string())
    }
}

/// Puts these in the place of the certificates the connection has: of all of them, or else of those with keys of the
/// same kinds.
///
/// # Safety
/// `ssl` is live and in no other thread's hands.
unsafe fn present(ssl: *mut SSL, identities: &[Identity], of_all: bool) -> Result<(), ErrorStack> {
    // SAFETY: see above; OpenSSL takes references of its own to what it is handed, and counts them atomically.
    unsafe {
        if of_all {
            SSL_certs_clear(ssl);
        }
        for identity in identities {
            let (leaf, key) = (identity.leaf.as_ptr(), identity.key.as_ptr());
            if SSL_use_cert_and_key(ssl, leaf, key, identity.issuers.as_ptr(), 1) != 1 {
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
        // SAFETY: mod_ssl lends the server, the configuration's pool and the context it has just made. The slot is freed
        // with that pool and only in the process that made it, so it outlives every handshake.
        unsafe {
            let server = Server::new(server);
            ocsp::install(server, pool, context);
            tls::loaded(server, Context(context));
            if let Some((slot, keeps_own)) = live::slot_of(server) {
                let place = pool::own(pool, Place { slot, keeps_own });
                SSL_CTX_set_cert_cb(context, Some(certificate_callback), place.cast());
            }
        }
        go_on
    }
}

/// Whether it has been agreed to speak the protocol of a challenge.
///
/// # Safety
/// `ssl` is live and in no other thread's hands.
unsafe fn answers_challenge(ssl: *mut SSL) -> bool {
    // SAFETY: see above.
    let ssl = unsafe { SslRef::from_ptr(ssl) };
    ssl.selected_alpn_protocol() == Some(tls_alpn01::PROTOCOL.as_bytes())
}

callback! {
    // In a handshake, when the host is known and no session is resumed. The connection for a tls-alpn-01 challenge comes
    // here, too. mod_ssl sets the challenge's certificate when protocols are chosen: with TLS 1.3 that was before, and what
    // it has set must stay; with TLS 1.2 it comes after, and that one counts.
    fn certificate_callback(ssl: *mut SSL, data: *mut c_void) -> c_int, failing GO_ON; {
        // SAFETY: `init_server` handed over a place that lives as long as the context.
        let Some(place) = (unsafe { data.cast::<Place>().as_ref() }) else { return GO_ON };
        if let Some(set) = place.slot.load().as_ref()
            // SAFETY: OpenSSL lends the connection of this handshake.
            && !unsafe { answers_challenge(ssl) }
            // SAFETY: as above.
            && let Err(error) = unsafe { present(ssl, &set.identities, !place.keeps_own || set.has_rsa()) }
        {
            crate::log!(Error, "OpenSSL refuses a live certificate in a handshake: {error}");
        }
        GO_ON
    }
}
