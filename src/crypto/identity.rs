// SPDX-License-Identifier: Apache-2.0
//! A private key and its certificates as OpenSSL objects, prepared once so that a handshake only takes
//! references.

use super::{Certificate, Chain, Error, PrivateKey};
use crate::sync::lock;
use crate::time::Timestamp;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::stack::Stack;
use openssl::x509::{X509, X509Ref};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

/// Has no `Debug`, so that the key cannot slip into a log.
pub struct Identity {
    pub key: PKey<Private>,
    pub leaf: X509,
    /// The chain from the leaf to its root, without the leaf.
    pub issuers: Arc<Stack<X509>>,
}

impl Identity {
    pub fn new(key: &PrivateKey, chain: &Chain) -> Result<Self, Error> {
        let mut issuers = Stack::new()?;
        for certificate in chain.certificates().iter().skip(1) {
            issuers.push(certificate.x509()?)?;
        }
        Ok(Identity { key: key.pkey().clone(), leaf: chain.leaf().x509()?, issuers: Arc::new(issuers) })
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

/// The chains of a process's identities, each once: thousands of domains have the same few issuers. Only who
/// makes an identity waits for the lock, never a handshake.
#[derive(Default)]
pub struct Chains(Mutex<HashMap<Vec<u8>, Weak<Stack<X509>>>>);

impl Chains {
    /// Has `identity` use the chain that another of the same issuers has.
    pub fn share(&self, identity: &mut Identity) -> Result<(), Error> {
        let mut prints = Vec::new();
        for issuer in identity.issuers.iter() {
            prints.extend_from_slice(&issuer.digest(MessageDigest::sha256())?);
        }
        let mut chains = lock(&self.0);
        if let Some(known) = chains.get(&prints).and_then(Weak::upgrade) {
            identity.issuers = known;
            return Ok(());
        }
        chains.retain(|_, chain| chain.strong_count() > 0);
        chains.insert(prints, Arc::downgrade(&identity.issuers));
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::super::fixture::Ca;
    use super::*;
    use crate::model::KeySpec;

    #[test]
    fn identities_of_the_same_issuers_share_one_chain_as_long_as_there_is_one() {
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        let chains = Chains::default();
        let of = |ca: &Ca| {
            let chain = ca.issue(&["a.test"], &key);
            let mut identity = Identity::new(&key, &chain).unwrap();
            chains.share(&mut identity).unwrap();
            identity
        };
        let (one, other) = (Ca::new("one"), Ca::new("other"));
        let (first, second, of_other) = (of(&one), of(&one), of(&other));
        assert!(Arc::ptr_eq(&first.issuers, &second.issuers));
        assert!(!Arc::ptr_eq(&first.issuers, &of_other.issuers));
        let names = |identity: &Identity| identity.chain().into_iter().map(|issuer| issuer.name).collect();
        let names: [Vec<String>; 2] = [names(&second), names(&of_other)];
        assert_eq!(names, [["/CN=one"], ["/CN=other"]]);
        drop((first, second));
        let again = of(&Ca::new("third"));
        assert_eq!((lock(&chains.0).len(), again.issuers.len()), (2, 1), "those in use");
    }
}
