// SPDX-License-Identifier: Apache-2.0
//! Certificates of a test CA that name the OCSP responder of the test.

use super::ocsp_response::element;
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::BasicConstraints;
use openssl::x509::{X509, X509Extension, X509NameBuilder};

pub fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub fn ca(name: &str) -> (X509, PKey<Private>) {
    let key = new_key();
    (make(name, &key, None, vec![BasicConstraints::new().critical().ca().build().unwrap()]), key)
}

pub fn leaf(name: &str, key: &PKey<Private>, ca: (&X509, &PKey<Private>), responder: &str) -> X509 {
    make(name, key, Some(ca), vec![san(name), ocsp_access(responder)])
}

pub fn san(name: &str) -> X509Extension {
    let oid = Asn1Object::from_str("2.5.29.17").unwrap();
    let value = element(0x30, &element(0x82, name.as_bytes()));
    X509Extension::new_from_der(&oid, false, &Asn1OctetString::new_from_bytes(&value).unwrap()).unwrap()
}

pub fn ocsp_access(url: &str) -> X509Extension {
    let method = element(6, &[0x2b, 6, 1, 5, 5, 7, 48, 1]);
    let access = element(0x30, &[method, element(0x86, url.as_bytes())].concat());
    let oid = Asn1Object::from_str("1.3.6.1.5.5.7.1.1").unwrap();
    let value = element(0x30, &access);
    X509Extension::new_from_der(&oid, false, &Asn1OctetString::new_from_bytes(&value).unwrap()).unwrap()
}

pub fn make(
    name: &str,
    key: &PKey<Private>,
    issuer: Option<(&X509, &PKey<Private>)>,
    extensions: Vec<X509Extension>,
) -> X509 {
    let day = |days| Asn1Time::days_from_now(days).unwrap();
    make_valid(name, key, issuer, extensions, (&day(0), &day(30)))
}

/// Between these dates. Without a name the subject has no common name.
pub fn make_valid(
    name: &str,
    key: &PKey<Private>,
    issuer: Option<(&X509, &PKey<Private>)>,
    extensions: Vec<X509Extension>,
    (from, until): (&Asn1Time, &Asn1Time),
) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    let entry = if name.is_empty() { (Nid::ORGANIZATIONNAME, "nameless") } else { (Nid::COMMONNAME, name) };
    subject.append_entry_by_nid(entry.0, entry.1).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(127, MsbOption::ONE, false).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&subject, |(cert, _)| cert.subject_name())).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(from).unwrap();
    builder.set_not_after(until).unwrap();
    extensions.into_iter().for_each(|extension| builder.append_extension(extension).unwrap());
    builder.sign(issuer.map_or(key, |(_, key)| key), MessageDigest::sha256()).unwrap();
    builder.build()
}
