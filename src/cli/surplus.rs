// SPDX-License-Identifier: Apache-2.0
//! What the store has of a domain, whether a configuration needs it, and its removal: certificates and keys go
//! to the archive first. Refuses what a configured domain may be served from. Asks nobody; `forget` and `gc`
//! import this file.

use super::call::Failure;
use super::site::{Site, of_store};
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
pub fn need(site: &Site, configuration: &Configuration, name: &str) -> Option<String> {
    let mds = || configuration.mds.iter().map(|planned| &planned.md);
    if let Some(md) = mds().find(|md| md.name == name) {
        return Some(format!("the configuration has md[{}]", md.name));
    }
    let own = domains(&site.store, name);
    let shares = |md: &&Md| md.domains.iter().any(|theirs| own.iter().any(|ours| is_same(ours, theirs)));
    let is_without = |md: &&Md| !has_certificate(&site.store, &md.name);
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
pub fn remove(site: &Site, holdings: &Holdings<'_>, is_purged: bool) -> Result<(), Failure> {
    remove_from(&site.store, holdings, is_purged).map_err(|error| of_store(&site.dir, &error))
}

fn remove_from(store: &StartStore, holdings: &Holdings<'_>, is_purged: bool) -> Result<(), Error> {
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
