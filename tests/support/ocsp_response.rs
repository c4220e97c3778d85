// SPDX-License-Identifier: Apache-2.0
//! OCSP responses (RFC 6960 §4.2), valid and malformed. OpenSSL has no API to make them.

use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::sha::sha1;
use openssl::sign::Signer;
use openssl::x509::X509;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Say {
    Good,
    Revoked,
    Unknown,
}

pub struct Wish<'a> {
    /// DER of the CertID to answer for.
    pub cert_id: &'a [u8],
    pub say: Say,
    /// Dates as `20260102030405Z`.
    pub from: String,
    pub until: Option<String>,
    pub signer: &'a X509,
    pub key: &'a PKey<Private>,
    /// The signer names itself by its key instead of its name.
    pub by_key: bool,
    pub certs: &'a [X509],
}

fn date(text: &str) -> Vec<u8> {
    element(0x18, text.as_bytes())
}

/// A successful OCSPResponse.
pub fn build(wish: &Wish<'_>) -> Vec<u8> {
    build_with(&single(wish), &[], wish)
}

/// The SingleResponse.
pub fn single(wish: &Wish<'_>) -> Vec<u8> {
    let status = match wish.say {
        Say::Good => element(0x80, &[]),
        Say::Revoked => element(0xa1, &date(&wish.from)),
        Say::Unknown => element(0x82, &[]),
    };
    let until = wish.until.as_ref().map(|until| element(0xa0, &date(until))).unwrap_or_default();
    element(0x30, &[wish.cert_id.to_vec(), status, date(&wish.from), until].concat())
}

/// With these SingleResponses, and this behind them in the ResponseData.
pub fn build_with(singles: &[u8], extensions: &[u8], wish: &Wish<'_>) -> Vec<u8> {
    let certs: Vec<u8> = wish.certs.iter().flat_map(|cert| cert.to_der().unwrap()).collect();
    sign(singles, extensions, &certs, wish)
}

/// With these bytes where certificates belong.
pub fn with_certs(wish: &Wish<'_>, certs: &[u8]) -> Vec<u8> {
    sign(&single(wish), &[], certs, wish)
}

fn sign(singles: &[u8], extensions: &[u8], certs: &[u8], wish: &Wish<'_>) -> Vec<u8> {
    let responder = if wish.by_key {
        element(0xa2, &element(0x04, &key_hash(wish.signer)))
    } else {
        element(0xa1, &wish.signer.subject_name().to_der().unwrap())
    };
    let fields = [responder, date(&wish.from), element(0x30, singles), extensions.to_vec()];
    let data = element(0x30, &fields.concat());
    let mut signer = Signer::new(MessageDigest::sha256(), wish.key).unwrap();
    let signature = [vec![0], signer.sign_oneshot_to_vec(&data).unwrap()].concat();
    let mut fields = [data, algorithm(wish.key), element(0x03, &signature)].concat();
    if !certs.is_empty() {
        fields.extend(element(0xa0, &element(0x30, certs)));
    }
    let basic = element(0x30, &fields);
    let kind = element(0x06, &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1]);
    let bytes = element(0x30, &[kind, element(0x04, &basic)].concat());
    element(0x30, &[element(0x0a, &[0]), element(0xa0, &bytes)].concat())
}

/// An OCSPResponse that is only an error: 3 is tryLater.
pub fn error(code: u8) -> Vec<u8> {
    element(0x30, &element(0x0a, &[code]))
}

fn algorithm(key: &PKey<Private>) -> Vec<u8> {
    match key.id() {
        // ecdsa-with-SHA256
        Id::EC => element(0x30, &element(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])),
        // sha256WithRSAEncryption
        _ => {
            let oid = element(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]);
            element(0x30, &[oid, element(0x05, &[])].concat())
        }
    }
}

pub fn key_hash(cert: &X509) -> [u8; 20] {
    let info = cert.public_key().unwrap().public_key_to_der().unwrap();
    // SubjectPublicKeyInfo, AlgorithmIdentifier, BIT STRING with no unused bits
    let (info, _) = content(&info);
    let (_, rest) = content(info);
    sha1(&content(rest).0[1..])
}

/// The content of the first element, and what follows it.
pub fn content(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, at) = match der[1] {
        short @ 0..=0x7f => (usize::from(short), 2),
        long => {
            let count = usize::from(long & 0x7f);
            (der[2..2 + count].iter().fold(0, |n, b| n << 8 | usize::from(*b)), 2 + count)
        }
    };
    (&der[at..at + length], &der[at + length..])
}

pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}
