// SPDX-License-Identifier: Apache-2.0
//! Verifies the signer of a response (RFC 6960 §4.2.2.2): the issuer of the certificate, or a responder to
//! which the issuer gave a certificate for this purpose. The signature is verified over the bytes as
//! received.

use super::flaw::Flaw;
use super::request::key_hash;
use crate::crypto::Certificate;
use crate::time::Timestamp;
use openssl::asn1::Asn1Object;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::sign::Verifier;
use openssl::x509::X509Name;

/// A response carries the certificate of its signer, and rarely a chain to it.
const CERTS_MAX: usize = 10;

pub struct Signed<'a> {
    /// DER of the ResponseData.
    pub data: &'a [u8],
    /// An object identifier in numbers.
    pub algorithm: String,
    pub signature: &'a [u8],
    /// DER.
    pub certs: Vec<&'a [u8]>,
    pub responder: Responder<'a>,
}

/// The signer that the response names.
pub enum Responder<'a> {
    /// DER of the name.
    Name(&'a [u8]),
    /// SHA-1 of the public key.
    KeyHash(&'a [u8]),
}

pub fn check(signed: &Signed<'_>, issuer: &Certificate, now: Timestamp) -> Result<(), Flaw> {
    let result = find_signer(signed, issuer, now);
    // A failure leaves its reason in the thread's error queue, where other code would find it.
    drop(ErrorStack::get());
    result
}

fn find_signer(signed: &Signed<'_>, issuer: &Certificate, now: Timestamp) -> Result<(), Flaw> {
    let mut flaw = Flaw::Untrusted("the certificate of the signer is missing");
    if is_named(signed, issuer) {
        match verify(signed, issuer) {
            Ok(()) => return Ok(()),
            // A delegate may have the issuer's name; the loop below looks for it.
            Err(error) => flaw = error,
        }
    }
    for der in signed.certs.iter().take(CERTS_MAX) {
        let Ok(delegate) = Certificate::from_der(der.to_vec()) else { continue };
        if delegate.der() == issuer.der() || !is_named(signed, &delegate) {
            continue;
        }
        match check_authorized(&delegate, issuer, now).and_then(|()| verify(signed, &delegate)) {
            Ok(()) => return Ok(()),
            Err(error) => flaw = error,
        }
    }
    Err(flaw)
}

fn is_named(signed: &Signed<'_>, cert: &Certificate) -> bool {
    match signed.responder {
        Responder::KeyHash(hash) => key_hash(cert).is_some_and(|own| own == hash),
        Responder::Name(der) => {
            let same = || {
                let x509 = cert.x509()?;
                Ok::<_, ErrorStack>(X509Name::from_der(der)?.try_cmp(x509.subject_name())?.is_eq())
            };
            same().unwrap_or(false)
        }
    }
}

fn check_authorized(delegate: &Certificate, issuer: &Certificate, now: Timestamp) -> Result<(), Flaw> {
    if !delegate.was_issued_by(issuer) {
        return Err(Flaw::Untrusted("the issuer has not issued the certificate of the signer"));
    }
    if !delegate.may_sign_ocsp() {
        return Err(Flaw::Untrusted("the certificate of the signer is not for signing OCSP responses"));
    }
    if now < delegate.not_before() || delegate.not_after() <= now {
        return Err(Flaw::Untrusted("the certificate of the signer is not valid now"));
    }
    Ok(())
}

fn verify(signed: &Signed<'_>, signer: &Certificate) -> Result<(), Flaw> {
    let refused = || Flaw::Algorithm(signed.algorithm.clone());
    let nid = Asn1Object::from_str(&signed.algorithm).map_err(|_| refused())?.nid();
    let kinds = nid.signature_algorithms().ok_or_else(refused)?;
    let key = signer.x509().and_then(|x509| x509.public_key()).map_err(|_| Flaw::BadSignature)?;
    // OpenSSL's numbers of kinds of keys are those of their names.
    if key.id().as_raw() != kinds.pkey.as_raw() {
        return Err(Flaw::BadSignature);
    }
    let verifier = match kinds.digest {
        Nid::UNDEF => Verifier::new_without_digest(&key),
        Nid::SHA1 | Nid::SHA224 | Nid::SHA256 | Nid::SHA384 | Nid::SHA512 => {
            let digest = MessageDigest::from_nid(kinds.digest).ok_or_else(refused)?;
            Verifier::new(digest, &key)
        }
        _ => return Err(refused()),
    };
    let holds = verifier.and_then(|mut verifier| verifier.verify_oneshot(signed.signature, signed.data));
    if holds.unwrap_or(false) { Ok(()) } else { Err(Flaw::BadSignature) }
}
