// SPDX-License-Identifier: Apache-2.0
//! A test CA for certificates of the admin and for signers of its OCSP responses.

use std::fs;
use std::path::PathBuf;

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use openssl::x509::extension::ExtendedKeyUsage;

use super::tls::Files;
use super::{Lab, certificate};

pub struct OwnCa {
    pub cert: X509,
    pub key: PKey<Private>,
    pub root: PathBuf,
}

impl OwnCa {
    pub fn new(lab: &Lab, name: &str) -> OwnCa {
        let (cert, key) = certificate::ca(name);
        let root = lab.path(format!("{}.pem", name.replace(' ', "-")));
        fs::write(&root, cert.to_pem().unwrap()).unwrap();
        OwnCa { cert, key, root }
    }

    /// A certificate for a host, with its issuer behind it, that names this responder.
    pub fn issue(&self, lab: &Lab, name: &str, responder: &str) -> Files {
        let key = certificate::new_key();
        let cert = certificate::leaf(name, &key, (&self.cert, &self.key), responder);
        let files =
            Files { certificate: lab.path(format!("{name}.pem")), key: lab.path(format!("{name}.key")) };
        let chain = [cert.to_pem().unwrap(), self.cert.to_pem().unwrap()].concat();
        fs::write(&files.certificate, chain).unwrap();
        fs::write(&files.key, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        files
    }

    /// A certificate to sign responses with; `is_appointed`: it says that it is for that.
    pub fn delegate(&self, is_appointed: bool) -> (X509, PKey<Private>) {
        let key = certificate::new_key();
        let mut usage = ExtendedKeyUsage::new();
        let usage = if is_appointed { usage.other("OCSPSigning") } else { usage.client_auth() };
        let extensions = vec![usage.build().unwrap()];
        (certificate::make("Delegate", &key, Some((&self.cert, &self.key)), extensions), key)
    }
}
