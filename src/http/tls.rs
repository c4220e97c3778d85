// SPDX-License-Identifier: Apache-2.0
//! TLS of the HTTP client, with the system's OpenSSL, the library that mod_ssl uses too. Always verifies the
//! chain and the host name (RFC 6125, IP literals included). Refuses TLS below 1.2.

use super::{Error, TlsFault};
use crate::crypto::cert::all_certificates;
use crate::crypto::{self, pem};
use crate::store::read_admin_file;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{self, HandshakeError, SslConnector, SslMethod, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509VerifyResult};
use std::io::{self, Read, Write};
use std::path::Path;

pub type Stream<S> = ssl::SslStream<S>;

/// Makes TLS connections. Clones share what OpenSSL has set up.
#[derive(Clone)]
pub struct Tls(SslConnector);

/// Why there is no TLS connection.
pub enum Failure {
    /// The stream below failed.
    Io(io::Error),
    Tls(Error),
}

impl Tls {
    /// `ca_file`: PEM certificates to trust beside the system's.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, Error> {
        let broken =
            |e: ErrorStack| Error::Tls(TlsFault::Handshake, format!("cannot set up TLS: {}", reason(&e)));
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(broken)?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(broken)?;
        if let Some(path) = ca_file {
            let unfit = |why: String| {
                Error::Invalid(format!("cannot read the CA certificates in '{}': {why}", path.display()))
            };
            // OpenSSL says why one cannot be read.
            let content = read_admin_file(path).unwrap_or_default();
            pem::refuse_encrypted_certificate(&content).map_err(|e| unfit(e.to_string()))?;
            builder.set_ca_file(path).map_err(|e| unfit(reason(&e)))?;
        }
        Ok(Tls(builder.build()))
    }

    /// For a server inside. `ca_pem`: PEM certificates to trust instead of the system's; `client_pem`: the chain
    /// and the key to identify with. Takes bytes, because a child cannot read root's files.
    pub fn inside(ca_pem: Option<&[u8]>, client_pem: Option<(&[u8], &[u8])>) -> Result<Self, Error> {
        let unfit = |what: &str, e: ErrorStack| Error::Invalid(format!("cannot use {what}: {}", reason(&e)));
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|e| unfit("OpenSSL", e))?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(|e| unfit("OpenSSL", e))?;
        if let Some(pem) = ca_pem {
            let unfit = |e| unfit("the CA certificates", e);
            let mut store = X509StoreBuilder::new().map_err(unfit)?;
            for certificate in certificates(pem, "the CA certificates")? {
                store.add_cert(certificate).map_err(unfit)?;
            }
            builder.set_cert_store(store.build());
        }
        if let Some((chain, key)) = client_pem {
            let unfit = |e| unfit("the client certificate", e);
            let mut chain = certificates(chain, "the client certificate")?.into_iter();
            if let Some(leaf) = chain.next() {
                builder.set_certificate(&leaf).map_err(unfit)?;
            }
            for issuer in chain {
                builder.add_extra_chain_cert(issuer).map_err(unfit)?;
            }
            // The empty passphrase keeps OpenSSL from asking for one at the terminal.
            let key = PKey::private_key_from_pem_passphrase(key, b"").map_err(|e| {
                Error::Invalid(format!("cannot use the key of the client certificate: {}", reason(&e)))
            })?;
            builder.set_private_key(&key).map_err(unfit)?;
            builder.check_private_key().map_err(unfit)?;
        }
        Ok(Tls(builder.build()))
    }

    /// Shakes hands with `host`, a DNS name or an IP literal without brackets.
    pub fn connect<S: Read + Write>(&self, host: &str, stream: S) -> Result<Stream<S>, Failure> {
        match self.0.connect(host, stream) {
            Ok(stream) => Ok(stream),
            Err(HandshakeError::SetupFailure(e)) => {
                Err(Failure::Tls(Error::Tls(TlsFault::Handshake, reason(&e))))
            }
            Err(HandshakeError::Failure(mid) | HandshakeError::WouldBlock(mid)) => {
                let verdict = mid.ssl().verify_result();
                match mid.into_error().into_io_error() {
                    Ok(e) => Err(Failure::Io(e)),
                    Err(_) if verdict != X509VerifyResult::OK => {
                        let why = format!("certificate verify failed: {}", verdict.error_string());
                        Err(Failure::Tls(Error::Tls(fault(verdict), why)))
                    }
                    Err(e) => {
                        let why = e.ssl_error().map_or_else(|| "the server closed it".into(), reason);
                        let why = format!("TLS handshake failed: {why}");
                        Err(Failure::Tls(Error::Tls(TlsFault::Handshake, why)))
                    }
                }
            }
        }
    }
}

/// At least one.
fn certificates(pem: &[u8], what: &str) -> Result<Vec<X509>, Error> {
    let why = match all_certificates(pem) {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => "there is no PEM certificate in the file".into(),
        Err(crypto::Error::Openssl(e)) => reason(&e),
        Err(e) => e.to_string(),
    };
    Err(Error::Invalid(format!("cannot use {what}: {why}")))
}

/// By `X509_V_ERR_…` of <openssl/x509_vfy.h>, which never change.
fn fault(verdict: X509VerifyResult) -> TlsFault {
    match verdict.as_raw() {
        // Not yet valid or expired: certificates and CRLs.
        9..=12 => TlsFault::Time,
        // `HOSTNAME_MISMATCH`, `IP_ADDRESS_MISMATCH`.
        62 | 64 => TlsFault::Name,
        _ => TlsFault::Trust,
    }
}

/// OpenSSL's own words for its first error, without its numbers and source files.
fn reason(stack: &ErrorStack) -> String {
    let text = |e: &openssl::error::Error| match (e.reason(), e.data()) {
        // The number is that of the operating system.
        _ if e.library().is_some_and(|library| library.contains("system")) => {
            crate::log::plain(&io::Error::from_raw_os_error(e.reason_code()))
        }
        (Some(reason), Some(data)) if !data.is_empty() => format!("{reason} ({data})"),
        (Some(reason), _) => reason.to_string(),
        (None, _) => e.to_string(),
    };
    stack.errors().first().map_or_else(|| "unknown error".into(), text)
}
