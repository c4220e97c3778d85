// SPDX-License-Identifier: Apache-2.0
//! A private key and its certificates as OpenSSL objects, prepared once so that a handshake only takes
//! references, and as bytes, as long as no handshake needs them.

use super::{Certificate, Chain, Error, PrivateKey};
use crate::sync::Shared;
use crate::time::Timestamp;
use once_cell::race::OnceBox;
use openssl::ec::EcKey;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use openssl::stack::Stack;
use openssl::x509::{X509, X509Ref};
use std::sync::Arc;
use zeroize::Zeroizing;

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
}

/// Identities as bytes, a fraction of OpenSSL's objects, which the first handshake that needs them makes: of
/// thousands of sets, a process serves those that its clients ask it for. No handshake waits for another one;
/// of several that make the objects at the same moment, those of the first are kept.
#[derive(Default)]
pub struct Identities {
    packed: Vec<Packed>,
    opened: OnceBox<Vec<Identity>>,
}

struct Packed {
    key: PackedKey,
    is_rsa: bool,
    leaf: Box<[u8]>,
    issuers: Arc<Stack<X509>>,
}

/// PKCS#1 and SEC 1 are read ten times faster than PKCS#8, for which OpenSSL 3 tries one decoder after the other.
enum PackedKey {
    Pkcs1(Zeroizing<Vec<u8>>),
    Sec1(Zeroizing<Vec<u8>>),
    Pkcs8(Zeroizing<Vec<u8>>),
}

impl PackedKey {
    /// What cannot be read again is found here, and not in a handshake.
    fn new(key: &PKey<Private>) -> Result<Self, Error> {
        let quick = match key.id() {
            Id::RSA => Some(PackedKey::Pkcs1(Zeroizing::new(key.rsa()?.private_key_to_der()?))),
            Id::EC => Some(PackedKey::Sec1(Zeroizing::new(key.ec_key()?.private_key_to_der()?))),
            _ => None,
        };
        let is_whole = |packed: &PackedKey| packed.open().is_ok_and(|opened| opened.public_eq(key));
        match quick.filter(is_whole) {
            Some(packed) => Ok(packed),
            None => Ok(PackedKey::Pkcs8(Zeroizing::new(key.private_key_to_pkcs8()?))),
        }
    }

    fn open(&self) -> Result<PKey<Private>, Error> {
        Ok(match self {
            PackedKey::Pkcs1(der) => PKey::from_rsa(Rsa::private_key_from_der(der)?)?,
            PackedKey::Sec1(der) => PKey::from_ec_key(EcKey::private_key_from_der(der)?)?,
            PackedKey::Pkcs8(der) => PKey::private_key_from_pkcs8(der)?,
        })
    }
}

impl Packed {
    fn new(identity: &Identity) -> Result<Self, Error> {
        Ok(Packed {
            key: PackedKey::new(&identity.key)?,
            is_rsa: identity.key.id() == Id::RSA,
            leaf: identity.leaf.to_der()?.into_boxed_slice(),
            issuers: identity.issuers.clone(),
        })
    }

    fn open(&self) -> Result<Identity, Error> {
        Ok(Identity {
            key: self.key.open()?,
            leaf: X509::from_der(&self.leaf)?,
            issuers: self.issuers.clone(),
        })
    }
}

impl Identities {
    pub fn new(identities: Vec<Identity>) -> Result<Self, Error> {
        let packed = identities.iter().map(Packed::new).collect::<Result<_, _>>()?;
        Ok(Identities { packed, opened: OnceBox::with_value(Box::new(identities)) })
    }

    /// OpenSSL's objects, which are kept from now on.
    pub fn open(&self) -> Result<&[Identity], Error> {
        let open = || self.packed.iter().map(Packed::open).collect::<Result<_, _>>().map(Box::new);
        self.opened.get_or_try_init(open).map(Vec::as_slice)
    }

    /// Drops OpenSSL's objects until a handshake needs them, and shares the issuers of `chains`.
    pub fn pack(&mut self, chains: &Chains) -> Result<(), Error> {
        self.opened = OnceBox::new();
        self.packed.iter_mut().try_for_each(|identity| chains.share(&mut identity.issuers))
    }

    pub fn has_rsa(&self) -> bool {
        self.packed.iter().any(|identity| identity.is_rsa)
    }

    /// The issuers of each identity, from that of the leaf on; one that cannot be read is left out.
    pub fn issuers(&self) -> Vec<Issuer> {
        let read = |x509: &X509Ref| Certificate::from_der(x509.to_der().ok()?).ok();
        let issuers = self.packed.iter().flat_map(|identity| identity.issuers.iter());
        issuers.filter_map(read).map(|issuer| Issuer::of(&issuer)).collect()
    }
}

/// The chains of a process's identities. Only who makes an identity waits for the lock, never a handshake.
#[derive(Default)]
pub struct Chains(Shared<Stack<X509>>);

impl Chains {
    /// Puts the chain that another identity of the same issuers has in the place of this one.
    fn share(&self, issuers: &mut Arc<Stack<X509>>) -> Result<(), Error> {
        let mut prints = Vec::new();
        for issuer in issuers.iter() {
            prints.extend_from_slice(&issuer.digest(MessageDigest::sha256())?);
        }
        *issuers = self.0.share(prints, issuers.clone());
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

    fn identities(ca: &Ca, spec: &KeySpec) -> Identities {
        let key = PrivateKey::generate(spec).unwrap();
        Identities::new(vec![Identity::new(&key, &ca.issue(&["a.test"], &key)).unwrap()]).unwrap()
    }

    #[test]
    fn packed_identities_are_opened_once_whoever_is_first_and_are_what_they_were() {
        let made = [KeySpec::default(), KeySpec::Ec("P-256".into()), KeySpec::Ec("P-384".into())];
        let made = made.map(|spec| (identities(&Ca::new("one"), &spec), spec == KeySpec::default()));
        let other =
            Identity { key: PKey::generate_ed25519().unwrap(), ..made[0].0.packed[0].open().unwrap() };
        // A key whose encoding lacks the public half: OpenSSL writes it as it has read it.
        let scalar =
            made[1].0.packed[0].open().unwrap().key.ec_key().unwrap().private_key().to_vec_padded(32);
        let curve: &[u8] = b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
        let bare = [b"\x30\x31\x02\x01\x01\x04\x20", scalar.unwrap().as_slice(), curve].concat();
        let bare = PKey::from_ec_key(EcKey::private_key_from_der(&bare).unwrap()).unwrap();
        let bare = Identity { key: bare, ..made[1].0.packed[0].open().unwrap() };
        let others = [other, bare].map(|identity| (Identities::new(vec![identity]).unwrap(), false));
        for (mut identities, has_rsa) in made.into_iter().chain(others) {
            let bytes = |identities: &Identities| {
                let [identity] = identities.open().unwrap() else { panic!("not one") };
                (identity.key.private_key_to_pkcs8().unwrap(), identity.leaf.to_der().unwrap())
            };
            let before = bytes(&identities);
            identities.pack(&Chains::default()).unwrap();
            assert!(identities.opened.get().is_none());
            let opened = std::thread::scope(|scope| {
                let threads = [(); 8].map(|()| {
                    scope.spawn(|| std::ptr::from_ref(identities.open().unwrap()) as *const () as usize)
                });
                threads.map(|thread| thread.join().unwrap())
            });
            assert!(opened.iter().all(|place| *place == opened[0]), "{opened:?}");
            assert_eq!(bytes(&identities), before);
            assert_eq!(identities.has_rsa(), has_rsa);
        }
    }

    #[test]
    fn identities_of_the_same_issuers_share_one_chain_as_long_as_there_is_one() {
        let chains = Chains::default();
        let of = |ca: &Ca| {
            let mut identities = identities(ca, &KeySpec::Ec("P-256".into()));
            identities.pack(&chains).unwrap();
            identities
        };
        let (one, other) = (Ca::new("one"), Ca::new("other"));
        let (first, second, of_other) = (of(&one), of(&one), of(&other));
        let is_shared = |a: &Identities, b: &Identities| {
            let issuers = |identities: &Identities| identities.open().unwrap()[0].issuers.clone();
            Arc::ptr_eq(&a.packed[0].issuers, &b.packed[0].issuers) && Arc::ptr_eq(&issuers(a), &issuers(b))
        };
        assert!(is_shared(&first, &second));
        assert!(!is_shared(&first, &of_other));
        let names =
            |identities: &Identities| identities.issuers().into_iter().map(|issuer| issuer.name).collect();
        let names: [Vec<String>; 2] = [names(&second), names(&of_other)];
        assert_eq!(names, [["/CN=one"], ["/CN=other"]]);
        drop((first, second));
        let again = of(&Ca::new("third"));
        assert_eq!((chains.0.count(), again.packed[0].issuers.len()), (2, 1), "those in use");
    }
}
