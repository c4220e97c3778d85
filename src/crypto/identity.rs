// SPDX-License-Identifier: Apache-2.0
//! A private key and its certificates as OpenSSL objects, prepared once so that a handshake only takes
//! references.

use super::{Certificate, Chain, Error, PrivateKey};
use crate::time::Timestamp;
use openssl::pkey::{Id, PKey, Private};
use openssl::stack::Stack;
use openssl::x509::{X509, X509Ref};

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

    /// The issuers, from that of the leaf on; one that cannot be read is left out.
    pub fn chain(&self) -> Vec<Issuer> {
        let read = |x509: &X509Ref| Certificate::from_der(x509.to_der().ok()?).ok();
        let issuers = self.issuers.iter().filter_map(read);
        issuers.map(|issuer| Issuer::of(&issuer)).collect()
    }
}

/// The plain facts about a certificate of a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub name: String,
    pub issuer: String,
    pub until: Timestamp,
}

impl Issuer {
    fn of(certificate: &Certificate) -> Self {
        Issuer {
            name: certificate.subject_name(),
            issuer: certificate.issuer_name(),
            until: certificate.not_after(),
        }
    }
}
