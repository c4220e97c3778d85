// SPDX-License-Identifier: Apache-2.0
//! The self-signed certificate a host shows while it has no real one: made once and kept, because
//! mod_ssl is handed the same files at every start.

use super::stored_md::StoredMd;
use crate::crypto::{self, PrivateKey, self_signed};
use crate::model::{KeySpec, Md};
use crate::store::{Error, Group, StartStore};
use crate::sync::lock;
use crate::time::{DAY, Timestamp};
use std::path::PathBuf;
use std::sync::Mutex;
use zeroize::Zeroizing;

const CHAIN_STEM: &str = "fallback-pubcert";
const KEY_STEM: &str = "fallback-privkey";

/// Whether a file of that name in `domains` belongs to a fallback certificate.
pub fn is_of_fallback(file: &str) -> bool {
    file.starts_with(CHAIN_STEM) || file.starts_with(KEY_STEM)
}

/// Makes the fallback certificates of one start. They share a P-256 key, whatever keys are configured:
/// generating an RSA key for each takes a third of a second, during which the server does not answer.
#[derive(Default)]
pub struct Fallbacks {
    key: Mutex<Option<PrivateKey>>,
}

impl Fallbacks {
    /// Chain and key file of the MD's fallback certificate. A new one is made where none, of whatever key
    /// type, covers all names and is valid for another day.
    pub fn files(
        &self,
        store: &StartStore,
        md: &Md,
        stored: &StoredMd,
        now: Timestamp,
    ) -> Result<(PathBuf, PathBuf), Error> {
        let (folder, names) = (&stored.folder, &md.domains);
        let found = match usable(store, folder, md, now)? {
            Some(found) => found,
            None => self.make(store, folder, names, now)?,
        };
        let path = |stem| store.path(Group::Domains, folder, &found.file_name(stem));
        Ok((path(CHAIN_STEM)?, path(KEY_STEM)?))
    }

    fn make(
        &self,
        store: &StartStore,
        folder: &str,
        names: &[String],
        now: Timestamp,
    ) -> Result<KeySpec, Error> {
        let spec = own_spec();
        let chain_file = spec.file_name(CHAIN_STEM);
        let made = self.key(&spec).and_then(|key| {
            let chain = self_signed::fallback(names, &key, now)?;
            Ok((chain, key))
        });
        let path = store.path(Group::Domains, folder, &chain_file)?;
        let (chain, key) = made.map_err(|source| Error::Crypto { path, source })?;
        // A start with thousands of new domains would wait for the disk most of the time.
        let store = store.unsynced();
        store.write_key(Group::Domains, folder, &spec.file_name(KEY_STEM), &key)?;
        store.write_chain(Group::Domains, folder, &chain_file, &chain)?;
        Ok(spec)
    }

    fn key(&self, spec: &KeySpec) -> Result<PrivateKey, crypto::Error> {
        let mut known = lock(&self.key);
        if let Some(key) = &*known {
            return Ok(key.clone());
        }
        Ok(known.insert(PrivateKey::generate(spec)?).clone())
    }
}

fn own_spec() -> KeySpec {
    KeySpec::Ec("P-256".into())
}

fn usable(store: &StartStore, folder: &str, md: &Md, now: Timestamp) -> Result<Option<KeySpec>, Error> {
    if is_usable(store, folder, md, &own_spec(), now) {
        return Ok(Some(own_spec()));
    }
    let files = store.files(Group::Domains, folder)?;
    let mut specs = files.iter().filter_map(|file| KeySpec::of_file(file, CHAIN_STEM));
    Ok(specs.find(|spec| is_usable(store, folder, md, spec, now)))
}

/// Files that cannot be read are as good as none, and so is a key in another form than ours.
fn is_usable(store: &StartStore, folder: &str, md: &Md, spec: &KeySpec, now: Timestamp) -> bool {
    let chain = store.read_chain(Group::Domains, folder, &spec.file_name(CHAIN_STEM)).ok().flatten();
    let key = store.read(Group::Domains, folder, &spec.file_name(KEY_STEM)).ok().flatten();
    let key = key.map(Zeroizing::new);
    chain.zip(key).is_some_and(|(chain, key)| {
        let leaf = chain.leaf();
        leaf.matches_key_file(&key)
            && md.is_covered_by(&leaf.dns_names())
            && leaf.not_before() <= now
            && now.plus(DAY) <= leaf.not_after()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Chain;
    use crate::crypto::fixture::NOW;
    use crate::managed::fixture::{Lab, md};
    use crate::startup::fixture::look;

    /// A start of its own.
    fn files(lab: &Lab, md: &Md, now: Timestamp) -> (String, Chain) {
        shared(&Fallbacks::default(), lab, md, now)
    }

    fn shared(fallbacks: &Fallbacks, lab: &Lab, md: &Md, now: Timestamp) -> (String, Chain) {
        let synced = look(&lab.store, std::slice::from_ref(md)).unwrap().remove(0);
        let (chain, key) = fallbacks.files(&lab.store, md, &synced, now).unwrap();
        let file = chain.file_name().unwrap().to_str().unwrap().to_string();
        assert_eq!(key.file_name().unwrap().to_str().unwrap(), file.replace("pubcert", "privkey"));
        let chain = lab.store.read_chain(Group::Domains, &md.name, &file).unwrap().unwrap();
        assert!(chain.leaf().matches_key_file(&std::fs::read(key).unwrap()));
        (file, chain)
    }

    fn fingerprint((file, chain): (String, Chain)) -> String {
        assert_eq!(file, "fallback-pubcert.p-256.pem");
        chain.leaf().sha256_fingerprint()
    }

    #[test]
    fn a_fallback_is_kept_until_a_name_is_added_or_its_last_day() {
        let lab = Lab::new();
        let mut a = md(&["a.test"]);
        let first = fingerprint(files(&lab, &a, NOW));
        assert_eq!(fingerprint(files(&lab, &a, NOW.plus(DAY * 13))), first);
        assert_ne!(fingerprint(files(&lab, &a, NOW.plus(DAY * 13 + DAY / 2))), first);
        let second = fingerprint(files(&lab, &a, NOW.plus(DAY * 14)));
        a.domains.push("b.test".into());
        let third = fingerprint(files(&lab, &a, NOW.plus(DAY * 14)));
        assert_ne!(third, second);
        lab.store.write(Group::Domains, "a.test", "fallback-privkey.p-256.pem", b"garbage").unwrap();
        assert_ne!(fingerprint(files(&lab, &a, NOW.plus(DAY * 14))), third);
    }

    #[test]
    fn domains_of_one_start_share_a_p_256_key_whatever_their_key_settings() {
        let lab = Lab::new();
        let fallbacks = Fallbacks::default();
        let rsa = Md { key_specs: Vec::new(), ..md(&["a.test"]) };
        let both = Md { key_specs: vec![KeySpec::default(), KeySpec::Ec("P-384".into())], ..md(&["b.test"]) };
        let [a, b] = [&rsa, &both].map(|md| shared(&fallbacks, &lab, md, NOW));
        assert_eq!(a.1.leaf().public_key(), b.1.leaf().public_key());
        assert_eq!([a.1.leaf().dns_names(), b.1.leaf().dns_names()], [["a.test"], ["b.test"]]);
        assert_ne!(a.1.leaf().serial(), b.1.leaf().serial());
        assert_ne!(files(&lab, &md(&["c.test"]), NOW).1.leaf().public_key(), a.1.leaf().public_key());
    }

    #[test]
    fn a_fallback_of_any_key_type_is_kept_as_the_c_module_left_it() {
        for spec in [KeySpec::default(), KeySpec::Ec("P-384".into())] {
            let lab = Lab::new();
            let key = PrivateKey::generate(&spec).unwrap();
            let chain = self_signed::fallback(&["a.test".into()], &key, NOW).unwrap();
            let file = spec.file_name(CHAIN_STEM);
            lab.store.write_key(Group::Domains, "a.test", &spec.file_name(KEY_STEM), &key).unwrap();
            lab.store.write_chain(Group::Domains, "a.test", &file, &chain).unwrap();
            let found = files(&lab, &md(&["a.test"]), NOW);
            assert_eq!((found.0, found.1.to_pem()), (file, chain.to_pem()), "{spec:?}");
            let expired = files(&lab, &md(&["a.test"]), NOW.plus(DAY * 14));
            assert_eq!(expired.0, "fallback-pubcert.p-256.pem");
        }
    }
}
