// SPDX-License-Identifier: Apache-2.0
//! What a node can use of a set that another one ordered by other settings (rule 4): the certificates of the
//! kinds of keys that it has configured. Pure; imports `view`.

use crate::fleet::view::KnownSet;
use crate::model::{KeySpec, Md};

/// The part of a set that this node uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usable {
    /// Which certificates of the set, and for which configured key.
    pub certs: Vec<(usize, KeySpec)>,
    /// What is otherwise than configured, as the end of "the set of the fleet ".
    pub differing: Vec<String>,
}

pub fn usable(set: &KnownSet, md: &Md) -> Usable {
    let mut found = Usable::default();
    for key in md.keys() {
        match set.certs.iter().position(|(spec, _)| spec.same_type(&key)) {
            Some(at) => found.certs.push((at, key)),
            None => found.differing.push(format!("has no certificate for a key of {}", key.label())),
        }
    }
    for (at, key) in &found.certs {
        if let Some((spec, cert)) = set.certs.get(*at) {
            found.differing.extend(bits(spec, key));
            if cert.must_staple != md.must_staple {
                let has = if cert.must_staple { "is" } else { "is not" };
                found.differing.push(format!("{has} must-staple ({})", spec.label()));
            }
        }
    }
    if !md.ca.urls.is_empty() && !md.ca.urls.contains(&set.ca) {
        found.differing.push(format!("is of the CA {}", set.ca));
    }
    if set.profile != md.profile {
        let profile = set.profile.as_deref().unwrap_or("none");
        found.differing.push(format!("has the profile {profile:?}"));
    }
    found
}

fn bits(has: &KeySpec, wanted: &KeySpec) -> Option<String> {
    match (has, wanted) {
        (KeySpec::Rsa(has), KeySpec::Rsa(wanted)) if has != wanted => {
            Some(format!("has an RSA key of {has} bits, not {wanted}"))
        }
        _ => None,
    }
}

/// The warning of a set that differs from this node's configuration.
pub fn warning(name: &str, usable: &Usable, from: &str, here: &str) -> Option<String> {
    (!usable.differing.is_empty()).then(|| {
        format!(
            "md[{name}]: the set of the fleet, by node {from}, is used although it {} as configured on node \
             {here}; give all nodes the same settings for this MD",
            usable.differing.join(", ")
        )
    })
}
