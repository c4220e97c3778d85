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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::fixture::{cert, ec, remote};
    use crate::managed::fixture::md;

    #[test]
    fn a_node_uses_the_kinds_of_keys_that_it_has_and_says_what_differs() {
        let set = |certs| remote(1, certs, 1).value;
        let both = vec![(ec(), cert("0a", 1)), (KeySpec::Rsa(4096), cert("0b", 1))];
        let with = |keys: &[KeySpec]| Md { key_specs: keys.to_vec(), ..md(&["a.test"]) };
        let of = |certs: &Vec<_>, md: &Md| usable(&set(certs.clone()), md);
        let secp = KeySpec::Ec("secp256r1".into());
        let other_ca = "is of the CA https://ca.test/dir".to_string();
        let mut same = with(&[KeySpec::Rsa(4096), secp.clone()]);
        same.ca.urls = vec!["https://other.test/dir".into(), "https://ca.test/dir".into()];
        let expected = vec![(1, KeySpec::Rsa(4096)), (0, secp)];
        assert_eq!(of(&both, &same), Usable { certs: expected, differing: vec![] });

        let mut rsa = with(&[]);
        rsa.ca.urls = vec!["https://other.test/dir".into()];
        let found = of(&both, &rsa);
        assert_eq!(found.certs, [(1, KeySpec::Rsa(2048))]);
        assert_eq!(found.differing, ["has an RSA key of 4096 bits, not 2048".into(), other_ca]);

        let mut strict = with(&[ec(), KeySpec::Ec("P-384".into())]);
        strict.ca.urls.clear();
        (strict.must_staple, strict.profile) = (true, Some("short".into()));
        let found = of(&both, &strict);
        assert_eq!(found.certs, [(0, ec())]);
        let differing = [
            "has no certificate for a key of P-384",
            "is not must-staple (P-256)",
            "has the profile \"none\"",
        ];
        assert_eq!(found.differing, differing);
        let text = warning("a.test", &found, "web1", "web2").unwrap();
        assert!(text.contains("md[a.test]") && text.contains("web1") && text.contains("web2"), "{text}");
        assert_eq!(warning("a.test", &of(&both, &same), "web1", "web2"), None);
    }
}
