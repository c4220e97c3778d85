// SPDX-License-Identifier: Apache-2.0
//! Self-signed certificates: the one that a host serves before its first real one, so that TLS starts and the
//! CA's challenge reaches the host, and the one that answers a tls-alpn-01 challenge.

use super::{Certificate, Chain, Error, PrivateKey};
use crate::time::{DAY, Timestamp};
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Extension, X509NameBuilder, X509v3Context};
use std::net::IpAddr;
use std::time::Duration;

/// Subject and issuer of a fallback certificate.
pub const FALLBACK_NAME: &str = "Apache Managed Domain Fallback";
const LIFETIME: Duration = DAY.saturating_mul(14);

/// Subject and issuer of a certificate that answers a challenge, as the C module has it.
const CHALLENGE_NAME: &str = "tls-alpn-01-challenge";
/// id-pe-acmeIdentifier (RFC 8737 §6.1).
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// A certificate for `names`, valid for 14 days from `now`, signed by its own key.
pub fn fallback(names: &[String], key: &PrivateKey, now: Timestamp) -> Result<Chain, Error> {
    let usage = [
        KeyUsage::new().critical().digital_signature().build()?,
        ExtendedKeyUsage::new().server_auth().build()?,
    ];
    signed_by_itself(FALLBACK_NAME, names, usage, key, (now, now.plus(LIFETIME)))
}

/// A certificate for `name` with the digest of a key authorization (RFC 8737 §3). Valid from a day before
/// `now`, for clocks that differ, to a week after.
pub fn acme_identifier(
    name: &str,
    digest: &[u8; 32],
    key: &PrivateKey,
    now: Timestamp,
) -> Result<Chain, Error> {
    // Authorization ::= OCTET STRING (SIZE (32))
    let value = [&[0x04, 32], digest.as_slice()].concat();
    let oid = Asn1Object::from_str(ACME_IDENTIFIER)?;
    let value = Asn1OctetString::new_from_bytes(&value)?;
    let identifier = X509Extension::new_from_der(&oid, true, &value)?;
    let valid = (now.minus(DAY), now.plus(DAY.saturating_mul(7)));
    signed_by_itself(CHALLENGE_NAME, &[name.to_string()], [identifier], key, valid)
}

fn signed_by_itself<const N: usize>(
    common_name: &str,
    names: &[String],
    extensions: [X509Extension; N],
    key: &PrivateKey,
    (from, until): (Timestamp, Timestamp),
) -> Result<Chain, Error> {
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    // RFC 5280 §4.1.2.2: positive, at most 20 bytes.
    serial.rand(159, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_pubkey(key.pkey())?;
    builder.set_not_before(Asn1Time::from_unix(from.unix())?.as_ref())?;
    builder.set_not_after(Asn1Time::from_unix(until.unix())?.as_ref())?;
    let names = subject_alt_name(names, &builder.x509v3_context(None, None))?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.append_extension(names)?;
    for extension in extensions {
        builder.append_extension(extension)?;
    }
    builder.sign(key.pkey(), MessageDigest::sha256())?;
    Chain::new(vec![Certificate::from_x509(&builder.build())?])
}

fn subject_alt_name(names: &[String], context: &X509v3Context<'_>) -> Result<X509Extension, Error> {
    let mut extension = SubjectAlternativeName::new();
    for name in names {
        match name.parse::<IpAddr>() {
            Ok(_) => extension.ip(name),
            Err(_) => extension.dns(name),
        };
    }
    Ok(extension.build(context)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeySpec;

    #[test]
    fn a_fallback_serves_all_names_for_fourteen_days_with_its_own_key() {
        let now = Timestamp::from_unix(1_800_000_000);
        let names = ["a.test".to_string(), "*.b.test".into(), "::1".into()];
        for spec in [KeySpec::default(), KeySpec::Ec("secp384r1".into())] {
            let key = PrivateKey::generate(&spec).unwrap();
            let chain = fallback(&names, &key, now).unwrap();
            let leaf = chain.leaf();
            assert_eq!(leaf.dns_names(), names);
            assert_eq!(leaf.not_before(), now);
            assert_eq!(leaf.not_after(), now.plus(DAY * 14));
            assert_eq!(leaf.issuer_name(), "/CN=Apache Managed Domain Fallback");
            assert!(leaf.matches_key(&key));
            assert!(leaf.was_issued_by(leaf));
        }
    }

    #[test]
    fn a_challenge_certificate_has_one_name_and_the_critical_digest() {
        let now = Timestamp::from_unix(1_800_000_000);
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        for name in ["a.test", "127.0.0.1"] {
            let chain = acme_identifier(name, &[0xab; 32], &key, now).unwrap();
            let leaf = chain.leaf();
            assert_eq!(leaf.dns_names(), [name]);
            assert!(leaf.not_before() < now && leaf.not_after() > now.plus(DAY));
            assert!(leaf.matches_key(&key) && leaf.was_issued_by(leaf));
            let text = String::from_utf8(leaf.x509().unwrap().to_text().unwrap()).unwrap();
            assert!(text.contains("1.3.6.1.5.5.7.1.31: critical"), "{text}");
            // OBJECT IDENTIFIER, BOOLEAN true, OCTET STRING holding the OCTET STRING of RFC 8737 §3.
            let der = leaf.x509().unwrap().to_der().unwrap();
            let expected =
                [&[0x2b, 6, 1, 5, 5, 7, 1, 31, 1, 1, 0xff, 4, 34, 4, 32], [0xab; 32].as_slice()].concat();
            assert!(der.windows(expected.len()).any(|part| part == expected));
        }
    }
}
