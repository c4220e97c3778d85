// SPDX-License-Identifier: Apache-2.0
//! A client that trusts the CA alone and looks closely at each answer.

use openssl::hash::MessageDigest;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use support::stream::Stream;

/// How one kind of client speaks TLS.
#[derive(Clone, Copy)]
pub enum Tls {
    V13,
    /// 1.2 with the certificate of an EC key.
    V12Ec,
    /// 1.2 with the certificate of an RSA key.
    V12Rsa,
}

pub struct Visitor {
    context: SslContext,
    port: u16,
}

/// One connection, with its handshake done.
pub struct Visit {
    stream: SslStream<Stream>,
    name: String,
    /// How long TCP's handshake took, and that of TLS.
    pub took: [Duration; 2],
}

/// Why a request got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the connection ended before the first byte of the answer: {0}")]
    Closed(String),
    #[error("{0}")]
    Wrong(String),
}

impl Visitor {
    pub fn new(port: u16, root: &Path, tls: Tls) -> Visitor {
        let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
        context.set_ca_file(root).unwrap();
        context.set_verify(SslVerifyMode::PEER);
        match tls {
            Tls::V13 => context.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap(),
            Tls::V12Ec | Tls::V12Rsa => {
                let key = if matches!(tls, Tls::V12Ec) { "ECDHE+aECDSA" } else { "ECDHE+aRSA" };
                context.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
                context.set_cipher_list(key).unwrap();
            }
        }
        Visitor { context: context.build(), port }
    }

    /// The handshake fails where the certificate is not one of the CA for this name and now, or not that of
    /// the key.
    pub fn connect(&self, name: &str) -> Result<Visit, String> {
        let say = |what: &str, e: &dyn std::fmt::Display| format!("{what}: {e}");
        let begin = Instant::now();
        let stream = Stream::connect(self.port).map_err(|e| say("connect", &e))?;
        let connected = begin.elapsed();
        let mut ssl = Ssl::new(&self.context).map_err(|e| say("handshake", &e))?;
        ssl.set_hostname(name).map_err(|e| say("handshake", &e))?;
        ssl.param_mut().set_host(name).map_err(|e| say("handshake", &e))?;
        let stream = ssl.connect(stream).map_err(|e| say("handshake", &e))?;
        let took = [connected, begin.elapsed() - connected];
        Ok(Visit { stream, name: name.to_string(), took })
    }
}

impl Visit {
    pub fn certificate(&self) -> Option<X509> {
        self.stream.ssl().peer_certificate()
    }

    /// Asks for the page and checks all of the answer. `true`: the connection may be used again.
    pub fn request(&mut self) -> Result<bool, Failure> {
        let closed = |e: io::Error| Failure::Closed(e.to_string());
        let request = format!("GET /index.html HTTP/1.1\r\nHost: {}\r\n\r\n", self.name);
        self.stream.write_all(request.as_bytes()).map_err(closed)?;
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        loop {
            if let Some(keeps) = self.check(&String::from_utf8_lossy(&answer))? {
                return Ok(keeps);
            }
            match self.stream.read(&mut part) {
                Ok(0) if answer.is_empty() => return Err(Failure::Closed("no answer".into())),
                Ok(0) => {
                    return Err(Failure::Wrong(format!("cut off: {}", String::from_utf8_lossy(&answer))));
                }
                Ok(count) => answer.extend(&part[..count]),
                Err(e) if answer.is_empty() => return Err(closed(e)),
                Err(e) => return Err(Failure::Wrong(format!("cut off: {e}"))),
            }
        }
    }

    /// `None`: it is not all there yet.
    fn check(&self, answer: &str) -> Result<Option<bool>, Failure> {
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Ok(None) };
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(Failure::Wrong(format!("{}: {head}", self.name)));
        }
        let page = format!("site {}", self.name);
        if body.len() < page.len() {
            return Ok(None);
        }
        if body != page {
            return Err(Failure::Wrong(format!("{}: the body is {body}", self.name)));
        }
        Ok(Some(!head.to_ascii_lowercase().contains("connection: close")))
    }
}

pub fn fingerprint(certificate: &X509) -> Vec<u8> {
    certificate.digest(MessageDigest::sha256()).unwrap().to_vec()
}
