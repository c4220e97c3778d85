// SPDX-License-Identifier: Apache-2.0
//! The set in force as JSON. A key that is not that of its certificate, or not of the kind it is listed for, is
//! refused; whether clients accept the certificates is for others to find.

use super::super::sealed::Flaw;
use super::Set;
use super::fields::{CERTS_MAX, Fields, NAMES_MAX, chain_to_json, key_to_json, time_to_json};
use crate::managed::peers::{SharedCert, SharedSet};
use serde_json::{Value, json};

/// No set is replaced so often: who can seal cannot end the counting for good.
const GENERATION_MAX: u64 = 1 << 53;

impl Set {
    pub(super) fn to_json(&self) -> Result<Value, Flaw> {
        let set = &self.set;
        Ok(json!({
            "generation": self.generation,
            "published": time_to_json(self.published),
            "ca": set.ca,
            "names": set.names,
            "must-staple": set.must_staple,
            "profile": set.profile,
            "renew-at": set.renew_at.map(time_to_json),
            "certs": set.certs.iter().map(cert_to_json).collect::<Result<Vec<_>, _>>()?,
        }))
    }

    pub(super) fn from_json(json: Fields) -> Result<Self, Flaw> {
        let certs = json.list("certs", CERTS_MAX)?.iter().map(|cert| cert_from_json(Fields(cert)));
        let set = SharedSet {
            ca: json.name("ca")?,
            names: json.names("names", NAMES_MAX)?,
            must_staple: json.flag("must-staple")?,
            profile: json.name_or_none("profile")?,
            certs: certs.collect::<Result<_, _>>()?,
            renew_at: json.time_or_none("renew-at")?,
        };
        let generation = json.number("generation")?;
        if generation > GENERATION_MAX {
            return Err(Flaw::Field("generation"));
        }
        if set.certs.is_empty() {
            return Err(Flaw::Field("certs"));
        }
        Ok(Set { set, generation, published: json.time("published")? })
    }
}

pub(super) fn cert_to_json(cert: &SharedCert) -> Result<Value, Flaw> {
    Ok(json!({
        "type": cert.spec.to_json(),
        "key": key_to_json(&cert.key)?,
        "chain": chain_to_json(&cert.chain),
    }))
}

pub(super) fn cert_from_json(json: Fields) -> Result<SharedCert, Flaw> {
    let cert = SharedCert { spec: json.spec("type")?, key: json.key("key")?, chain: json.chain("chain")? };
    if !cert.key.is_of(&cert.spec) || !cert.chain.leaf().matches_key(&cert.key) {
        return Err(Flaw::Field("key"));
    }
    Ok(cert)
}
