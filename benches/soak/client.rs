// SPDX-License-Identifier: Apache-2.0
//! A client that trusts the CA alone: one handshake, a look at the certificate, and one request.

use super::seen::Flaw;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::ssl::{
    ErrorCode, HandshakeError, Ssl, SslContext, SslMethod, SslRef, SslStream, SslVerifyMode, SslVersion,
    StatusType,
};
use openssl::x509::{X509, X509VerifyResult};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use support::stream::Stream;
use support::tls;

/// `X509_V_ERR_CERT_HAS_EXPIRED`.
const EXPIRED: i32 = 10;

pub struct Client {
    context: SslContext,
    port: u16,
}

/// What one visit came to.
pub struct Visited {
    pub flaw: Option<(Flaw, String)>,
    /// Seconds since the epoch from which the certificate is valid, and its age in seconds; `None`: there was no
    /// certificate.
    pub certificate: Option<(i64, i64)>,
    pub is_stapled: bool,
}

impl Client {
    pub fn new(port: u16, root: &Path, version: SslVersion) -> Client {
        let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
        context.set_ca_file(root).unwrap();
        // The handshake goes on with any certificate, so that all that is wrong with it can be told.
        context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        context.set_min_proto_version(Some(version)).unwrap();
        context.set_max_proto_version(Some(version)).unwrap();
        Client { context: context.build(), port }
    }

    pub fn visit(&self, address: &str, name: &str) -> Visited {
        let mut visited = Visited { flaw: None, certificate: None, is_stapled: false };
        let mut stream = match self.connect(address, name) {
            Ok(stream) => stream,
            Err(flaw) => return Visited { flaw: Some(flaw), ..visited },
        };
        let Some(leaf) = stream.ssl().peer_certificate() else {
            return Visited { flaw: Some((Flaw::Handshake, "no certificate".to_string())), ..visited };
        };
        visited.is_stapled = stream.ssl().ocsp_status().is_some_and(|response| !response.is_empty());
        let now = now();
        let not_before = now - seconds_between(leaf.not_before(), &at(now));
        visited.certificate = Some((not_before, now - not_before));
        visited.flaw = flaw_of(&leaf, name, stream.ssl(), now).or_else(|| request(&mut stream, name).err());
        visited
    }

    fn connect(&self, address: &str, name: &str) -> Result<SslStream<Stream>, (Flaw, String)> {
        let stream = Stream::connect_to(address, self.port).map_err(|e| of_io(&e))?;
        let failed = |e: openssl::error::ErrorStack| (Flaw::Handshake, e.to_string());
        let mut ssl = Ssl::new(&self.context).map_err(failed)?;
        ssl.set_hostname(name).map_err(failed)?;
        ssl.set_status_type(StatusType::OCSP).map_err(failed)?;
        ssl.connect(stream).map_err(|error| match error {
            HandshakeError::SetupFailure(e) => failed(e),
            HandshakeError::WouldBlock(_) => (Flaw::TimedOut, "in the handshake".to_string()),
            HandshakeError::Failure(stream) => match stream.error() {
                e if e.io_error().is_some() => {
                    let (flaw, words) = e.io_error().map_or((Flaw::Reset, String::new()), of_io);
                    (flaw, format!("in the handshake: {words}"))
                }
                e if e.code() == ErrorCode::SYSCALL || e.to_string().contains("unexpected eof") => {
                    (Flaw::Reset, "in the handshake: it ended".to_string())
                }
                e => (Flaw::Handshake, e.to_string()),
            },
        })
    }
}

fn of_io(e: &io::Error) -> (Flaw, String) {
    let flaw = match e.kind() {
        ErrorKind::ConnectionRefused => Flaw::Refused,
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Flaw::TimedOut,
        _ => Flaw::Reset,
    };
    (flaw, e.to_string())
}

fn flaw_of(leaf: &X509, name: &str, ssl: &SslRef, now: i64) -> Option<(Flaw, String)> {
    let verdict = ssl.verify_result();
    let says = |words: String| format!("{name}, {}: {words}", tls::serial(leaf));
    let names = tls::names(leaf);
    let ended = seconds_between(leaf.not_after(), &at(now));
    let begun = seconds_between(leaf.not_before(), &at(now));
    if leaf.issuer_name().try_cmp(leaf.subject_name()).is_ok_and(std::cmp::Ordering::is_eq) {
        return Some((Flaw::Fallback, says("its own issuer".to_string())));
    }
    if !names.iter().any(|known| known == name) {
        return Some((Flaw::WrongName, says(format!("{names:?}"))));
    }
    if ended > 0 || verdict.as_raw() == EXPIRED {
        return Some((Flaw::Expired, says(format!("{} s ago", ended.max(0)))));
    }
    if begun < 0 {
        return Some((Flaw::NotYetValid, says(format!("in {} s", -begun))));
    }
    (verdict != X509VerifyResult::OK).then(|| (Flaw::Untrusted, says(verdict.to_string())))
}

fn request(stream: &mut SslStream<Stream>, name: &str) -> Result<(), (Flaw, String)> {
    let cut = |e: &io::Error| {
        let (flaw, words) = of_io(e);
        (flaw, format!("{name}, in the request: {words}"))
    };
    let request = format!("GET /index.html HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|e| cut(&e))?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    // Some servers end without the last word of TLS: what counts is whether the page has come.
    let ended = loop {
        match stream.read(&mut part) {
            Ok(0) => break Ok(()),
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(e) => break Err(cut(&e)),
        }
    };
    let text = String::from_utf8_lossy(&answer);
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") && body == format!("site {name}") => Ok(()),
        _ if text.is_empty() => {
            Err(ended.err().unwrap_or((Flaw::Reset, format!("{name}: no answer to the request"))))
        }
        _ => {
            ended?;
            Err((Flaw::Answer, format!("{name}: {}", text.lines().next().unwrap_or_default())))
        }
    }
}

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

fn at(unix: i64) -> Asn1Time {
    Asn1Time::from_unix(unix).unwrap()
}

fn seconds_between(from: &Asn1TimeRef, to: &Asn1TimeRef) -> i64 {
    let between = from.diff(to).unwrap();
    i64::from(between.days) * 86_400 + i64::from(between.secs)
}
