//! The certificate a host shows while it has no real one: self-signed, so that TLS can start and the
//! CA's challenge reach it. No client trusts it.

use super::{Certificate, Chain, Error, PrivateKey};
use crate::time::{DAY, Timestamp};
use openssl::asn1::Asn1Time;
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

/// A certificate for `names`, valid for 14 days from `now`, signed by its own key.
pub fn fallback(names: &[String], key: &PrivateKey, now: Timestamp) -> Result<Chain, Error> {
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, FALLBACK_NAME)?;
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
    builder.set_not_before(Asn1Time::from_unix(now.unix())?.as_ref())?;
    builder.set_not_after(Asn1Time::from_unix(now.plus(LIFETIME).unix())?.as_ref())?;
    let names = subject_alt_name(names, &builder.x509v3_context(None, None))?;
    for extension in [
        BasicConstraints::new().critical().build()?,
        names,
        KeyUsage::new().critical().digital_signature().build()?,
        ExtendedKeyUsage::new().server_auth().build()?,
    ] {
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
}
