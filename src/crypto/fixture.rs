// SPDX-License-Identifier: Apache-2.0
//! Certificates for tests, made when the tests run.

use super::{Certificate, Chain, PrivateKey};
use crate::model::KeySpec;
use crate::time::{DAY, Timestamp};
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::x509::extension::SubjectKeyIdentifier;
use openssl::x509::extension::{AuthorityKeyIdentifier, BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Extension, X509NameBuilder};
use std::sync::OnceLock;

/// The instant at which tests take place.
pub const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// The wanted content of a certificate. Lifetime: 90 days, the first of which has passed.
pub struct Wish<'a> {
    pub names: &'a [&'a str],
    /// Whole bytes in hex.
    pub serial: &'a str,
    pub from: Timestamp,
    pub until: Timestamp,
    /// OIDs and the DER of their values.
    pub extensions: &'a [(&'a str, &'a [u8])],
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Wish { names: &[], serial: "05A1", from: NOW.minus(DAY), until: NOW.plus(DAY * 89), extensions: &[] }
    }
}

/// The same RSA key of 2048 bits in each test, where any will do: making one takes a tenth of a second.
pub fn rsa_key() -> PrivateKey {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| PrivateKey::generate(&KeySpec::default()).unwrap()).clone()
}

pub struct Ca {
    cert: Certificate,
    key: PrivateKey,
}

impl Ca {
    pub fn new(name: &str) -> Self {
        Ca::with_key(name, PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap())
    }

    pub fn with_key(name: &str, key: PrivateKey) -> Self {
        let wish = Wish { from: NOW.minus(DAY * 999), until: NOW.plus(DAY * 999), ..Wish::default() };
        let cert = certificate(name, &key, None, &wish);
        Ca { cert, key }
    }

    pub fn certificate(&self) -> &Certificate {
        &self.cert
    }

    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// A CA that this one has certified.
    pub fn intermediate(&self, name: &str) -> Self {
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        let cert = certificate(name, &key, Some(self), &Wish::default());
        Ca { cert, key }
    }

    /// A certificate of this CA for the key of another one.
    pub fn cross_sign(&self, other: &Ca) -> Certificate {
        let name = &other.cert.dns_names()[0];
        certificate(name, &other.key, Some(self), &Wish::default())
    }

    pub fn issue(&self, names: &[&str], key: &PrivateKey) -> Chain {
        self.grant(&Wish { names, ..Wish::default() }, key)
    }

    pub fn grant(&self, wish: &Wish<'_>, key: &PrivateKey) -> Chain {
        let leaf = certificate(wish.names.first().unwrap(), key, Some(self), wish);
        Chain::new(vec![leaf, self.cert.clone()]).unwrap()
    }
}

fn certificate(name: &str, key: &PrivateKey, issuer: Option<&Ca>, wish: &Wish<'_>) -> Certificate {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let issuer_cert = issuer.map(|issuer| issuer.cert.x509().unwrap());
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_hex_str(wish.serial).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer_cert.as_ref().map_or(&subject, |cert| cert.subject_name())).unwrap();
    builder.set_pubkey(key.pkey()).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(wish.from.unix()).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(wish.until.unix()).unwrap()).unwrap();
    let mut extensions = Vec::new();
    let context = builder.x509v3_context(issuer_cert.as_deref(), None);
    match wish.names {
        [_, ..] => {
            let mut names = SubjectAlternativeName::new();
            for name in wish.names {
                names.dns(name);
            }
            extensions.push(names.build(&context).unwrap());
            extensions.push(AuthorityKeyIdentifier::new().keyid(true).build(&context).unwrap());
        }
        [] => {
            extensions.push(BasicConstraints::new().critical().ca().build().unwrap());
            extensions.push(SubjectKeyIdentifier::new().build(&context).unwrap());
        }
    }
    for (oid, der) in wish.extensions {
        let oid = Asn1Object::from_str(oid).unwrap();
        let value = Asn1OctetString::new_from_bytes(der).unwrap();
        extensions.push(X509Extension::new_from_der(&oid, false, &value).unwrap());
    }
    extensions.into_iter().for_each(|e| builder.append_extension(e).unwrap());
    builder.sign(issuer.map_or(key, |i| &i.key).pkey(), MessageDigest::sha256()).unwrap();
    Certificate::from_x509(&builder.build()).unwrap()
}

/// `der` with one bit wrong, for each of its bits.
pub fn flips(der: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..der.len() * 8).map(|bit| {
        let mut flipped = der.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}
