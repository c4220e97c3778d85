// SPDX-License-Identifier: Apache-2.0
//! The fields of a certificate (RFC 5280 §4.1), read from its DER. OpenSSL decodes the public key of each
//! certificate it reads, which takes a hundred microseconds; a start with thousands of domains reads them
//! all.
//!
//! Refuses a certificate whose DER is malformed anywhere, because mod_ssl would refuse it too and end the
//! start.

use super::der::{
    BIT_STRING, BOOLEAN, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, SET,
    UTC_TIME, oid_text,
};
use super::extension::Extensions;
use crate::time::Timestamp;
use openssl::asn1::Asn1Object;
use openssl::nid::Nid;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
// Context tags of TBSCertificate.
const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;

#[derive(Clone)]
pub struct Fields {
    /// The content bytes of the INTEGER.
    pub serial: Vec<u8>,
    pub issuer: Name,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub subject: Name,
    /// The DER of the SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    pub extensions: Extensions,
}

impl Fields {
    /// `der` is the whole certificate and nothing else.
    pub fn read(der: &[u8]) -> Option<Self> {
        let all = Reader::new(der);
        if !all.is_sound() {
            return None;
        }
        let mut certificate = all.only(SEQUENCE)?;
        let mut tbs = certificate.enter(SEQUENCE)?;
        algorithm(&mut certificate)?;
        certificate.only(BIT_STRING)?;
        if let Some(version) = tbs.enter(VERSION) {
            version.only(INTEGER)?;
        }
        let serial = tbs.take(INTEGER)?.to_vec();
        algorithm(&mut tbs)?;
        let issuer = Name::read(tbs.enter(SEQUENCE)?)?;
        let mut validity = tbs.enter(SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = Name::read(tbs.enter(SEQUENCE)?)?;
        let public_key = tbs.take_whole(SEQUENCE)?.to_vec();
        tbs.take(ISSUER_ID);
        tbs.take(SUBJECT_ID);
        let extensions = match tbs.is_at_end() {
            true => Extensions::default(),
            false => extensions(tbs.only(EXTENSIONS)?.only(SEQUENCE)?)?,
        };
        Some(Fields { serial, issuer, not_before, not_after, subject, public_key, extensions })
    }
}

/// An AlgorithmIdentifier: an object identifier and at most one parameter.
fn algorithm(fields: &mut Reader<'_>) -> Option<()> {
    let mut algorithm = fields.enter(SEQUENCE)?;
    algorithm.take(OBJECT_IDENTIFIER)?;
    algorithm.element();
    algorithm.is_at_end().then_some(())
}

fn extensions(list: Reader<'_>) -> Option<Extensions> {
    let mut rest = list;
    while !rest.is_at_end() {
        let mut extension = rest.enter(SEQUENCE)?;
        extension.take(OBJECT_IDENTIFIER)?;
        extension.take(BOOLEAN);
        extension.only(OCTET_STRING)?;
    }
    Some(Extensions::read(list))
}

/// RFC 5280 §4.1.2.5: always to the second and in UTC; years of two digits are those until 2049.
pub fn time(validity: &mut Reader<'_>) -> Option<Timestamp> {
    let (tag, content) = validity.element()?;
    let digits = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let digits = match tag {
        UTC_TIME if digits < "50" => format!("20{digits}"),
        UTC_TIME => format!("19{digits}"),
        GENERALIZED_TIME => digits.to_string(),
        _ => return None,
    };
    let is_whole = digits.len() == 14 && digits.bytes().all(|b| b.is_ascii_digit());
    let (date, time) = digits.split_at_checked(8).filter(|_| is_whole)?;
    let (month, day) = date.get(4..)?.split_at(2);
    let (hour, rest) = time.split_at(2);
    let (minute, second) = rest.split_at(2);
    let year = date.get(..4)?;
    Timestamp::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

/// A distinguished name: pairs of attribute type (an object identifier) and value, in their order.
#[derive(Clone, PartialEq)]
pub struct Name(Vec<(Vec<u8>, Vec<u8>)>);

impl Name {
    fn read(mut sets: Reader<'_>) -> Option<Self> {
        let mut pairs = Vec::new();
        while !sets.is_at_end() {
            let mut set = sets.enter(SET)?;
            while !set.is_at_end() {
                let mut pair = set.enter(SEQUENCE)?;
                let oid = pair.take(OBJECT_IDENTIFIER)?;
                let (tag, value) = pair.element()?;
                (pair.is_at_end() && is_text(tag, value)).then_some(())?;
                pairs.push((oid.to_vec(), value.to_vec()));
            }
        }
        Some(Name(pairs))
    }

    pub fn common_names(&self) -> impl Iterator<Item = &str> {
        let values = self.0.iter().filter(|(oid, _)| oid == COMMON_NAME);
        values.filter_map(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// `/C=XX/CN=Name`, bytes that are not printable as `\xHH`.
    pub fn one_line(&self) -> String {
        let mut line = String::new();
        for (oid, value) in &self.0 {
            line.push_str(&format!("/{}=", attribute(oid)));
            for &byte in value {
                match byte {
                    b' '..=b'~' => line.push(char::from(byte)),
                    _ => line.push_str(&format!("\\x{byte:02X}")),
                }
            }
        }
        line
    }
}

/// The string types that names are made of (X.520), with whole characters.
fn is_text(tag: u8, value: &[u8]) -> bool {
    match tag {
        // UTF8String, NumericString, PrintableString, TeletexString, IA5String
        0x0c | 0x12..=0x14 | 0x16 => true,
        // UniversalString, BMPString
        0x1c => value.len().is_multiple_of(4),
        0x1e => value.len().is_multiple_of(2),
        _ => false,
    }
}

/// The short name of an attribute, or its numbers.
fn attribute(oid: &[u8]) -> String {
    if oid == COMMON_NAME {
        return "CN".into();
    }
    let numbers = oid_text(oid).unwrap_or_default();
    let nid = Asn1Object::from_str(&numbers).map_or(Nid::UNDEF, |object| object.nid());
    match nid.short_name() {
        Ok(short) if nid != Nid::UNDEF => short.to_string(),
        _ => numbers,
    }
}

#[cfg(test)]
mod tests {
    use super::super::PrivateKey;
    use super::super::fixture::{Ca, NOW, Wish, flips};
    use super::*;
    use crate::model::KeySpec;
    use crate::time::DAY;
    use openssl::x509::X509;

    fn der(wish: &Wish<'_>) -> Vec<u8> {
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        Ca::new("CA").grant(wish, &key).leaf().x509().unwrap().to_der().unwrap()
    }

    #[test]
    fn fields_are_those_openssl_reads() {
        let long_ago = Timestamp::from_unix(-400_000_000);
        let far = Timestamp::from_unix(2_600_000_000);
        for (from, until) in [(NOW.minus(DAY), NOW.plus(DAY)), (long_ago, far)] {
            let der = der(&Wish { names: &["a.test"], from, until, ..Wish::default() });
            let fields = Fields::read(&der).unwrap();
            let x509 = X509::from_der(&der).unwrap();
            assert_eq!((fields.not_before, fields.not_after), (from, until));
            assert_eq!(fields.public_key, x509.public_key().unwrap().public_key_to_der().unwrap());
            assert_eq!(fields.subject.common_names().collect::<Vec<_>>(), ["a.test"]);
        }
    }

    #[test]
    fn names_are_written_with_short_names_numbers_and_escapes() {
        let pair = |oid: &[u8], value: &[u8]| (oid.to_vec(), value.to_vec());
        let name = Name(vec![
            pair(&[0x55, 4, 6], b"XX"),
            pair(&[0x55, 4, 3], "a/\u{e4}".as_bytes()),
            pair(&[0x2a, 3, 4], b"?"),
        ]);
        assert_eq!(name.one_line(), "/C=XX/CN=a/\\xC3\\xA4/1.2.3.4=?");
    }

    #[test]
    fn openssl_reads_what_passes_here_whatever_bit_is_wrong() {
        let der = der(&Wish { names: &["a.test"], ..Wish::default() });
        let public_key = Fields::read(&der).unwrap().public_key;
        let mut count = 0;
        for flipped in flips(&der) {
            // Another public key is found out by the private key.
            if Fields::read(&flipped).is_some_and(|fields| fields.public_key == public_key) {
                let read = X509::from_der(&flipped);
                assert!(read.is_ok_and(|x509| x509.public_key().is_ok()), "{flipped:02x?}");
                count += 1;
            }
        }
        assert!(count > 500, "{count}");
    }

    #[test]
    fn a_certificate_cut_short_or_with_more_behind_it_is_refused() {
        let der = der(&Wish { names: &["a.test"], ..Wish::default() });
        for end in 0..der.len() {
            assert!(Fields::read(&der[..end]).is_none(), "{end}");
        }
        assert!(Fields::read(&[der.as_slice(), &[5, 0]].concat()).is_none());
    }
}
