// SPDX-License-Identifier: Apache-2.0
//! Whether a certificate fits the configuration of its managed domain: the one check for all callers. Orders
//! and the decision to renew use every part of it; the state of a domain ignores expiry. Does not ask whether
//! a TLS server accepts the certificate (`gate`), nor when to renew it (`renew::decide::due`). Pure; imports
//! only `crypto` and `model`.

use crate::crypto::CertInfo;
use crate::model::Md;
use crate::time::Timestamp;

/// Why a certificate does not fit the configuration of its domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    Missing,
    Unreadable(String),
    /// It certifies another key.
    Key,
    /// Its names are in its subject only, where clients do not look (RFC 9525 §6.3).
    SubjectAlone,
    Names,
    MustStaple,
    Expired,
}

impl Unfit {
    /// A sentence about the certificate of this key, without its full stop.
    pub fn of(&self, label: &str) -> String {
        let what = match self {
            Unfit::Missing => " is missing",
            Unfit::Unreadable(why) => return format!("certificate({label}) cannot be read: {why}"),
            Unfit::Key => " does not match its private key",
            Unfit::SubjectAlone => {
                " has no names but in its subject, where clients do not look: the subjectAltName is missing"
            }
            Unfit::Names => " does not cover all domains",
            Unfit::MustStaple => ": must-staple does not match the configuration",
            Unfit::Expired => " has expired",
        };
        format!("certificate({label}){what}")
    }
}

/// Checks the certificate that `md` has for a key; of several reasons, the most serious is returned.
pub fn check(md: &Md, cert: Option<&CertInfo>, now: Timestamp) -> Result<(), Unfit> {
    check_content(md, cert)?;
    match cert {
        Some(cert) if cert.not_after <= now => Err(Unfit::Expired),
        _ => Ok(()),
    }
}

/// The same, regardless of time.
pub fn check_content(md: &Md, cert: Option<&CertInfo>) -> Result<(), Unfit> {
    let cert = cert.ok_or(Unfit::Missing)?;
    if !md.is_covered_by(&cert.dns_names) {
        return Err(Unfit::Names);
    }
    if cert.must_staple != md.must_staple {
        return Err(Unfit::MustStaple);
    }
    Ok(())
}
