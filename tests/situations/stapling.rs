// SPDX-License-Identifier: Apache-2.0
//! OCSP responders, as stapling meets them.

use crate::lab::Lab;
use crate::lab::{NAME, logged};
use crate::table::{Situation, situation};
use doubles::clock::VirtualClock;
use mod_md::crypto::Chain;
use mod_md::http::{self, Request, Response, Transport};
use mod_md::notify::Commands;
use mod_md::ocsp::subject::Terms;
use mod_md::ocsp::{Cache, Entry, Subject};
use mod_md::stapling::driver::Context;
use mod_md::stapling::{Driver, Settings};
use mod_md::time::{Clock, DAY, StopFlag, SystemClock, TimeSlice, Timestamp};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use std::sync::Arc;
use std::time::Duration;
use support::certificate;
use support::ocsp_response::{self as wire, Say, Wish};

struct Responder {
    signer: (X509, PKey<Private>),
    /// `None`: nobody listens.
    say: Option<Say>,
    now: Timestamp,
}

impl Transport for Responder {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        let say = self.say.ok_or(http::Error::Refused)?;
        let (_, path) = request.url.rsplit_once('/').unwrap();
        let text = path.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let der = data_encoding::BASE64.decode(text.as_bytes()).unwrap();
        let date = |at: Timestamp| at.to_rfc3339().replace(['-', ':', 'T'], "");
        let body = wire::build(&Wish {
            cert_id: (0..4).fold(der.as_slice(), |der, _| wire::content(der).0),
            say,
            from: date(self.now),
            until: Some(date(self.now.plus(DAY * 8))),
            signer: &self.signer.0,
            key: &self.signer.1,
            by_key: true,
            certs: &[],
        });
        Ok(Response::new(200, Vec::new(), body))
    }
}

/// What is logged when the response for a certificate of the domain is asked for.
fn asked(lab: &Lab, say: Option<Say>) -> Vec<String> {
    // To the second, as dates in responses are.
    let now = Timestamp::from_unix(SystemClock::default().now().unix());
    let clock = Arc::new(VirtualClock::at(now));
    let (ca, key) = certificate::ca("Test CA");
    let leaf = certificate::leaf(NAME, &certificate::new_key(), (&ca, &key), "http://o.test/x");
    let chain = Chain::from_pem(&[leaf.to_pem().unwrap(), ca.to_pem().unwrap()].concat()).unwrap();
    let terms = Terms { renew_window: TimeSlice::Percent(33), proxy_url: None, proxy_ca_file: None };
    let subject = Arc::new(Subject::new(NAME, &chain, terms).unwrap());
    let responder = Arc::new(Responder { signer: (ca, key), say, now });
    let around = Context {
        store: lab.work(),
        cache: Arc::new(Cache::new([Entry { subject, response: None }])),
        clock: clock.clone(),
        connect: Box::new(move |_| Ok(responder.clone())),
        publish: Box::new(|_, _| {}),
        random: || 0.5,
        others: None,
    };
    let settings = Settings {
        parallel: 4,
        retry_delay: Duration::from_secs(30),
        started: now,
        commands: Commands::default(),
    };
    let mut driver = Driver::new(settings, around, StopFlag::default());
    logged(|| driver.run_due()).into_iter().map(|line| line.text).collect()
}

pub fn situations() -> Vec<Situation> {
    vec![
        situation(
            "responder out of reach",
            &["no new OCSP response", "connection refused", "next try in", "try 'curl http://o.test/x'"],
            |lab| asked(lab, None),
        ),
        situation("certificate revoked", &["AH10500", "was revoked by its CA at", "find out why"], |lab| {
            asked(lab, Some(Say::Revoked))
        }),
    ]
}
