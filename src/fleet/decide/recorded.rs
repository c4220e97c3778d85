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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::fixture::cert;

    #[test]
    fn it_is_of_exactly_its_certificates_in_any_order() {
        let (a, b) = (cert("0a", 1), cert("0b", 1));
        let certs = vec![a.fingerprint.clone(), b.fingerprint.clone()];
        let recorded = Recorded { rank: Rank::new(3, [&a]).unwrap(), certs };
        assert!(recorded.is_of([&b, &a]));
        assert!(!recorded.is_of([&a]) && !recorded.is_of([&a, &b, &cert("0c", 1)]));
        assert_eq!(Recorded::from_json(&recorded.to_json()), Some(recorded.clone()));
        let many = Recorded { certs: vec!["a".into(); 33], ..recorded };
        assert_eq!(Recorded::from_json(&many.to_json()), None);
    }
}
