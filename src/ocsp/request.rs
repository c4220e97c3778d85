// SPDX-License-Identifier: Apache-2.0
//! The question to a responder (RFC 6960 §4.1, RFC 5019 §2): one certificate, SHA-1, no nonce, no signature;
//! in the URL of a GET where that stays short enough for caches, else as a POST.

use crate::crypto::Certificate;
use crate::crypto::der::{BIT_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE};
use data_encoding::BASE64;
use openssl::sha::sha1;

/// id-sha1
const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 26];
const NULL: u8 = 0x05;
/// RFC 5019 §5: requests that are longer when encoded go by POST.
const GET_MAX: usize = 255;

/// How a responder names a certificate (RFC 6960 §4.1.1), always with SHA-1 (RFC 5019 §2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertId {
    issuer_name_hash: [u8; 20],
    issuer_key_hash: [u8; 20],
    /// The content of the INTEGER.
    serial: Vec<u8>,
}

impl CertId {
    /// `None` where the issuer's key is in no form that can be named.
    pub fn new(leaf: &Certificate, issuer: &Certificate) -> Option<Self> {
        let name = leaf.x509().and_then(|x509| x509.issuer_name().to_der()).ok()?;
        Some(CertId {
            issuer_name_hash: sha1(&name),
            issuer_key_hash: key_hash(issuer)?,
            serial: leaf.serial().to_vec(),
        })
    }

    /// Whether this is the CertID of a response.
    pub fn is(&self, mut cert_id: Reader<'_>) -> bool {
        let read = || {
            let algorithm = cert_id.enter(SEQUENCE)?.take(OBJECT_IDENTIFIER)?;
            let (name, key) = (cert_id.take(OCTET_STRING)?, cert_id.take(OCTET_STRING)?);
            let serial = cert_id.take(INTEGER)?;
            cert_id.is_at_end().then_some((algorithm, name, key, serial))
        };
        let mut read = read;
        read() == Some((SHA1, &self.issuer_name_hash, &self.issuer_key_hash, &self.serial))
    }

    fn to_der(&self) -> Vec<u8> {
        let algorithm = element(SEQUENCE, &[element(OBJECT_IDENTIFIER, SHA1), element(NULL, &[])].concat());
        let fields = [
            algorithm,
            element(OCTET_STRING, &self.issuer_name_hash),
            element(OCTET_STRING, &self.issuer_key_hash),
            element(INTEGER, &self.serial),
        ];
        element(SEQUENCE, &fields.concat())
    }

    /// An OCSPRequest for this certificate.
    pub fn request(&self) -> Vec<u8> {
        // OCSPRequest, TBSRequest, requestList, Request
        (0..4).fold(self.to_der(), |inner, _| element(SEQUENCE, &inner))
    }
}

/// The SHA-1 of a certificate's public key, without its algorithm.
pub fn key_hash(cert: &Certificate) -> Option<[u8; 20]> {
    let mut info = Reader::new(cert.public_key()).only(SEQUENCE)?;
    info.take(SEQUENCE)?;
    let (_unused_bits, key) = info.take(BIT_STRING)?.split_first()?;
    Some(sha1(key))
}

/// How a request is sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Form {
    /// To this URL.
    Get(String),
    /// To the responder's URL, with the request as body.
    Post,
}

/// RFC 6960 §A.1, with base64 escaped as an URL wants it.
pub fn form(responder: &str, request: &[u8]) -> Form {
    let mut path = String::new();
    for c in BASE64.encode(request).chars() {
        match c {
            '+' => path.push_str("%2B"),
            '/' => path.push_str("%2F"),
            '=' => path.push_str("%3D"),
            other => path.push(other),
        }
    }
    // A responder whose URL has a query has no room for a path behind it.
    if path.len() > GET_MAX || responder.contains(['?', '#']) {
        return Form::Post;
    }
    Form::Get(format!("{}/{path}", responder.trim_end_matches('/')))
}

/// DER (X.690 §8.1) of one element, the shortest form of its length.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length @ 0..=0x7f) => out.push(length),
        _ => {
            let bytes = content.len().to_be_bytes();
            let significant = bytes.iter().skip_while(|b| **b == 0).copied().collect::<Vec<_>>();
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(0x7f));
            out.extend(significant);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Responder, subject};
    use super::*;
    use openssl::hash::MessageDigest;
    use openssl::ocsp::{OcspCertId, OcspRequest};

    #[test]
    fn a_request_is_the_one_openssl_makes() {
        let responder = Responder::new();
        let subject = subject(&responder, "http://o.test");
        let (leaf, issuer) = (responder.chain.leaf().x509().unwrap(), subject.issuer.x509().unwrap());
        let mut request = OcspRequest::new().unwrap();
        let id = OcspCertId::from_cert(MessageDigest::sha1(), &leaf, &issuer).unwrap();
        request.add_id(id).unwrap();
        assert_eq!(subject.cert_id.request(), request.to_der().unwrap());
    }

    #[test]
    fn short_requests_go_by_get_and_long_ones_by_post() {
        let url = |responder: &str, request: &[u8]| form(responder, request);
        let get = |text: &str| Form::Get(text.to_string());
        assert_eq!(url("http://o.test/", &[0xfb, 0xff, 0x3e, 1]), get("http://o.test/%2B%2F8%2BAQ%3D%3D"));
        assert_eq!(url("http://o.test/a", b"abc"), get("http://o.test/a/YWJj"));
        assert_eq!(url("http://o.test/?a=b", b"abc"), Form::Post);
        assert!(matches!(url("http://o.test", &[0; 189]), Form::Get(_)));
        assert_eq!(url("http://o.test", &[0; 192]), Form::Post);
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        for (length, head) in
            [(5, vec![4, 5]), (0x7f, vec![4, 0x7f]), (0x80, vec![4, 0x81, 0x80]), (300, vec![4, 0x82, 1, 44])]
        {
            assert_eq!(element(OCTET_STRING, &vec![0; length])[..head.len()], head);
        }
    }
}
