// SPDX-License-Identifier: Apache-2.0
//! A responder for tests: a CA, a certificate it issued, and any response a test asks for.

use super::request::CertId;
use super::subject::{Subject, Terms};
use crate::crypto::fixture::{Ca, NOW, Wish as CertWish};
use crate::crypto::{Chain, PrivateKey};
use crate::model::KeySpec;
use crate::time::{TimeSlice, Timestamp};
use std::time::Duration;
pub use support::ocsp_response as wire;
use wire::{Say, Wish};

pub const HOUR: Duration = Duration::from_secs(3600);

pub struct Responder {
    pub ca: Ca,
    pub chain: Chain,
}

/// DER of the extension that says id-kp-OCSPSigning.
pub const OCSP_SIGNING: (&str, &[u8]) = ("2.5.29.37", &[0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 9]);

fn key() -> PrivateKey {
    PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap()
}

impl Default for Responder {
    fn default() -> Self {
        Responder::new()
    }
}

impl Responder {
    pub fn new() -> Self {
        let ca = Ca::new("Test CA");
        let access = access("http://o.test");
        let extensions = [("1.3.6.1.5.5.7.1.1", access.as_slice())];
        let wish = CertWish { names: &["a.test"], extensions: &extensions, ..CertWish::default() };
        let chain = ca.grant(&wish, &key());
        Responder { ca, chain }
    }

    /// A certificate that this CA issued with these extensions and dates, and its key.
    pub fn delegate(
        &self,
        extensions: &[(&str, &[u8])],
        from: Timestamp,
        until: Timestamp,
    ) -> (Chain, PrivateKey) {
        let key = key();
        let wish = CertWish { names: &["delegate"], serial: "07", from, until, extensions };
        (self.ca.grant(&wish, &key), key)
    }

    pub fn respond(&self, subject: &Subject, say: Say, from: Timestamp, until: Option<Timestamp>) -> Vec<u8> {
        self.respond_about(&subject.cert_id, say, from, until)
    }

    pub fn respond_about(&self, id: &CertId, say: Say, from: Timestamp, until: Option<Timestamp>) -> Vec<u8> {
        let (signer, key) = (self.ca.certificate().x509().unwrap(), self.ca.key().pkey());
        wire::build(&Wish {
            cert_id: &cert_id_der(id),
            say,
            from: date(from),
            until: until.map(date),
            signer: &signer,
            key,
            by_key: false,
            certs: &[],
        })
    }

    /// Good, for an hour before and after now, signed by this certificate, which comes along.
    pub fn respond_as(&self, subject: &Subject, signer: &Chain, key: &PrivateKey, by_key: bool) -> Vec<u8> {
        let signer = signer.leaf().x509().unwrap();
        wire::build(&Wish {
            cert_id: &cert_id_der(&subject.cert_id),
            say: Say::Good,
            from: date(NOW.minus(HOUR)),
            until: Some(date(NOW.plus(HOUR))),
            signer: &signer,
            key: key.pkey(),
            by_key,
            certs: std::slice::from_ref(&signer),
        })
    }
}

pub fn date(at: Timestamp) -> String {
    at.to_rfc3339().replace(['-', ':', 'T'], "")
}

/// Out of the request, four sequences deep.
pub fn cert_id_der(id: &CertId) -> Vec<u8> {
    let request = id.request();
    (0..4).fold(request.as_slice(), |der, _| wire::content(der).0).to_vec()
}

fn access(url: &str) -> Vec<u8> {
    let method = wire::element(6, &[0x2b, 6, 1, 5, 5, 7, 48, 1]);
    wire::element(0x30, &wire::element(0x30, &[method, wire::element(0x86, url.as_bytes())].concat()))
}

pub fn subject(responder: &Responder, url: &str) -> Subject {
    let terms = Terms { renew_window: TimeSlice::Percent(33), proxy_url: None, proxy_ca_file: None };
    let mut subject = Subject::new("a.test", &responder.chain, terms).unwrap();
    subject.responder = url.to_string();
    subject
}
