// SPDX-License-Identifier: Apache-2.0
//! mod_ssl's TLS contexts and connections. Sets certificates on an `SSL`: the one place where mod_ssl and
//! this module share more than bytes.

use crate::crypto::Identity;
use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslContextRef, SslMethod};
use openssl_sys::{SSL, SSL_CTX};

/// The TLS context of a host, which mod_ssl keeps for as long as the configuration is in force.
pub struct Context(*mut SSL_CTX);

// SAFETY: OpenSSL's contexts are made to be shared by threads; we only read a number in it.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// # Safety
    /// `context` is live whenever [`security_level`](Self::security_level) is called.
    pub unsafe fn new(context: *mut SSL_CTX) -> Self {
        Context(context)
    }

    /// Decides, alone of all settings of a host, which certificates it takes.
    pub fn security_level(&self) -> u32 {
        // SAFETY: it is live, see `new`.
        unsafe { SslContextRef::from_ptr(self.0) }.security_level()
    }
}

/// Tries certificates as a host of this security level would. A connection of the host itself would count its
/// references in the host's context, certificates and keys, and so have each child copy pages of these, which
/// it shares with all others: for each domain more than its certificates take.
pub struct Trial {
    level: u32,
    context: SslContext,
}

impl Trial {
    pub fn new(level: u32) -> Result<Self, String> {
        let context = SslContext::builder(SslMethod::tls_server());
        let mut context = context.map_err(|error| error.to_string())?;
        context.set_security_level(level);
        Ok(Trial { level, context: context.build() })
    }

    pub fn level(&self) -> u32 {
        self.level
    }

    /// Sets these on an unused connection: certificates that the level does not allow (a key that is too short)
    /// fail here and not in a handshake.
    pub fn try_out(&self, identities: &[Identity]) -> Result<(), String> {
        let ssl = Ssl::new(&self.context).map_err(|error| error.to_string())?;
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
