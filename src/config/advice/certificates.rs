// SPDX-License-Identifier: Apache-2.0
//! Findings about the certificate and key files that an admin provides for a domain.

use super::context::FileFault;
use crate::crypto::{CertInfo, Chain, Error, PrivateKey};
use crate::log::plain;
use crate::model::Md;
use crate::names;
use crate::time::Timestamp;
use std::io::{self, ErrorKind};
use std::path::Path;
use zeroize::Zeroizing;

/// What is wrong with them, as those of this domain. `read` reads a whole file.
pub fn faults(
    md: &Md,
    cert: &Path,
    key: &Path,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    now: Timestamp,
) -> Vec<FileFault> {
    let fault = |is_of_key, is_fatal, text: String| FileFault { is_of_key, is_fatal, text };
    let mut faults = Vec::new();
    let mut content = |is_of_key, path: &Path| match read(path) {
        Ok(content) => Some(Zeroizing::new(content)),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let text = "does not exist. Put the file there, or correct the path.";
            faults.push(fault(is_of_key, true, text.into()));
            None
        }
        Err(e) => {
            let text = format!(
                "cannot be read: {}. Correct its permissions or those of its folders. Most keys are readable \
                 only by root: run configtest as root.",
                plain(&e)
            );
            faults.push(fault(is_of_key, false, text));
            None
        }
    };
    let (chain, private) = (content(false, cert), content(true, key));
    let Some(content) = chain else { return faults };
    let chain = match Chain::from_pem(&content) {
        Ok(chain) => chain,
        Err(e) => {
            let text = format!("cannot be used: {e}. Put a PEM certificate there, followed by its chain.");
            faults.push(fault(false, !has_block(&content, "CERTIFICATE"), text));
            return faults;
        }
    };
    let leaf = chain.leaf();
    // mod_ssl has the pass phrase of an encrypted key, or asks for it.
    if let Some(private) = private
        && !leaf.matches_key_file(&private)
        && !PrivateKey::is_encrypted(&private)
    {
        match PrivateKey::from_pem(&private) {
            Ok(key) if leaf.matches_key(&key) => {}
            Ok(_) => {
                let text = format!(
                    "is not the key of the certificate in {}. Use the files of one certificate.",
                    cert.display()
                );
                faults.push(fault(true, true, text));
            }
            Err(e) => {
                // What OpenSSL says of it is for programmers.
                let reason = match e {
                    Error::Invalid(reason) => reason,
                    _ => "it contains no private key that OpenSSL supports".into(),
                };
                let text =
                    format!("cannot be used: {reason}. Put the certificate's key there, in PEM format.");
                faults.push(fault(true, !has_block(&private, "PRIVATE KEY"), text));
            }
        }
    }
    if leaf.not_after() <= now {
        let text = format!("expired at {}. Put a new certificate there.", leaf.not_after().to_http_date());
        faults.push(fault(false, false, text));
    }
    let names = CertInfo::from_chain(&chain).dns_names;
    let is_covered = |domain: &&String| names.iter().any(|pattern| names::covers(pattern, domain));
    if let Some(domain) = md.domains.iter().find(|domain| !is_covered(domain)).filter(|_| !names.is_empty()) {
        let text = format!(
            "does not cover the name {domain}: clients that request this name reject the certificate. Use a \
             certificate for all names of the domain, or remove the name from the domain."
        );
        faults.push(fault(false, false, text));
    }
    faults
}

/// Whether a block of PEM of this kind begins somewhere; without one mod_ssl loads nothing.
fn has_block(content: &[u8], kind: &str) -> bool {
    String::from_utf8_lossy(content)
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.contains(&format!("{kind}-----")))
}
