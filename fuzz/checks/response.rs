// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever bytes come as an OCSP response: nothing panics, and what is taken was signed
//! for this certificate by its issuer or a delegate. The seeds are all that was ever signed; OpenSSL has to
//! agree.

use mod_md::crypto::Chain;
use mod_md::ocsp::subject::Terms;
use mod_md::ocsp::{Flaw, Response, Status, Subject, response};
use mod_md::time::{TimeSlice, Timestamp};
use openssl::hash::MessageDigest;
use openssl::ocsp::{OcspCertId, OcspCertStatus, OcspFlag, OcspResponse};
use openssl::stack::Stack;
use openssl::x509::X509;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyParam;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The instant at which all of it takes place.
pub const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

pub struct Judge {
    pub subject: Subject,
    /// A good response, in use.
    pub current: Response,
    leaf: X509,
    issuer: X509,
    trusted: X509Store,
    /// The ResponseData of each seed that is taken.
    signed: HashSet<Vec<u8>>,
}

impl Judge {
    /// `seeds`: the folder with the certificate (`chain.pem`) and responses about it (`ocsp_response/`).
    pub fn new(seeds: &Path) -> Judge {
        let pem = fs::read(seeds.join("chain.pem")).unwrap();
        let chain = Chain::from_pem(&pem).unwrap();
        let terms = Terms { renew_window: TimeSlice::Percent(33), proxy_url: None, proxy_ca_file: None };
        let subject = Subject::new("a.test", &chain, terms).unwrap();
        let responses = fs::read_dir(seeds.join("ocsp_response")).unwrap();
        let responses: Vec<_> = responses.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
        let taken = responses.iter().filter(|der| response::verify(der, &subject, NOW).is_ok());
        let signed = taken.map(|der| signed(der).to_vec()).collect();
        let good = fs::read(seeds.join("ocsp_response/good")).unwrap();
        let current = response::verify(&good, &subject, NOW).unwrap();
        let (leaf, issuer) =
            (chain.leaf().x509().unwrap(), chain.certificates().last().unwrap().x509().unwrap());
        let mut at = X509VerifyParam::new().unwrap();
        at.set_time(NOW.unix());
        let mut trusted = X509StoreBuilder::new().unwrap();
        trusted.set_param(&at).unwrap();
        trusted.add_cert(issuer.clone()).unwrap();
        Judge { subject, current, leaf, issuer, trusted: trusted.build(), signed }
    }

    /// What is said of these bytes. Panics where that must not be said.
    pub fn check(&self, der: &[u8]) -> Result<Response, Flaw> {
        let response = response::verify(der, &self.subject, NOW)?;
        assert!(response.der == der, "something else would be stapled");
        assert!(self.signed.contains(signed(der)), "nobody has signed this");
        assert!(shortest(der) == der, "strict clients cannot read it");
        self.ask_openssl(&response);
        for current in [None, Some(&self.current)] {
            if response::accept(&response, current, NOW).is_ok() {
                assert!(response.is_current(NOW) && response.status != Status::Unknown);
                assert!(response.from <= NOW.plus(Duration::from_secs(300)));
                assert!(current.is_none_or(|current| current.from <= response.from));
            }
        }
        Ok(response)
    }

    /// Clients are to take what we take.
    fn ask_openssl(&self, response: &Response) {
        let basic = OcspResponse::from_der(&response.der).unwrap().basic().unwrap();
        let mut certs = Stack::new().unwrap();
        certs.push(self.issuer.clone()).unwrap();
        basic.verify(&certs, &self.trusted, OcspFlag::empty()).unwrap();
        let id = OcspCertId::from_cert(MessageDigest::sha1(), &self.leaf, &self.issuer).unwrap();
        let status = match basic.find_status(&id).unwrap().status {
            OcspCertStatus::GOOD => "good",
            OcspCertStatus::REVOKED => "revoked",
            _ => "unknown",
        };
        assert_eq!(status, response.status.word());
    }
}

/// The ResponseData of a response that was taken and so is whole: OCSPResponse, \[0\], ResponseBytes, OCTET
/// STRING, BasicOCSPResponse.
fn signed(der: &[u8]) -> &[u8] {
    let (response, _) = content(der);
    let (bytes, _) = content(content(response).1);
    let (bytes, _) = content(bytes);
    let (basic, _) = content(content(content(bytes).1).0);
    &basic[..basic.len() - content(basic).1.len()]
}

/// The same elements, with lengths as short as they can be.
fn shortest(mut der: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [tag, ..] = der {
        let (inner, rest) = content(der);
        let inner = if tag & 0x20 == 0 { inner.to_vec() } else { shortest(inner) };
        out.push(*tag);
        match u16::try_from(inner.len()).unwrap().to_be_bytes() {
            [0, length @ 0..=0x7f] => out.push(length),
            [0, length] => out.extend([0x81, length]),
            [high, low] => out.extend([0x82, high, low]),
        }
        out.extend(inner);
        der = rest;
    }
    out
}

/// The content of the first element, and what follows it.
fn content(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, at) = match der[1] {
        short @ 0..=0x7f => (usize::from(short), 2),
        long => {
            let at = 2 + usize::from(long & 0x7f);
            (der[2..at].iter().fold(0, |n, b| n << 8 | usize::from(*b)), at)
        }
    };
    der[at..].split_at(length)
}
