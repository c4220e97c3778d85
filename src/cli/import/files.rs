// SPDX-License-Identifier: Apache-2.0
//! Pairs of key and certificate in any folder: all PEM files are read, and what belongs together is found by
//! the keys, whatever the names of the files. Issuers may stand in files of their own.

use super::found::{self, Found, FoundSet, MOST};
use crate::crypto::{Certificate, Chain, PrivateKey, sha256};
use crate::managed::bundle::Bundle;
use crate::store::outside::Tree;
use data_encoding::HEXLOWER;
use std::collections::HashMap;

const DEPTH_MAX: usize = 8;
/// Issuers that are added to a certificate without any.
const ISSUERS_MAX: usize = 5;

/// What the files have.
#[derive(Default)]
struct Pool {
    /// Keys by the fingerprints of their public halves.
    keys: HashMap<String, PrivateKey>,
    /// Chains with the files they are from.
    chains: Vec<(String, Chain)>,
    /// Files with a key that cannot be used, and why.
    unusable: Vec<(String, String)>,
    files: usize,
}

pub fn read(root: &Tree) -> Found {
    let (mut found, mut pool) = (Found::default(), Pool::default());
    walk(root, "", 0, &mut pool, &mut found);
    let mut best: HashMap<String, (String, Bundle)> = HashMap::new();
    for (file, chain) in &pool.chains {
        for leaf in chain.certificates() {
            let Some(key) = pool.keys.get(&leaf.key_fingerprint()) else { continue };
            let Some(bundle) = bundle(key, leaf, chain, &pool) else { continue };
            let length = |bundle: &Bundle| bundle.chain.certificates().len();
            let id = bundle.info.fingerprint.clone();
            if best.get(&id).is_none_or(|(_, known)| length(known) < length(&bundle)) {
                best.insert(id, (file.clone(), bundle));
            }
        }
    }
    let mut sets: Vec<_> = best.into_values().collect();
    sets.sort_by(|(one, _), (other, _)| one.cmp(other));
    let set = |(origin, bundle)| FoundSet { origin, main: None, bundle: Ok(bundle), ca_url: None };
    found.sets.extend(sets.into_iter().map(set));
    let unusable = pool.unusable.into_iter();
    found.sets.extend(unusable.map(|(origin, why)| FoundSet {
        origin,
        main: None,
        bundle: Err(why),
        ca_url: None,
    }));
    found
}

fn walk(folder: &Tree, path: &str, depth: usize, pool: &mut Pool, found: &mut Found) {
    for (name, is_folder) in folder.entries().unwrap_or_default() {
        if pool.files >= MOST {
            return;
        }
        let origin = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        if is_folder {
            let child = if depth < DEPTH_MAX { folder.child(&name) } else { None };
            child.iter().for_each(|child| walk(child, &origin, depth + 1, pool, found));
            continue;
        }
        pool.files += 1;
        // A file that cannot be read, a link for example, is as good as none: anything may lie here.
        let Ok(Some(file)) = found::read(folder, &name) else { continue };
        if !file.content.windows(11).any(|text| text == b"-----BEGIN ") {
            continue;
        }
        if let Ok(chain) = Chain::from_pem(&file.content) {
            pool.chains.push((origin.clone(), chain));
        }
        if !file.content.windows(16).any(|text| text == b"PRIVATE KEY-----") {
            continue;
        }
        match found.take_key(&origin, found::key_in(Ok(Some(file)))) {
            Ok(key) => drop(print(&key).map(|print| pool.keys.insert(print, key))),
            Err(why) => pool.unusable.push((origin, why)),
        }
    }
}

/// As [`Certificate::key_fingerprint`] has it.
fn print(key: &PrivateKey) -> Option<String> {
    Some(HEXLOWER.encode(&sha256(&key.public_der().ok()?)))
}

/// `None`: it is no certificate of a server that one could import, but one that certifies itself.
fn bundle(key: &PrivateKey, leaf: &Certificate, chain: &Chain, pool: &Pool) -> Option<Bundle> {
    if leaf.is_self_issued() {
        return None;
    }
    let mut all = vec![leaf.clone()];
    all.extend(chain.certificates().iter().filter(|other| other.der() != leaf.der()).cloned());
    let mut top = leaf.clone();
    if chain.certificates().len() == 1 {
        for _ in 0..ISSUERS_MAX {
            let others = pool.chains.iter().flat_map(|(_, chain)| chain.certificates());
            let issuer =
                others.filter(|other| !other.is_self_issued()).find(|other| top.was_issued_by(other));
            let Some(issuer) = issuer.filter(|issuer| all.iter().all(|known| known.der() != issuer.der()))
            else {
                break;
            };
            top = issuer.clone();
            all.push(issuer.clone());
        }
    }
    let spec = leaf.key_spec()?.commonly_named();
    Bundle::from_sent(spec, key.clone(), Chain::new(all).ok()?).ok().map(|(bundle, _)| bundle)
}
