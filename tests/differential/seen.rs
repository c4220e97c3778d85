// SPDX-License-Identifier: Apache-2.0
//! A client's view of a host: certificates for each kind of key, and answers.

use std::fmt;
use std::path::Path;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::pkey::Id;
use openssl::x509::X509;

use support::http::{self, Response};
use support::tls::{self, EC_ONLY, RSA_ONLY, Served};

/// One certificate, as far as it matters to a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    pub serial: String,
    pub issuer: String,
    pub names: Vec<String>,
    /// `RSA` or `EC`.
    pub key: &'static str,
    /// Made by the module because there is nothing else.
    pub is_fallback: bool,
    /// Good for the name that was asked for.
    pub covers: bool,
    pub in_time: bool,
    /// The chain leads to a root that the client knows.
    pub verified: bool,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// One host asked by one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub name: String,
    /// What a client gets that takes any key; `None`: the handshake failed.
    pub any: Option<Certificate>,
    pub rsa: Option<Certificate>,
    pub ec: Option<Certificate>,
    /// Status of a page over TLS; 0 where no answer came.
    pub https: u16,
    /// The same without TLS.
    pub http: u16,
}

/// A file that hosts of a test have below `/.well-known/acme-challenge/`, put there as certbot would.
pub const WEB_ROOT_TOKEN: &str = "put-there-by-another-client";

impl Seen {
    pub fn ask(ports: (u16, u16), name: &str, roots: &Path) -> Seen {
        let (http, https) = ports;
        let served = |options: &[&str]| certificate(&tls::served(https, name, Some(roots), options), name);
        Seen {
            name: name.to_string(),
            any: served(&[]),
            rsa: served(RSA_ONLY),
            ec: served(EC_ONLY),
            https: http::https_get(https, name, "/index.html").map_or(0, |answer| answer.status),
            http: http::get(http, name, "/index.html").map_or(0, |answer| answer.status),
        }
    }
}

/// The answer to a challenge for a file of the web root.
pub fn challenge(http: u16, name: &str) -> String {
    let path = format!("/.well-known/acme-challenge/{WEB_ROOT_TOKEN}");
    http::get(http, name, &path).map_or_else(|_| "no answer".into(), |answer| told(&answer))
}

/// Where a page without TLS leads to, and what a page with TLS says of later visits.
pub fn redirect(ports: (u16, u16), name: &str) -> String {
    let plain = http::get(ports.0, name, "/a/page?with=query");
    let plain = plain.map_or_else(|_| "no answer".into(), |answer| told(&answer));
    let secure = http::https_get(ports.1, name, "/index.html").ok();
    let promise = secure.and_then(|answer| answer.header("strict-transport-security").map(str::to_string));
    promise.map_or(plain.clone(), |promise| format!("{plain}, {promise}"))
}

fn told(answer: &Response) -> String {
    match (answer.header("location"), answer.status) {
        (Some(location), status) => format!("{status} to {location}"),
        (None, 200) => format!("200 {}", answer.body.trim()),
        (None, status) => status.to_string(),
    }
}

fn certificate(served: &Served, name: &str) -> Option<Certificate> {
    let leaf = served.chain.first()?;
    let names = served.names();
    Some(Certificate {
        serial: served.serial(),
        issuer: served.issuer(),
        key: if served.key() == Id::RSA { "RSA" } else { "EC" },
        is_fallback: served.issuer() == mod_md_fallback(),
        covers: names.iter().any(|known| covers(known, name)),
        in_time: is_in_time(leaf),
        verified: leads_to_a_root(served),
        not_after: unix(leaf.not_after()),
        names,
    })
}

/// Whatever else there is to say of the leaf: 9 and 10 are its time, 62 its names.
fn leads_to_a_root(served: &Served) -> bool {
    let code = served.verdict.split(' ').next();
    code.is_some_and(|code| ["0", "9", "10", "62"].contains(&code))
}

/// Both modules write this name into certificates of their own.
fn mod_md_fallback() -> &'static str {
    "Apache Managed Domain Fallback"
}

/// RFC 9525 §6.3: a wildcard stands for one label.
pub fn covers(known: &str, name: &str) -> bool {
    let (known, name) = (known.to_ascii_lowercase(), name.to_ascii_lowercase());
    let parent = name.split_once('.').map(|(_, parent)| parent);
    known == name || known.strip_prefix("*.").is_some_and(|suffix| Some(suffix) == parent)
}

fn is_in_time(leaf: &X509) -> bool {
    let now = Asn1Time::days_from_now(0).unwrap();
    leaf.not_before() <= now && leaf.not_after() > now
}

fn unix(time: &Asn1TimeRef) -> i64 {
    let past = Asn1Time::from_unix(0).unwrap().diff(time).unwrap();
    i64::from(past.days) * 86_400 + i64::from(past.secs)
}

impl fmt::Display for Certificate {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        if self.is_fallback {
            return write!(out, "the self-signed {}", self.key);
        }
        write!(out, "{} of `{}` for {}", self.key, self.issuer, self.names.join(" "))?;
        let flaws =
            [(self.covers, "another name"), (self.in_time, "out of time"), (self.verified, "unverified")];
        flaws.iter().filter(|(good, _)| !good).try_for_each(|(_, flaw)| write!(out, ", {flaw}"))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let Seen { name, any, rsa, ec, https, http } = self;
        let told = |certificate: &Option<Certificate>| {
            certificate.as_ref().map_or_else(|| "nothing".to_string(), ToString::to_string)
        };
        write!(out, "{name} gets {}", told(any))?;
        write!(out, " (RSA clients {}, EC clients {}), https {https}, http {http}", told(rsa), told(ec))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(covers("*.one.test", "WWW.one.test") && covers("one.test", "one.test"));
        assert!(!covers("*.one.test", "one.test") && !covers("*.one.test", "a.b.one.test"));
    }
}
