// SPDX-License-Identifier: Apache-2.0
//! Findings about the certificate and key files that an admin provides for a domain.

use super::context::FileFault;
use crate::crypto::{CertInfo, Certificate, Chain, Error, PrivateKey};
use crate::log::plain;
use crate::model::Md;
use crate::names;
use crate::time::Timestamp;
use std::io::{self, ErrorKind};
use std::path::Path;
use zeroize::Zeroizing;

/// The faults of a certificate file and its key file, used for this domain. `read` reads a whole file.
pub fn faults(
    md: &Md,
    cert: &Path,
    key: &Path,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    now: Timestamp,
) -> Vec<FileFault> {
    let mut faults = Vec::new();
    let content = loaded(cert, false, read).map_err(|fault| faults.push(fault));
    let private = loaded(key, true, read).map_err(|fault| faults.push(fault));
    let Ok(content) = content else { return faults };
    let chain = match Chain::from_pem(&content) {
        Ok(chain) => chain,
        Err(e) => {
            let text = format!("cannot be used: {e}. Put a PEM certificate there, followed by its chain.");
            faults.push(FileFault::of_cert(!has_block(&content, "CERTIFICATE"), text));
            return faults;
        }
    };
    faults.extend(private.ok().and_then(|private| wrong_key(&private, chain.leaf(), cert)));
    faults.extend(expired(chain.leaf(), now));
    faults.extend(missing_name(md, &chain));
    faults
}

impl FileFault {
    fn of_cert(is_fatal: bool, text: String) -> Self {
        FileFault { is_of_key: false, is_fatal, text }
    }

    fn of_key(is_fatal: bool, text: String) -> Self {
        FileFault { is_of_key: true, is_fatal, text }
    }
}

/// The content of a file, or the reason why it cannot be read.
fn loaded(
    path: &Path,
    is_of_key: bool,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    read(path).map(Zeroizing::new).map_err(|e| match e.kind() {
        ErrorKind::NotFound => {
            let text = "does not exist. Put the file there, or correct the path.".into();
            FileFault { is_of_key, is_fatal: true, text }
        }
        _ => {
            let text = format!(
                "cannot be read: {}. Correct its permissions or those of its folders. Most keys are readable \
                 only by root: run configtest as root.",
                plain(&e)
            );
            FileFault { is_of_key, is_fatal: false, text }
        }
    })
}

/// The fault of a key file that does not belong to the certificate, or holds no usable key.
fn wrong_key(private: &[u8], leaf: &Certificate, cert: &Path) -> Option<FileFault> {
    // mod_ssl has the pass phrase of an encrypted key, or asks for it.
    if leaf.matches_key_file(private) || PrivateKey::is_encrypted(private) {
        return None;
    }
    match PrivateKey::from_pem(private) {
        Ok(key) if leaf.matches_key(&key) => None,
        Ok(_) => {
            let text = format!(
                "is not the key of the certificate in {}. Use the files of one certificate.",
                cert.display()
            );
            Some(FileFault::of_key(true, text))
        }
        Err(e) => {
            // OpenSSL's own error text is written for programmers.
            let reason = match e {
                Error::Invalid(reason) => reason,
                _ => "it contains no private key that OpenSSL supports".into(),
            };
            let text = format!("cannot be used: {reason}. Put the certificate's key there, in PEM format.");
            Some(FileFault::of_key(!has_block(private, "PRIVATE KEY"), text))
        }
    }
}

fn expired(leaf: &Certificate, now: Timestamp) -> Option<FileFault> {
    (leaf.not_after() <= now).then(|| {
        let date = leaf.not_after().to_http_date();
        FileFault::of_cert(false, format!("expired at {date}. Put a new certificate there."))
    })
}

/// The fault of a certificate that does not cover every name of the domain. One without any DNS names passes.
fn missing_name(md: &Md, chain: &Chain) -> Option<FileFault> {
    let names = CertInfo::from_chain(chain).dns_names;
    let is_covered = |domain: &&String| names.iter().any(|pattern| names::covers(pattern, domain));
    let domain = md.domains.iter().find(|domain| !is_covered(domain)).filter(|_| !names.is_empty())?;
    let text = format!(
        "does not cover the name {domain}: clients that request this name reject the certificate. Use a \
         certificate for all names of the domain, or remove the name from the domain."
    );
    Some(FileFault::of_cert(false, text))
}

/// Whether a block of PEM of this kind begins somewhere; without one mod_ssl loads nothing.
fn has_block(content: &[u8], kind: &str) -> bool {
    String::from_utf8_lossy(content)
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.contains(&format!("{kind}-----")))
}
