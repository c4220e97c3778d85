// SPDX-License-Identifier: Apache-2.0
//! What the store has of a domain, whether a configuration needs it, and its removal: certificates and keys go
//! to the archive first. Refuses what a configured domain may be served from. Asks nobody; `forget` and `gc`
//! import this file.

use crate::challenge::answers;
use crate::config::Configuration;
use crate::managed::bundle::{self, Bundle};
use crate::managed::staging::file;
use crate::managed::{published, staging::file::CHAIN_STEM};
use crate::model::{KeySpec, Md};
use crate::names;
use crate::startup::accounts::Accounts;
use crate::store::whole::{Entry, Place, Sort, Survey};
use crate::store::{Error, Group, StartStore};
use std::collections::BTreeMap;

/// The files that the store has of one domain.
pub struct Holdings<'a> {
    pub name: String,
    pub entries: Vec<&'a Entry>,
}

/// The domain that an entry belongs to.
pub fn domain_of(entry: &Entry) -> Option<String> {
    match entry.place.as_ref()? {
        Place::Folder(Group::Archive, folder) | Place::File(Group::Archive, folder, _) => {
            folder.rsplit_once('.').map(|(name, _)| name.to_string())
        }
        Place::Folder(Group::Domains | Group::Staging | Group::Ocsp | Group::Tmp, name)
        | Place::File(Group::Domains | Group::Staging | Group::Ocsp | Group::Tmp, name, _) => {
            Some(name.clone())
        }
        Place::FlatFile(flat, file) if flat.is_by_name => file.strip_suffix(".json").map(String::from),
        _ => None,
    }
}

impl<'a> Holdings<'a> {
    pub fn of(survey: &'a Survey, name: &str) -> Self {
        let is_own = |entry: &&Entry| domain_of(entry).as_deref() == Some(name);
        Holdings { name: name.to_string(), entries: survey.entries.iter().filter(is_own).collect() }
    }

    /// Those of all domains, by name.
    pub fn all(survey: &'a Survey) -> BTreeMap<String, Holdings<'a>> {
        let mut all: BTreeMap<String, Holdings<'a>> = BTreeMap::new();
        for entry in &survey.entries {
            if let Some(name) = domain_of(entry) {
                let new = || Holdings { name: name.clone(), entries: Vec::new() };
                all.entry(name.clone()).or_insert_with(new).entries.push(entry);
            }
        }
        all
    }

    /// Bytes of its files in these places; all without any.
    pub fn size(&self, groups: &[Group]) -> u64 {
        let counts = |entry: &&&Entry| match &entry.place {
            Some(Place::File(group, ..)) => groups.is_empty() || groups.contains(group),
            _ => groups.is_empty(),
        };
        let files = self.entries.iter().filter(counts).filter(|entry| entry.sort == Sort::File);
        files.map(|entry| entry.size).sum()
    }

    /// Its folders, and its files that are in none.
    pub fn folders(&self) -> Vec<&'a Entry> {
        let is_top = |entry: &&&Entry| matches!(entry.place, Some(Place::Folder(..) | Place::FlatFile(..)));
        self.entries.iter().filter(is_top).copied().collect()
    }

    pub fn has(&self, group: Group) -> bool {
        let is_there =
            |entry: &&Entry| matches!(&entry.place, Some(Place::Folder(found, _)) if *found == group);
        self.entries.iter().any(is_there)
    }
}

/// Why a configuration needs what the store has of `name`; `None`: nothing of it is used.
pub fn need(store: &StartStore, configuration: &Configuration, name: &str) -> Option<String> {
    let mds = || configuration.mds.iter().map(|planned| &planned.md);
    if let Some(md) = mds().find(|md| md.name == name) {
        return Some(format!("the configuration has md[{}]", md.name));
    }
    let own = domains(store, name);
    let shares = |md: &&Md| md.domains.iter().any(|theirs| own.iter().any(|ours| is_same(ours, theirs)));
    let is_without = |md: &&Md| !has_certificate(store, &md.name);
    let heir = mds().filter(shares).find(is_without)?;
    Some(format!(
        "md[{}] has some of its names and no certificate yet: it may be served with these",
        heir.name
    ))
}

fn is_same(one: &str, other: &str) -> bool {
    one == other || names::covers(one, other) || names::covers(other, one)
}

/// All names of the domain, and of the certificates in its folder.
fn domains(store: &StartStore, name: &str) -> Vec<String> {
    let md = store.read_json(Group::Domains, name, bundle::MD_FILE).ok().flatten();
    let mut found = md.as_ref().and_then(Md::from_json).map(|md| md.domains).unwrap_or_default();
    found.push(name.to_string());
    let files = store.files(Group::Domains, name).unwrap_or_default();
    let chains = files.iter().filter(|file| KeySpec::of_file(file, CHAIN_STEM).is_some());
    let chains = chains.filter_map(|file| store.read_chain(Group::Domains, name, file).ok()?);
    found.extend(chains.flat_map(|chain| chain.leaf().dns_names()));
    found
}

fn has_certificate(store: &StartStore, name: &str) -> bool {
    let files = store.files(Group::Domains, name).unwrap_or_default();
    let mut kinds = files.iter().filter_map(|file| KeySpec::of_file(file, CHAIN_STEM));
    kinds.any(|spec| bundle::load(store, Group::Domains, name, &spec).is_ok())
}

/// Removes what the store has of `name`. Unless `is_purged`, certificates and keys are in the archive then, with
/// all that were there. Accounts that wait in its folder move to the others. Ends with the folder in `domains`:
/// after an interruption the next call goes on.
pub fn remove(store: &StartStore, holdings: &Holdings<'_>, is_purged: bool) -> Result<(), Error> {
    let name = &holdings.name;
    Accounts::read(store)?.adopt(store, name, &|_, _| false)?;
    let own = domains(store, name);
    for domain in own.iter().map(|domain| domain.strip_prefix("*.").unwrap_or(domain)) {
        let folder = answers::Folder { store, group: Group::Challenges, name: domain };
        // A challenge without a note may be another's.
        if folder.owners().contains(name) {
            folder.remove(name)?;
        }
    }
    if !is_purged {
        archive_staged(store, name)?;
    }
    for entry in holdings.entries.iter().filter(|entry| matches!(entry.place, Some(Place::FlatFile(..)))) {
        store.remove_entry(entry)?;
    }
    for group in [Group::Staging, Group::Ocsp, Group::Tmp].into_iter().filter(|group| holdings.has(*group)) {
        store.purge(group, name)?;
    }
    if is_purged {
        for entry in holdings.folders() {
            if let Some(Place::Folder(Group::Archive, folder)) = &entry.place {
                store.purge(Group::Archive, folder)?;
            }
        }
        return store.purge(Group::Domains, name);
    }
    if store.exists(Group::Domains, name)? {
        store.rename(Group::Domains, name, Group::Archive, &free_folder(store, name)?)?;
    }
    Ok(())
}

/// A set that waits in staging has keys that are nowhere else.
fn archive_staged(store: &StartStore, name: &str) -> Result<(), Error> {
    let mut waiting: Vec<(Vec<Bundle>, Md)> = Vec::new();
    if let Ok(Some((live, _))) = published::read_at_start(store, name) {
        waiting.push((live.sets, live.md));
    }
    let md = store.read_json(Group::Staging, name, file::MD).ok().flatten();
    if let Some(md) = md.as_ref().and_then(Md::from_json) {
        let load = |spec| bundle::load(store, Group::Staging, name, &spec).ok();
        let sets: Vec<Bundle> = md.keys().into_iter().filter_map(load).collect();
        waiting.push((sets, md));
    }
    for (sets, md) in waiting {
        let is_in_use = |set: &Bundle| {
            let used = bundle::load(store, Group::Domains, name, &set.spec);
            used.is_ok_and(|used| used.info.fingerprint == set.info.fingerprint)
        };
        if sets.is_empty() || sets.iter().all(is_in_use) {
            continue;
        }
        let folder = free_folder(store, name)?;
        for set in &sets {
            bundle::write(store, Group::Archive, &folder, set)?;
        }
        store.write_json(Group::Archive, &folder, bundle::MD_FILE, &md.to_json())?;
    }
    Ok(())
}

/// The number after the highest, as a start counts.
fn free_folder(store: &StartStore, name: &str) -> Result<String, Error> {
    let folders = store.names(Group::Archive)?;
    let numbers = folders.iter().filter_map(|folder| folder.rsplit_once('.')).filter(|(own, _)| *own == name);
    let highest = numbers.filter_map(|(_, number)| number.parse::<u32>().ok()).max().unwrap_or_default();
    Ok(format!("{name}.{}", highest.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PlannedMd;
    use crate::managed::fixture::{Lab, account, md};
    use crate::store::Fuse;
    use std::collections::BTreeSet;

    fn configuration(mds: &[&[&str]]) -> Configuration {
        let planned = |names: &&[&str]| PlannedMd { md: md(names), ..PlannedMd::default() };
        Configuration { mds: mds.iter().map(planned).collect(), ..Configuration::default() }
    }

    /// The public keys of everything in the archive and in `domains`.
    fn keys(store: &StartStore, name: &str) -> BTreeSet<String> {
        let archived =
            store.names(Group::Archive).unwrap().into_iter().map(|folder| (Group::Archive, folder));
        let places = archived.chain([(Group::Domains, name.to_string()), (Group::Staging, name.to_string())]);
        let spec = md(&[name]).keys().remove(0);
        let sets = places.filter_map(|(group, folder)| bundle::load(store, group, &folder, &spec).ok());
        sets.map(|set| set.chain.leaf().key_fingerprint()).collect()
    }

    #[test]
    fn what_a_configured_domain_has_or_may_be_served_from_is_needed() {
        let lab = Lab::new();
        lab.install(&md(&["old.test", "www.old.test"]));
        lab.install(&md(&["has.test"]));
        for (mds, needed) in [
            (&[&["old.test"][..]][..], true),
            (&[&["new.test", "www.old.test"]], true),
            (&[&["*.old.test"]], true),
            (&[&["has.test", "www.old.test"]], false),
            (&[&["other.test"]], false),
            (&[], false),
        ] {
            assert_eq!(need(&lab.store, &configuration(mds), "old.test").is_some(), needed, "{mds:?}");
        }
    }

    #[test]
    fn a_removed_domain_has_its_keys_in_the_archive_wherever_the_removal_ended() {
        for steps in 0.. {
            let (lab, a) = (Lab::new(), md(&["a.test"]));
            lab.install(&a);
            lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
            lab.stage_account("a.test", &account(1));
            lab.store.write(Group::Ocsp, "a.test", "job.json", b"{}").unwrap();
            let challenges = answers::Folder { store: &lab.store, group: Group::Challenges, name: "a.test" };
            challenges.put_http("a.test", "one.x").unwrap();
            lab.store.write(Group::Challenges, "b.test", "acme-http-01.txt", b"x").unwrap();
            let before = keys(&lab.store, "a.test");
            assert_eq!(before.len(), 2);
            let dying = StartStore::open_existing_with(&lab.root(), Fuse::after(steps)).unwrap();
            let survey = lab.store.survey(None).unwrap();
            let is_done = remove(&dying, &Holdings::of(&survey, "a.test"), false).is_ok();
            assert_eq!(keys(&lab.store, "a.test"), before, "after {steps} steps");
            let survey = lab.store.survey(None).unwrap();
            remove(&lab.store, &Holdings::of(&survey, "a.test"), false).unwrap();
            assert_eq!(keys(&lab.store, "a.test"), before);
            for group in [Group::Domains, Group::Staging, Group::Ocsp] {
                assert_eq!(lab.store.names(group).unwrap(), [""; 0], "{group:?}");
            }
            // An answer whose note is gone may be another's. A start removes it.
            let left = lab.store.names(Group::Challenges).unwrap();
            assert!(left == ["b.test"] || (!is_done && left == ["a.test", "b.test"]), "{left:?}");
            assert_eq!(lab.store.names(Group::Accounts).unwrap().len(), 1, "the account that waited stays");
            if is_done {
                assert!(steps > 10);
                return;
            }
        }
    }

    #[test]
    fn purged_is_all_of_that_domain_and_nothing_else() {
        let lab = Lab::new();
        for name in ["a.test", "b.test"] {
            lab.install(&md(&[name]));
            lab.store.rename(Group::Domains, name, Group::Archive, &format!("{name}.1")).unwrap();
            lab.install(&md(&[name]));
        }
        let survey = lab.store.survey(None).unwrap();
        remove(&lab.store, &Holdings::of(&survey, "a.test"), true).unwrap();
        assert_eq!(lab.store.names(Group::Domains).unwrap(), ["b.test"]);
        assert_eq!(lab.store.names(Group::Archive).unwrap(), ["b.test.1"]);
    }
}
