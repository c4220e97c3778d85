// SPDX-License-Identifier: Apache-2.0
//! The sets in use that `fleet/` has no copy of: from before the fleet, or put there by an operator. Read with
//! their keys, which children cannot read in `domains/`, so that a child can share them. Looks at the times of
//! files first: a start with ten thousand domains opens none that it has looked at before. Changes nothing but
//! these times.

use crate::crypto::CertInfo;
use crate::fleet::local::stored::{is_shared, parsed};
use crate::managed::Managed;
use crate::managed::bundle::{self, Bundle};
use crate::managed::peers::{SharedCert, SharedSet};
use crate::managed::staging::file::CHAIN_STEM;
use crate::model::KeySpec;
use crate::store::{Group, StartStore};
use std::collections::BTreeSet;

/// By the names of their MDs.
pub fn unshared(store: &StartStore, mds: &[Managed]) -> Vec<(String, SharedSet)> {
    let shared = mds.iter().filter(|managed| is_shared(managed));
    shared
        .filter_map(|managed| Some((managed.md.name.clone(), set_without_mirror(store, managed)?)))
        .collect()
}

fn set_without_mirror(store: &StartStore, managed: &Managed) -> Option<SharedSet> {
    let name = &managed.md.name;
    let certs: Vec<(&KeySpec, &CertInfo)> = managed.certs.by_key().collect();
    if certs.is_empty() || has_newer_mirror(store, name, &certs) {
        return None;
    }
    if is_mirrored(store, name, &certs) {
        // Without it, the next start compares again.
        if let Err(error) = store.touch_fleet_set(name) {
            crate::log!(Debug, "md[{name}]: {error}");
        }
        return None;
    }
    let load = |(spec, _): &(&KeySpec, &CertInfo)| bundle::load(store, Group::Domains, name, spec);
    match certs.iter().map(load).collect::<Result<Vec<_>, _>>() {
        Ok(bundles) => Some(set_of(managed, bundles)),
        Err(flaw) => {
            crate::log!(Warn, "md[{name}]: the certificates in use cannot be shared with the fleet: {flaw}");
            None
        }
    }
}

/// Whether the copy was written, or looked at, after the certificates came into use.
fn has_newer_mirror(store: &StartStore, name: &str, certs: &[(&KeySpec, &CertInfo)]) -> bool {
    let Some(mirrored) = store.fleet_set_modified(name) else { return false };
    let modified = |spec: &KeySpec| store.modified(Group::Domains, name, &spec.file_name(CHAIN_STEM));
    certs.iter().all(|(spec, _)| modified(spec).is_ok_and(|at| at.is_some_and(|at| at <= mirrored)))
}

/// Whether the copy has just these certificates.
fn is_mirrored(store: &StartStore, name: &str, certs: &[(&KeySpec, &CertInfo)]) -> bool {
    let Ok(Some(content)) = store.read_fleet_set(name) else { return false };
    let Some((of, set)) = parsed(&content) else { return false };
    let kept: BTreeSet<String> =
        set.set.certs.iter().map(|cert| cert.chain.leaf().sha256_fingerprint()).collect();
    of == *name && kept == certs.iter().map(|(_, cert)| cert.fingerprint.clone()).collect()
}

fn set_of(managed: &Managed, bundles: Vec<Bundle>) -> SharedSet {
    let md = &managed.md;
    let names: BTreeSet<String> = bundles.iter().flat_map(|bundle| bundle.chain.leaf().dns_names()).collect();
    SharedSet {
        ca: md.ca.url.clone().or_else(|| md.ca.urls.first().cloned()).unwrap_or_default(),
        names: names.into_iter().collect(),
        must_staple: bundles.iter().all(|bundle| bundle.chain.leaf().must_staple()),
        profile: md.profile.clone(),
        certs: bundles
            .into_iter()
            .map(|Bundle { spec, key, chain, .. }| SharedCert { spec, key, chain })
            .collect(),
        renew_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::fleet::key::Key;
    use crate::fleet::record::{Record, Set};
    use crate::managed::fixture::{Lab, md};
    use crate::managed::serve::Certs;
    use crate::model::Md;
    use crate::time::Timestamp;
    use serde_json::json;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    const SPEC: fn() -> KeySpec = || KeySpec::Ec("P-256".into());

    /// An MD with a set in use.
    fn installed(lab: &Lab, name: &str) -> Managed {
        let md = Md { key_specs: vec![SPEC()], ..md(&[name]) };
        lab.install(&md);
        let (certs, _) = bundle::look(&lab.store, name, &md);
        Managed { md, certs, watched: true, ..Managed::default() }
    }

    fn keep(lab: &Lab, name: &str, set: &SharedSet) {
        let record = Record::Set(Set { set: set.clone(), generation: 1, published: NOW });
        let json = json!({"name": name, "set": record.to_json(&Key::Set(name.into())).unwrap()});
        lab.store.worker().write_fleet_set(name, json.to_string().as_bytes()).unwrap();
    }

    /// The time of the mirror is so long before that of the certificates in use.
    fn age(lab: &Lab, before: Duration) {
        for entry in std::fs::read_dir(lab.root().join("fleet")).unwrap() {
            let time = SystemTime::now() - before;
            File::options().append(true).open(entry.unwrap().path()).unwrap().set_modified(time).unwrap();
        }
    }

    #[test]
    fn a_set_without_mirror_is_read_with_its_key_until_it_has_one() {
        let lab = Lab::new();
        lab.store.make_fleet_folder().unwrap();
        let (a, b) = (installed(&lab, "a.test"), installed(&lab, "b.test"));
        let mds = [a, b];
        let found = unshared(&lab.store, &mds);
        let [(first, set), (second, _)] = &found[..] else { panic!("{}", found.len()) };
        assert_eq!((first.as_str(), second.as_str()), ("a.test", "b.test"));
        assert!(set.names == ["a.test"] && set.ca == mds[0].md.ca.urls[0] && !set.must_staple);
        let [cert] = &set.certs[..] else { panic!() };
        assert!(cert.chain.leaf().matches_key(&cert.key) && cert.spec == SPEC());
        keep(&lab, "a.test", set);
        let names =
            |found: Vec<(String, SharedSet)>| found.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(unshared(&lab.store, &mds)), ["b.test"]);
    }

    #[test]
    fn a_mirror_older_than_the_set_is_compared_once() {
        let lab = Lab::new();
        lab.store.make_fleet_folder().unwrap();
        let mds = [installed(&lab, "a.test")];
        let (_, set) = unshared(&lab.store, &mds).remove(0);
        keep(&lab, "a.test", &set);
        age(&lab, Duration::from_secs(3600));
        let before = lab.store.fleet_set_modified("a.test").unwrap();
        assert!(unshared(&lab.store, &mds).is_empty());
        let after = lab.store.fleet_set_modified("a.test").unwrap();
        assert!(before < after, "{before:?}");
        assert!(unshared(&lab.store, &mds).is_empty());
        assert_eq!(lab.store.fleet_set_modified("a.test"), Some(after), "its time tells enough");
        // An operator has put another set in its place.
        age(&lab, Duration::from_secs(3600));
        let mds = [installed(&lab, "a.test")];
        let (_, other) = unshared(&lab.store, &mds).remove(0);
        let print = |set: &SharedSet| set.certs[0].chain.leaf().sha256_fingerprint();
        assert_ne!(print(&other), print(&set));
        assert!(lab.store.fleet_set_modified("a.test").unwrap() < after);
    }

    #[test]
    fn sets_that_nobody_renews_here_and_mirrors_that_cannot_be_read_do_no_harm() {
        let lab = Lab::new();
        lab.store.make_fleet_folder().unwrap();
        let mut managed = installed(&lab, "a.test");
        lab.store.worker().write_fleet_set("a.test", b"garbage").unwrap();
        age(&lab, Duration::from_secs(3600));
        assert_eq!(unshared(&lab.store, std::slice::from_ref(&managed)).len(), 1);
        // Where it is renewed by hand, it is the fleet's all the same.
        managed.watched = false;
        assert_eq!(unshared(&lab.store, std::slice::from_ref(&managed)).len(), 1);
        // Certificates of the admin's are not.
        managed.md.ca.urls.clear();
        assert!(unshared(&lab.store, std::slice::from_ref(&managed)).is_empty());
        let md = md(&["b.test"]);
        let bare = Managed { md, certs: Certs::default(), watched: true, ..Managed::default() };
        assert!(unshared(&lab.store, &[bare]).is_empty());
        assert_eq!(lab.store.fleet_set_modified("b.test"), None::<Timestamp>);
    }
}
