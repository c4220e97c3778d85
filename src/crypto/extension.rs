// SPDX-License-Identifier: Apache-2.0
//! The extensions of a certificate (RFC 5280 §4.2): names, the URLs of its issuer and OCSP responder,
//! must-staple (RFC 7633), certificate transparency (RFC 6962 §3.3). An extension that cannot be read counts
//! as absent.

use super::der::{INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE};
use crate::time::Timestamp;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use std::net::IpAddr;

const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
const AD_OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1];
const AD_CA_ISSUERS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 2];
const TLS_FEATURE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 24];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
const SCT_LIST: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const KP_OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
/// The TLS extension `status_request`, as a TLS feature: the certificate must be stapled.
const STATUS_REQUEST: &[u8] = &[5];
// Context tags of GeneralName.
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;

/// A signed certificate timestamp (RFC 6962 §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sct {
    /// 0 is v1.
    pub version: u8,
    pub log_id: Vec<u8>,
    pub signed: Timestamp,
    pub signature: Vec<u8>,
    /// OpenSSL's short name, as `ecdsa-with-SHA256`.
    pub signature_type: &'static str,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// DNS names (lower-cased) and addresses of the subject.
    pub names: Vec<String>,
    pub must_staple: bool,
    /// id-kp-OCSPSigning is among the extended key usages.
    pub may_sign_ocsp: bool,
    pub authority_key_id: Option<Vec<u8>>,
    pub issuer_uri: Option<String>,
    pub ocsp_responders: Vec<String>,
    pub scts: Vec<Sct>,
}

impl Extensions {
    /// Reads the `Extensions` of a TBSCertificate, given without their outer sequence header.
    pub fn read(mut list: Reader<'_>) -> Self {
        let mut found = Extensions::default();
        while let Some(mut extension) = list.enter(SEQUENCE) {
            let Some(oid) = extension.take(OBJECT_IDENTIFIER) else { continue };
            let value = match extension.element() {
                Some((OCTET_STRING, value)) => Some(value),
                // `critical` comes before the value.
                Some(_) => extension.take(OCTET_STRING),
                None => None,
            };
            if let Some(value) = value {
                found.add(oid, Reader::new(value));
            }
        }
        found
    }

    fn add(&mut self, oid: &[u8], mut value: Reader<'_>) -> Option<()> {
        match oid {
            SUBJECT_ALT_NAME => self.names = subject_names(value.enter(SEQUENCE)?),
            TLS_FEATURE => {
                let mut features = value.enter(SEQUENCE)?;
                while let Some(feature) = features.take(INTEGER) {
                    self.must_staple |= feature == STATUS_REQUEST;
                }
            }
            EXTENDED_KEY_USAGE => {
                let mut usages = value.enter(SEQUENCE)?;
                while let Some(usage) = usages.take(OBJECT_IDENTIFIER) {
                    self.may_sign_ocsp |= usage == KP_OCSP_SIGNING;
                }
            }
            AUTHORITY_KEY_IDENTIFIER => {
                self.authority_key_id = value.enter(SEQUENCE)?.take(0x80).map(<[u8]>::to_vec);
            }
            AUTHORITY_INFO_ACCESS => {
                let mut list = value.enter(SEQUENCE)?;
                while let Some(mut access) = list.enter(SEQUENCE) {
                    let method = access.take(OBJECT_IDENTIFIER);
                    let uri = access.take(URI).and_then(text);
                    match (method, uri) {
                        (Some(AD_OCSP), Some(uri)) => self.ocsp_responders.push(uri),
                        (Some(AD_CA_ISSUERS), Some(uri)) => {
                            self.issuer_uri = self.issuer_uri.take().or(Some(uri))
                        }
                        _ => {}
                    }
                }
            }
            SCT_LIST => self.scts = scts(value.take(OCTET_STRING)?),
            _ => {}
        }
        Some(())
    }
}

fn subject_names(mut names: Reader<'_>) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((tag, content)) = names.element() {
        let name = match tag {
            DNS_NAME => text(content).map(|n| n.to_ascii_lowercase()),
            IP_ADDRESS => address(content).map(|a| a.to_string()),
            _ => None,
        };
        found.extend(name);
    }
    found
}

/// Visible ASCII, as every URI and DNS name is.
fn text(content: &[u8]) -> Option<String> {
    let visible = content.iter().all(u8::is_ascii_graphic) && !content.is_empty();
    visible.then(|| String::from_utf8_lossy(content).into_owned())
}

fn address(content: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(content)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(content).map(IpAddr::from))
        .ok()
}

/// A SignedCertificateTimestampList in the encoding of TLS (RFC 6962 §3.3), up to the first malformed entry.
fn scts(list: &[u8]) -> Vec<Sct> {
    let mut found = Vec::new();
    let Some((mut rest, _)) = prefixed(list) else { return found };
    while let Some((entry, after)) = prefixed(rest) {
        let Some(sct) = sct(entry) else { break };
        found.push(sct);
        rest = after;
    }
    found
}

fn sct(entry: &[u8]) -> Option<Sct> {
    let (&version, rest) = entry.split_first()?;
    let (log_id, rest) = rest.split_at_checked(32)?;
    let (signed, rest) = rest.split_first_chunk::<8>()?;
    let (_extensions, rest) = prefixed(rest)?;
    let ([hash, algorithm], rest) = rest.split_first_chunk::<2>()?;
    let (signature, _) = prefixed(rest)?;
    Some(Sct {
        version,
        log_id: log_id.to_vec(),
        signed: Timestamp::from_unix_millis(i64::from_be_bytes(*signed)),
        signature: signature.to_vec(),
        // RFC 6962 §2.1.4 allows these two, with SHA-256 (RFC 5246 §7.4.1.4.1).
        signature_type: match (hash, algorithm) {
            (4, 3) => "ecdsa-with-SHA256",
            (4, 1) => "RSA-SHA256",
            _ => "UNDEF",
        },
    })
}

/// Bytes behind a 16-bit length, and the rest.
fn prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

impl Sct {
    pub fn to_json(&self) -> Value {
        json!({
            "signed": self.signed.to_http_date(),
            "version": self.version,
            "logid": HEXLOWER.encode(&self.log_id),
            "signature": HEXLOWER.encode(&self.signature),
            "signature-type": self.signature_type,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut sct = vec![0];
        sct.extend([7; 32]);
        sct.extend(1_567_094_795_123_u64.to_be_bytes());
        sct.extend([0, 0, 4, 3, 0, 2, 0xab, 0xcd]);
        let entry = [(sct.len() as u16).to_be_bytes().to_vec(), sct].concat();
        [(entry.len() as u16 * 2).to_be_bytes().to_vec(), entry.clone(), entry].concat()
    }

    #[test]
    fn every_timestamp_of_an_sct_list_is_read() {
        let found = scts(&sample());
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[1].to_json(),
            json!({"signed": "Thu, 29 Aug 2019 16:06:35 GMT", "version": 0, "logid": "07".repeat(32),
                   "signature": "abcd", "signature-type": "ecdsa-with-SHA256"})
        );
    }

    #[test]
    fn a_list_cut_short_anywhere_is_read_without_harm() {
        let list = sample();
        for end in 0..list.len() {
            assert!(scts(&list[..end]).len() < 2);
        }
    }

    #[test]
    fn names_with_hidden_characters_are_left_out() {
        let list = [0x82, 3, b'a', 0, b'b', 0x82, 1, b'C', 0x87, 4, 127, 0, 0, 1, 0x87, 3, 1, 2, 3];
        assert_eq!(subject_names(Reader::new(&list)), ["c", "127.0.0.1"]);
    }
}
