// SPDX-License-Identifier: Apache-2.0
//! Certificate signing requests (RFC 2986) as RFC 8555 §7.4 requires them: every name in the subject
//! alternative names, signed with the key of the certificate.

use super::{Error, PrivateKey};
use openssl::asn1::{Asn1Object, Asn1OctetString};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::stack::Stack;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509Extension, X509Name, X509Req};
use std::net::IpAddr;

/// The upper bound of a common name (RFC 5280 appendix A.1, `ub-common-name`).
const MAX_CN: usize = 64;

/// A DER request for `names` in their order; IP literals become IP addresses (RFC 8738). The common name
/// is the first DNS name that fits, or none. `must_staple` asks for the TLS feature extension
/// `status_request` (RFC 7633).
pub fn build(key: &PrivateKey, names: &[String], must_staple: bool) -> Result<Vec<u8>, Error> {
    let mut request = X509Req::builder()?;
    request.set_version(0)?;
    request.set_pubkey(key.pkey())?;

    let mut subject = X509Name::builder()?;
    if let Some(name) = names.iter().find(|n| n.len() <= MAX_CN && n.parse::<IpAddr>().is_err()) {
        subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
    }
    request.set_subject_name(&subject.build())?;

    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        match name.parse::<IpAddr>() {
            Ok(_) => alternatives.ip(name),
            Err(_) => alternatives.dns(name),
        };
    }
    let mut extensions: Stack<X509Extension> = Stack::new()?;
    extensions.push(alternatives.build(&request.x509v3_context(None))?)?;
    if must_staple {
        extensions.push(tls_feature()?)?;
    }
    request.add_extensions(&extensions)?;
    request.sign(key.pkey(), MessageDigest::sha256())?;
    Ok(request.build().to_der()?)
}

fn tls_feature() -> Result<X509Extension, Error> {
    let oid = Asn1Object::from_str("1.3.6.1.5.5.7.1.24")?;
    // SEQUENCE of one INTEGER: status_request(5).
    let value = Asn1OctetString::new_from_bytes(&[0x30, 0x03, 0x02, 0x01, 0x05])?;
    Ok(X509Extension::new_from_der(&oid, false, &value)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeySpec;

    fn text(names: &[&str], must_staple: bool) -> String {
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let request = X509Req::from_der(&build(&key, &names, must_staple).unwrap()).unwrap();
        assert!(request.verify(key.pkey()).unwrap());
        // OpenSSL's versions differ in their blanks here.
        String::from_utf8(request.to_text().unwrap()).unwrap().replace("CN = ", "CN=")
    }

    #[test]
    fn names_stand_in_their_order_and_ip_literals_as_addresses() {
        let text = text(&["b.test", "*.a.test", "127.0.0.1", "::1"], false);
        assert!(
            text.contains("DNS:b.test, DNS:*.a.test, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"),
            "{text}"
        );
        assert!(text.contains("CN=b.test"), "{text}");
        assert!(!text.contains("TLS Feature"), "{text}");
    }

    #[test]
    fn the_common_name_is_the_first_dns_name_that_fits() {
        let long = format!("{}.{}.test", "a".repeat(40), "b".repeat(40));
        assert!(text(&[&long, "short.test"], false).contains("CN=short.test"));
        let none = text(&[&long, "127.0.0.1"], false);
        assert!(!none.contains("CN="), "{none}");
    }

    #[test]
    fn must_staple_is_asked_for_by_the_tls_feature_extension() {
        let text = text(&["a.test"], true);
        assert!(text.contains("status_request"), "{text}");
    }
}
