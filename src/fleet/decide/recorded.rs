// SPDX-License-Identifier: Apache-2.0
//! What stands beside a set in the local store: which set of the fleet it is. Certificates that it does not name
//! came into use without the fleet. Pure; imports `rank`.

use super::rank::Rank;
use crate::crypto::CertInfo;
use crate::model::bounded::name;
use serde_json::{Value, json};

/// More certificates than an MD has.
const CERTS_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Of the whole set, of which this node may use a part.
    pub rank: Rank,
    /// SHA-256 of the certificates of the MD in the store when this was recorded, in lower-case hex.
    pub certs: Vec<String>,
}

impl Recorded {
    /// Whether the certificates in the store are still those.
    pub fn is_of<'c>(&self, certs: impl IntoIterator<Item = &'c CertInfo>) -> bool {
        let mut found: Vec<&str> = certs.into_iter().map(|cert| cert.fingerprint.as_str()).collect();
        let mut known: Vec<&str> = self.certs.iter().map(String::as_str).collect();
        found.sort_unstable();
        known.sort_unstable();
        found == known
    }

    pub fn to_json(&self) -> Value {
        json!({"set": self.rank.to_json(), "certificates": self.certs})
    }

    pub fn from_json(value: &Value) -> Option<Self> {
        let certs = value.get("certificates")?.as_array().filter(|certs| certs.len() <= CERTS_MAX)?;
        Some(Recorded {
            rank: Rank::from_json(value.get("set")?)?,
            certs: certs.iter().map(|cert| name(cert.as_str()?)).collect::<Option<_>>()?,
        })
    }
}
