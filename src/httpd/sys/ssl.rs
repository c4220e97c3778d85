// SPDX-License-Identifier: Apache-2.0
//! mod_ssl's TLS contexts and connections. Sets certificates on an `SSL`: the one place where mod_ssl and
//! this module share more than bytes.

use crate::crypto::Identity;
use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContextRef};
use openssl_sys::{SSL, SSL_CTX};

/// The TLS context of a host, which mod_ssl keeps for as long as the configuration is in force.
pub struct Context(*mut SSL_CTX);

// SAFETY: OpenSSL's contexts are made to be shared by threads; we only make connections from it.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// # Safety
    /// `context` is live whenever [`try_out`](Self::try_out) is called.
    pub unsafe fn new(context: *mut SSL_CTX) -> Self {
        Context(context)
    }

    /// Sets these on an unused connection of this host: certificates that the host's settings do not allow (a
    /// key that is too short for its security level) fail here and not in a handshake.
    pub fn try_out(&self, identities: &[Identity]) -> Result<(), String> {
        // SAFETY: it is live, see `new`.
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
pub unsafe fn present(ssl: *mut SSL, identities: &[Identity], of_all: bool) -> Result<(), ErrorStack> {
    // SAFETY: see above; OpenSSL takes references of its own to these objects, and counts them atomically.
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
