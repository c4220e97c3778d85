// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever bytes come as a certificate in DER: nothing panics, loops or grows, OpenSSL
//! reads the same serial number, dates and key where it reads one, and no text breaks a line.

use super::plain::assert_line;
use mod_md::crypto::der::{Reader, oid_text};
use mod_md::crypto::extension::Extensions;
use mod_md::crypto::{CertInfo, Certificate, Chain, PrivateKey};
use mod_md::model::KeySpec;
use openssl::asn1::Asn1Time;
use openssl::x509::X509;
use std::cmp::Ordering;
use std::sync::LazyLock;

static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap());

pub fn check(bytes: &[u8]) {
    reader(bytes);
    let Ok(cert) = Certificate::from_der(bytes.to_vec()) else { return };
    assert_eq!(cert.der(), bytes);
    texts(&cert);
    if let Ok(theirs) = cert.x509() {
        agree(&cert, &theirs);
    }
    let chain = Chain::new(vec![cert.clone()]).unwrap();
    let again = Chain::from_pem(&cert.to_pem()).unwrap();
    assert_eq!(again.leaf().der(), bytes);
    let info = CertInfo::from_chain(&chain);
    assert_eq!(CertInfo::from_chain(&again), info);
    assert!(info.to_json().to_string().len() <= 64 * bytes.len() + 4096);
    assert!(!cert.matches_key(&KEY) && !cert.matches_key_file(&KEY.to_pem().unwrap()));
    let _ = (cert.was_issued_by(&cert), cert.key_spec(), cert.may_sign_ocsp(), chain.has_common_keys());
    let twice = Chain::new(vec![cert.clone(), cert]).unwrap();
    assert!(twice.into_path(&KEY).is_none(), "nobody has a certificate for this key");
}

/// Whatever the bytes are, their elements are parts of them.
fn reader(bytes: &[u8]) {
    let all = Reader::new(bytes);
    if all.is_shortest() {
        let (mut rest, mut total) = (all, 0);
        while let Some((_, content)) = rest.element() {
            total += content.len() + 2;
        }
        assert!(rest.is_at_end() && total <= bytes.len());
    }
    if let Some(text) = oid_text(bytes) {
        assert!(text.bytes().all(|b| b.is_ascii_digit() || b == b'.'), "{text:?}");
    }
    let found = Extensions::read(all);
    assert!(found.names.len() + found.scts.len() + found.ocsp_responders.len() <= bytes.len());
}

fn texts(cert: &Certificate) {
    let names = cert.dns_names();
    if cert.has_alternative_names() {
        assert!(
            names.iter().all(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())),
            "{names:?}"
        );
    }
    assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()), "{names:?}");
    assert_line(&cert.issuer_name());
    assert_line(&cert.subject_name());
    cert.issuer_uri().into_iter().for_each(assert_line);
    cert.ocsp_responders().iter().for_each(|uri| assert_line(uri));
    if let Some(id) = cert.ari_cert_id() {
        let is_url_safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        assert!(id.bytes().all(is_url_safe) && id.matches('.').count() == 1, "{id:?}");
    }
    assert!(cert.serial_hex().bytes().all(|b| b.is_ascii_hexdigit()));
}

/// Two readers of one certificate must not see two: the other one decides what clients take.
fn agree(cert: &Certificate, theirs: &X509) {
    let serial = theirs.serial_number().to_bn().unwrap();
    if !serial.is_negative() {
        let zeros = cert.serial().iter().take_while(|byte| **byte == 0).count();
        assert_eq!(cert.serial()[zeros..], serial.to_vec());
    }
    for (ours, theirs) in [(cert.not_before(), theirs.not_before()), (cert.not_after(), theirs.not_after())] {
        let ours = Asn1Time::from_unix(ours.unix()).unwrap();
        // OpenSSL knows no leap seconds, and does not compare what it does not know.
        assert!(
            theirs.compare(&ours).is_ok_and(|order| order == Ordering::Equal) || !is_plain(theirs),
            "{theirs}"
        );
    }
    if let Ok(public) = theirs.public_key()
        && let Ok(ours) = openssl::pkey::PKey::public_key_from_der(cert.public_key())
    {
        assert!(public.public_eq(&ours));
    }
}

/// Whether OpenSSL can read this date itself.
fn is_plain(time: &openssl::asn1::Asn1TimeRef) -> bool {
    time.compare(time).is_ok()
}
