// SPDX-License-Identifier: Apache-2.0
//! The stapled response that a client receives, verified by OpenSSL as a client does.

use std::path::Path;

use openssl::hash::MessageDigest;
use openssl::ocsp::{OcspCertId, OcspCertStatus, OcspFlag, OcspResponse};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode, StatusType};
use openssl::stack::Stack;
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use super::responder::now;
use super::stream::Stream;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staple {
    pub is_revoked: bool,
    pub der: Vec<u8>,
}

/// One handshake. `None`: nothing was stapled. What is stapled has to be right for the certificate that came
/// with it.
#[track_caller]
pub fn staple(port: u16, name: &str, root: &Path) -> Option<Staple> {
    let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
    context.set_verify(SslVerifyMode::NONE);
    let began = now();
    let mut tls = Ssl::new(&context.build()).unwrap();
    tls.set_hostname(name).unwrap();
    tls.set_status_type(StatusType::OCSP).unwrap();
    let stream = tls.connect(Stream::connect(port).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let der = stream.ssl().ocsp_status()?.to_vec();
    let chain: Vec<X509> = stream.ssl().peer_cert_chain().unwrap().iter().map(ToOwned::to_owned).collect();
    let roots = X509::stack_from_pem(&std::fs::read(root).unwrap()).unwrap();
    let issuer = chain.get(1).or(roots.first()).unwrap();
    let basic = OcspResponse::from_der(&der).unwrap().basic().unwrap();
    let mut store = X509StoreBuilder::new().unwrap();
    roots.iter().for_each(|root| store.add_cert(root.clone()).unwrap());
    let mut certs = Stack::new().unwrap();
    chain.iter().skip(1).for_each(|cert| certs.push(cert.clone()).unwrap());
    basic.verify(&certs, &store.build(), OcspFlag::empty()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let id = OcspCertId::from_cert(MessageDigest::sha1(), &chain[0], issuer).unwrap();
    let status = basic.find_status(&id).expect("it is about this certificate");
    // To the second: it may have ended since the handshake began, not before.
    let check = || {
        let checked = now();
        let valid = status.check_validity(u32::try_from(checked - began).unwrap(), None);
        // OpenSSL has looked at the clock in between.
        (now() == checked).then_some(valid)
    };
    loop {
        if let Some(valid) = check() {
            valid.unwrap_or_else(|e| panic!("{name}: {e}"));
            break;
        }
    }
    Some(Staple { is_revoked: status.status == OcspCertStatus::REVOKED, der })
}
