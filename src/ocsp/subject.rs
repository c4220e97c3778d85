// SPDX-License-Identifier: Apache-2.0
//! A certificate to staple, with all that a request for its status needs. Refuses a certificate without a
//! responder URL, and one whose issuer is not in its chain.

use super::request::CertId;
use crate::crypto::{Certificate, Chain, Error};
use crate::sync::Shared;
use crate::time::{TimeSlice, Timestamp};
use data_encoding::HEXLOWER;
use openssl::sha::{sha1, sha256};
use std::sync::Arc;

/// The SHA-1 of the certificate's DER: its name in mod_ssl's hooks and in the name of its file.
pub type Id = [u8; 20];

/// An id in hex, as [`Subject::id_hex`] writes it.
pub fn id_of_hex(hex: &str) -> Option<Id> {
    HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}

pub struct Subject {
    pub id: Id,
    /// The folder in the store: an MD's name, or [`OTHER`].
    pub owner: String,
    pub cert_id: CertId,
    /// Whose signature counts.
    pub issuer: Arc<Certificate>,
    /// URL.
    pub responder: String,
    pub serial_hex: String,
    pub not_after: Timestamp,
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint: String,
    pub terms: Terms,
}

/// The configuration of stapling for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The part of a response's validity in which a new one is asked for.
    pub renew_window: TimeSlice,
    /// `MDHttpProxy`, and the file of CAs that certify it.
    pub proxy_url: Option<String>,
    pub proxy_ca_file: Option<String>,
}

/// The owner of certificates that belong to no MD.
pub const OTHER: &str = "other";

/// Why a certificate cannot be stapled.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("certificate with serial {0} has no OCSP responder URL")]
    NoResponder(String),
    #[error("the issuer of the certificate with serial {0} is not in its chain")]
    NoIssuer(String),
    #[error("{0}")]
    Unusable(#[from] Error),
}

/// The issuers of all certificates that are stapled.
#[derive(Default)]
pub struct Issuers(Shared<Certificate>);

impl Issuers {
    /// `subject` with the issuer that others of the same issuer have.
    #[must_use]
    pub fn share(&self, subject: Subject) -> Subject {
        let issuer = self.0.share(sha256(subject.issuer.der()).to_vec(), subject.issuer.clone());
        Subject { issuer, ..subject }
    }
}

impl Subject {
    pub fn new(owner: &str, chain: &Chain, terms: Terms) -> Result<Self, Unfit> {
        let leaf = chain.leaf();
        let is_http = |url: &&String| url.starts_with("http://") || url.starts_with("https://");
        let Some(responder) = leaf.ocsp_responders().iter().find(is_http).cloned() else {
            return Err(Unfit::NoResponder(leaf.serial_hex()));
        };
        let issuer = chain.certificates().iter().skip(1).find(|issuer| leaf.was_issued_by(issuer));
        let Some(issuer) = issuer.cloned() else { return Err(Unfit::NoIssuer(leaf.serial_hex())) };
        Ok(Subject {
            id: sha1(leaf.der()),
            owner: owner.to_string(),
            cert_id: CertId::new(leaf, &issuer).ok_or_else(|| Unfit::NoIssuer(leaf.serial_hex()))?,
            issuer: Arc::new(issuer),
            responder,
            serial_hex: leaf.serial_hex(),
            not_after: leaf.not_after(),
            fingerprint: leaf.sha256_fingerprint(),
            terms,
        })
    }

    pub fn id_hex(&self) -> String {
        HEXLOWER.encode(&self.id)
    }

    /// Host and port of the responder: the number of connections is limited for each.
    pub fn responder_host(&self) -> &str {
        let after = self.responder.split_once("://").map_or(self.responder.as_str(), |(_, rest)| rest);
        after.split(['/', '?', '#']).next().unwrap_or(after)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Responder, subject};
    use super::*;

    #[test]
    fn certificates_of_one_issuer_share_it() {
        let issuers = Issuers::default();
        let (responder, other) = (Responder::new(), Responder::new());
        let of = |responder| issuers.share(subject(responder, "http://r.test/")).issuer;
        let [one, two, another] = [of(&responder), of(&responder), of(&other)];
        assert!(Arc::ptr_eq(&one, &two) && one.der() == responder.chain.certificates()[1].der());
        assert!(!Arc::ptr_eq(&one, &another));
    }
}
