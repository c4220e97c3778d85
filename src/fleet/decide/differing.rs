// SPDX-License-Identifier: Apache-2.0
//! What of a set in force is otherwise than this node would have ordered it (rule 4), for people: it is used all
//! the same, as far as it can be. Pure; imports `view`.

use crate::fleet::view::KnownSet;
use crate::model::{KeySpec, Md};

/// Each as the end of "the set of the fleet ".
pub fn differing(set: &KnownSet, md: &Md) -> Vec<String> {
    let mut found: Vec<String> = md.keys().iter().filter_map(|key| key_differs(set, key)).collect();
    if let Some((_, cert)) = set.certs.iter().find(|(_, cert)| cert.must_staple != md.must_staple) {
        let has = if cert.must_staple { "is" } else { "is not" };
        found.push(format!("{has} must-staple"));
    }
    if !md.ca.urls.is_empty() && !md.ca.urls.contains(&set.ca) {
        found.push(format!("is of the CA {}", set.ca));
    }
    if set.profile != md.profile {
        let profile = set.profile.as_deref().unwrap_or("none");
        found.push(format!("has the profile {profile:?}"));
    }
    found
}

fn key_differs(set: &KnownSet, key: &KeySpec) -> Option<String> {
    let Some((spec, _)) = set.certs.iter().find(|(spec, _)| spec.same_type(key)) else {
        return Some(format!("has no certificate for a key of {}", key.label()));
    };
    match (spec, key) {
        (KeySpec::Rsa(has), KeySpec::Rsa(wanted)) if has != wanted => {
            Some(format!("has an RSA key of {has} bits, not {wanted}"))
        }
        _ => None,
    }
}

/// The warning of a set that differs from this node's configuration. `from`, `here`: names of nodes.
pub fn warning(name: &str, differing: &[String], from: &str, here: &str) -> Option<String> {
    (!differing.is_empty()).then(|| {
        format!(
            "md[{name}]: the set of the fleet, which node {from} has ordered, {}, other than node {here} has it \
             configured. It is used as far as possible; give this MD the same settings on all nodes.",
            differing.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::fixture::{cert, ec, remote};
    use crate::managed::fixture::md;

    #[test]
    fn all_that_differs_is_told() {
        let both = vec![(ec(), cert("0a", 1)), (KeySpec::Rsa(4096), cert("0b", 1))];
        let set = remote(1, both, 1).value;
        let with = |keys: &[KeySpec]| Md { key_specs: keys.to_vec(), ..md(&["a.test"]) };
        let same = with(&[KeySpec::Rsa(4096), KeySpec::Ec("secp256r1".into())]);
        assert!(differing(&set, &same).is_empty());
        assert!(differing(&set, &with(&[ec()])).is_empty(), "what it has in addition does not matter");
        let mut rsa = with(&[]);
        rsa.ca.urls = vec!["https://other.test/dir".into()];
        let expected = ["has an RSA key of 4096 bits, not 2048", "is of the CA https://ca.test/dir"];
        assert_eq!(differing(&set, &rsa), expected);
        let mut strict = with(&[ec(), KeySpec::Ec("P-384".into())]);
        (strict.must_staple, strict.profile) = (true, Some("short".into()));
        let found = differing(&set, &strict);
        let expected =
            ["has no certificate for a key of P-384", "is not must-staple", "has the profile \"none\""];
        assert_eq!(found, expected);
        let text = warning("a.test", &found, "web1", "web2").unwrap();
        assert!(text.contains("md[a.test]") && text.contains("web1") && text.contains("web2"), "{text}");
        assert_eq!(warning("a.test", &[], "web1", "web2"), None);
    }
}
