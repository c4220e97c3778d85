// SPDX-License-Identifier: Apache-2.0
//! The record of a set that went live, and the questions of the renewing process to the serving ones: the
//! interface that tests replace.

use super::published::Published;
use super::serve::Certs;
use crate::crypto::{self, CertInfo, Identities, Identity};
use crate::model::KeySpec;
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// The parts of a live set that handshakes and status pages need.
pub struct LiveSet {
    pub since: Timestamp,
    /// The CA that issued it.
    pub ca_url: Option<String>,
    pub certs: Certs,
    pub identities: Identities,
}

impl LiveSet {
    /// For an MD that is configured to have these keys.
    pub fn new(published: &Published, keys: &[KeySpec]) -> Result<Self, crypto::Error> {
        let identities = published.sets.iter().map(|set| Identity::new(&set.key, &set.chain));
        Ok(LiveSet {
            since: published.since,
            ca_url: published.md.ca.url.clone(),
            certs: Certs::arrange(
                keys,
                published.sets.iter().map(|set| (set.spec.clone(), set.info.clone())),
            ),
            identities: Identities::new(identities.collect::<Result<_, _>>()?)?,
        })
    }

    /// Whether it has exactly these certificates.
    pub fn is_of<'c>(&self, certs: impl Iterator<Item = &'c CertInfo>) -> bool {
        let sorted = |certs: &mut dyn Iterator<Item = &'c CertInfo>| {
            certs.map(|cert| cert.fingerprint.as_str()).collect::<BTreeSet<_>>()
        };
        let mut certs = certs;
        sorted(&mut certs) == self.certs.all().map(|cert| cert.fingerprint.as_str()).collect()
    }
}

/// The TLS hosts of this process.
pub trait Hosts: Send + Sync {
    /// Whether every host of the MD of this index takes these, at its security level; else why not. `None`: no
    /// host of it is known.
    fn try_out(&self, index: usize, identities: &[Identity]) -> Option<Result<(), String>>;
}

/// The processes that serve, as the renewing one knows them.
pub trait Workers: Send + Sync {
    /// This set was published for the MD of this index: all processes must serve it, this one from now on.
    fn publish(&self, index: usize, set: LiveSet);

    /// Whether there is a good OCSP response for each of these certificates.
    fn have_staples(&self, index: usize, certs: &[CertInfo]) -> bool;
}
