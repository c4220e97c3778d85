//! The self-signed certificate a host shows while it has no real one: made once and kept, because
//! mod_ssl is handed the same files at every start.

use super::sync::SyncedMd;
use crate::crypto::{PrivateKey, self_signed};
use crate::model::KeySpec;
use crate::store::{Error, Group, StartStore};
use crate::time::{DAY, Timestamp};
use std::path::PathBuf;

const CHAIN_STEM: &str = "fallback-pubcert";
const KEY_STEM: &str = "fallback-privkey";

/// Whether a file of that name in `domains` belongs to a fallback certificate.
pub fn is_of_fallback(file: &str) -> bool {
    file.starts_with(CHAIN_STEM) || file.starts_with(KEY_STEM)
}

/// Chain and key file of the fallback certificate for `spec`. It is made anew where there is none, it
/// does not serve all names, or less than a day of it is left.
pub fn files(
    store: &StartStore,
    synced: &SyncedMd,
    spec: &KeySpec,
    now: Timestamp,
) -> Result<(PathBuf, PathBuf), Error> {
    let (chain_file, key_file) = (spec.file_name(CHAIN_STEM), spec.file_name(KEY_STEM));
    let folder = &synced.folder;
    let paths =
        (store.path(Group::Domains, folder, &chain_file)?, store.path(Group::Domains, folder, &key_file)?);
    if is_usable(store, synced, &chain_file, &key_file, now) {
        return Ok(paths);
    }
    let made = PrivateKey::generate(spec)
        .and_then(|key| Ok((self_signed::fallback(&synced.md.domains, &key, now)?, key)));
    let (chain, key) = made.map_err(|source| Error::Crypto { path: paths.0.clone(), source })?;
    // A start with thousands of new domains would wait for the disk most of the time.
    let store = store.unsynced();
    store.write_key(Group::Domains, folder, &key_file, &key)?;
    store.write_chain(Group::Domains, folder, &chain_file, &chain)?;
    Ok(paths)
}

/// Files that cannot be read are as good as none, and so is a key in another form than ours.
fn is_usable(
    store: &StartStore,
    synced: &SyncedMd,
    chain_file: &str,
    key_file: &str,
    now: Timestamp,
) -> bool {
    let chain = store.read_chain(Group::Domains, &synced.folder, chain_file).ok().flatten();
    let key = store.read(Group::Domains, &synced.folder, key_file).ok().flatten();
    chain.zip(key).is_some_and(|(chain, key)| {
        let leaf = chain.leaf();
        leaf.matches_key_file(&key)
            && synced.md.is_covered_by(&leaf.dns_names())
            && leaf.not_before() <= now
            && now.plus(DAY) <= leaf.not_after()
    })
}

#[cfg(test)]
mod tests {
    use super::super::sync::look;
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::model::Md;

    #[test]
    fn a_fallback_is_kept_until_a_name_is_added_or_its_last_day() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(dir.path(), None).unwrap();
        let mut md = Md { name: "a.test".into(), domains: vec!["a.test".into()], ..Md::default() };
        let spec = KeySpec::Ec("P-256".into());
        let fingerprint = |md: &Md, now| {
            let synced = look(&store, std::slice::from_ref(md)).unwrap().remove(0);
            let (chain, _) = files(&store, &synced, &spec, now).unwrap();
            assert!(chain.ends_with("domains/a.test/fallback-pubcert.p-256.pem"));
            let file = "fallback-pubcert.p-256.pem";
            let chain = store.read_chain(Group::Domains, "a.test", file).unwrap().unwrap();
            chain.leaf().sha256_fingerprint()
        };
        let first = fingerprint(&md, NOW);
        assert_eq!(fingerprint(&md, NOW.plus(DAY * 13)), first);
        assert_ne!(fingerprint(&md, NOW.plus(DAY * 13 + DAY / 2)), first);
        let second = fingerprint(&md, NOW.plus(DAY * 14));
        md.domains.push("b.test".into());
        let third = fingerprint(&md, NOW.plus(DAY * 14));
        assert_ne!(third, second);
        store.write(Group::Domains, "a.test", "fallback-privkey.p-256.pem", b"garbage").unwrap();
        assert_ne!(fingerprint(&md, NOW.plus(DAY * 14)), third);
    }
}
