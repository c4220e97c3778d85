// SPDX-License-Identifier: Apache-2.0
//! A private key and its certificates as OpenSSL objects, prepared once so that a handshake only takes
//! references.

use super::{Chain, Error, PrivateKey};
use openssl::pkey::{Id, PKey, Private};
use openssl::stack::Stack;
use openssl::x509::X509;

/// Has no `Debug`, so that the key cannot slip into a log.
pub struct Identity {
    pub key: PKey<Private>,
    pub leaf: X509,
    /// The chain from the leaf to its root, without the leaf.
    pub issuers: Stack<X509>,
}

impl Identity {
    pub fn new(key: &PrivateKey, chain: &Chain) -> Result<Self, Error> {
        let mut issuers = Stack::new()?;
        for certificate in chain.certificates().iter().skip(1) {
            issuers.push(certificate.x509()?)?;
        }
        Ok(Identity { key: key.pkey().clone(), leaf: chain.leaf().x509()?, issuers })
    }

    pub fn is_rsa(&self) -> bool {
        self.key.id() == Id::RSA
    }
}
