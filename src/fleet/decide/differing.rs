// SPDX-License-Identifier: Apache-2.0
//! What of a set in force is otherwise than this node would have ordered it (rule 4), for people: it is used all
//! the same, as far as it can be. Pure; imports nothing of the fleet.

use crate::managed::peers::SharedSet;
use crate::model::{KeySpec, Md};

/// Each as the end of "the set of the fleet ".
pub fn differing(set: &SharedSet, md: &Md) -> Vec<String> {
    let keys: Vec<&KeySpec> = set.certs.iter().map(|cert| &cert.spec).collect();
    let mut found: Vec<String> = md.keys().iter().filter_map(|key| key_differs(&keys, key)).collect();
    if set.must_staple != md.must_staple {
        found.push(format!("{} must-staple", if set.must_staple { "is" } else { "is not" }));
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

fn key_differs(keys: &[&KeySpec], key: &KeySpec) -> Option<String> {
    let Some(spec) = keys.iter().find(|spec| spec.same_type(key)) else {
        return Some(format!("has no certificate for a key of {}", key.label()));
    };
    match (spec, key) {
        (KeySpec::Rsa(has), KeySpec::Rsa(wanted)) if has != wanted => {
            Some(format!("has an RSA key of {has} bits, not {wanted}"))
        }
        _ => None,
    }
}

/// The warning of a set that differs from the settings of this node, `here`. `by`: the node that ordered it.
pub fn warning(md: &Md, set: &SharedSet, generation: u64, by: &str, here: &str) -> Option<String> {
    let differing = differing(set, md);
    (!differing.is_empty()).then(|| {
        format!(
            "md[{}]: the set of the fleet, generation {generation}, {}: node {by}, which ordered it, has other settings \
             for this domain than this node, {here}. It is used as far as possible; give the domain the same settings \
             on both.",
            md.name,
            differing.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;
    use crate::crypto::fixture::Ca;
    use crate::managed::fixture::{CA_URL, md};
    use crate::managed::peers::SharedCert;

    fn set(keys: &[KeySpec]) -> SharedSet {
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        let chain = Ca::new("fleet").issue(&["a.test"], &key);
        let cert = |spec: &KeySpec| SharedCert { spec: spec.clone(), key: key.clone(), chain: chain.clone() };
        SharedSet {
            ca: CA_URL.into(),
            names: vec!["a.test".into()],
            must_staple: false,
            profile: None,
            certs: keys.iter().map(cert).collect(),
            renew_at: None,
        }
    }

    #[test]
    fn all_that_differs_is_told() {
        let ec = KeySpec::Ec("P-256".into());
        let set = set(&[ec.clone(), KeySpec::Rsa(4096)]);
        let with = |keys: &[KeySpec]| Md { key_specs: keys.to_vec(), ..md(&["a.test"]) };
        let same = with(&[KeySpec::Rsa(4096), KeySpec::Ec("secp256r1".into())]);
        assert!(differing(&set, &same).is_empty());
        assert!(
            differing(&set, &with(std::slice::from_ref(&ec))).is_empty(),
            "what it has in addition does not matter"
        );
        let mut rsa = with(&[]);
        rsa.ca.urls = vec!["https://other.test/dir".into()];
        let expected = ["has an RSA key of 4096 bits, not 2048", &format!("is of the CA {CA_URL}")];
        assert_eq!(differing(&set, &rsa), expected);
        let mut strict = with(&[ec, KeySpec::Ec("P-384".into())]);
        (strict.must_staple, strict.profile) = (true, Some("short".into()));
        let expected =
            ["has no certificate for a key of P-384", "is not must-staple", "has the profile \"none\""];
        assert_eq!(differing(&set, &strict), expected);
        let text = warning(&strict, &set, 7, "web1", "web2").unwrap();
        for part in ["md[a.test]", "generation 7", "P-384", "node web1,", "this node, web2."] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(warning(&same, &set, 7, "web1", "web2"), None);
    }
}
