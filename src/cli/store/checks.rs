// SPDX-License-Identifier: Apache-2.0
//! What is wrong in a store: damaged content, owners and modes, and what processes have left. Changes nothing;
//! imports `threads` alone of this room.

use crate::cli::site::threads::in_threads;
use crate::managed::staging::file::{self, ACCOUNTS, CHAIN_STEM, JOB, KEY_STEM, LIVE};
use crate::managed::{bundle, published};
use crate::model::{Job, KeySpec, Md};
use crate::store::whole::{Entry, Leftover, Place, Rights, Sort, Survey};
use crate::store::{Error, Group, StartStore};
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Younger ones may be those of a process at work.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);
/// A start swaps a set within milliseconds.
const SWAP_AGE: Duration = Duration::from_secs(60);
const FALLBACK_KEY: &str = "fallback-privkey";
const FALLBACK_CHAIN: &str = "fallback-pubcert";

/// Something that is wrong.
pub struct Fault {
    /// Below the store's folder.
    pub path: String,
    pub what: String,
    /// A stable word for programs.
    pub kind: &'static str,
    pub mend: Option<Mend>,
}

/// What `--repair` does about it.
pub enum Mend {
    Rights(Entry, Rights),
    Remove(Entry),
    /// Ends a swap as a start does.
    EndSwaps,
}

impl Fault {
    fn new(path: impl Into<String>, kind: &'static str, what: impl Into<String>) -> Self {
        Fault { path: path.into(), what: what.into(), kind, mend: None }
    }

    fn mended_by(self, mend: Mend) -> Self {
        Fault { mend: Some(mend), ..self }
    }

    pub fn to_json(&self) -> Value {
        json!({"path": self.path, "kind": self.kind, "problem": self.what, "repairable": self.mend.is_some()})
    }
}

/// Everything that is wrong.
pub fn all(store: &StartStore, survey: &Survey, now: Timestamp) -> Result<Vec<Fault>, Error> {
    let mut found = content(store, survey);
    found.extend(interrupted(survey, now));
    found.extend(survey.entries.iter().filter_map(|entry| outward(entry, survey, now)));
    Ok(found)
}

/// What is wrong with the content of files.
pub fn damage(store: &StartStore) -> Result<Vec<Fault>, Error> {
    Ok(content(store, &store.survey(None)?))
}

/// An entry that should not be there, or has the wrong rights.
fn outward(entry: &Entry, survey: &Survey, now: Timestamp) -> Option<Fault> {
    let path = entry.path.clone();
    if let Some(leftover) = entry.leftover() {
        let is_old = now.since(entry.changed) > LEFTOVER_AGE;
        let what = match leftover {
            Leftover::Temporary => "a file that was not completed: a process ended while it wrote it",
            Leftover::SetAside => "a folder that a start has set aside because removing it takes long",
        };
        return is_old.then(|| Fault::new(path, "leftover", what).mended_by(Mend::Remove(entry.clone())));
    }
    let Some(place) = &entry.place else {
        return Some(Fault::new(
            path,
            "stray",
            "no file of the store has this name: look who has put it there",
        ));
    };
    if entry.sort == Sort::Link && !place.is_of_workers() {
        return None;
    }
    if let Some((kind, what)) = misplaced(entry, place) {
        return Some(Fault::new(path, kind, what));
    }
    let rights = entry.wrong_rights(survey.holders)?;
    let mut what = Vec::new();
    if rights.uid != entry.uid {
        what.push(format!("its owner is user {}, expected {}", entry.uid, rights.uid));
    }
    if rights.mode != entry.mode {
        what.push(format!("its mode is {:04o}, expected {:04o}", entry.mode, rights.mode));
    }
    let kind = "rights";
    Some(Fault::new(path, kind, what.join("; ")).mended_by(Mend::Rights(entry.clone(), rights)))
}

/// What is not of the kind that its place is for.
fn misplaced(entry: &Entry, place: &Place) -> Option<(&'static str, &'static str)> {
    match entry.sort {
        Sort::Link => Some(("link", "a symbolic link, which is not followed where httpd's User writes")),
        Sort::Other => Some(("stray", "neither a file nor a folder")),
        Sort::File if place.is_folder() => Some(("stray", "a file in place of a folder")),
        Sort::Folder if !place.is_folder() => Some(("stray", "a folder in place of a file")),
        Sort::File | Sort::Folder if entry.has_other_names && place.is_of_workers() => {
            Some(("link", "it has another name elsewhere (a hard link): replace it by a copy"))
        }
        Sort::File | Sort::Folder => None,
    }
}

/// Swaps that a process has not ended: `tmp` has the set, and `domains` has not.
fn interrupted(survey: &Survey, now: Timestamp) -> Vec<Fault> {
    let folders = |wanted: Group| {
        survey.entries.iter().filter_map(move |entry| match &entry.place {
            Some(Place::Folder(group, name)) if *group == wanted => Some((name.as_str(), entry)),
            _ => None,
        })
    };
    let in_use: BTreeSet<&str> = folders(Group::Domains).map(|(name, _)| name).collect();
    let is_md = |entry: &&Entry| entry.path.starts_with("tmp/") && entry.path.ends_with("/md.json");
    let described: BTreeSet<&str> =
        survey.entries.iter().filter(is_md).map(|entry| entry.path.as_str()).collect();
    let has_md = |name: &str| described.contains(format!("tmp/{name}/md.json").as_str());
    let lost = folders(Group::Tmp).filter(|(name, entry)| {
        !in_use.contains(name) && now.since(entry.changed) > SWAP_AGE && has_md(name)
    });
    let what = "an activation was interrupted: this set is to come into use";
    lost.map(|(_, entry)| Fault::new(&*entry.path, "interrupted", what).mended_by(Mend::EndSwaps)).collect()
}

fn content(store: &StartStore, survey: &Survey) -> Vec<Fault> {
    let files: Vec<&Entry> = survey.entries.iter().filter(|entry| entry.sort != Sort::Folder).collect();
    let mut folders: BTreeMap<(&'static str, &str), (Group, Vec<&str>)> = BTreeMap::new();
    for entry in &files {
        if let Some(Place::File(group, name, file)) = &entry.place {
            let files = folders.entry((group.dir_name(), name)).or_insert((*group, Vec::new()));
            files.1.push(file);
        }
    }
    let folders: Vec<_> = folders.into_iter().collect();
    let of_file = |entry: &&Entry| entry_fault(store, entry);
    let of_folder = |((dir, name), (group, files)): &((&'static str, &str), (Group, Vec<&str>))| {
        let faults = folder_faults(store, *group, name, files).into_iter();
        faults.map(|what| Fault::new(format!("{dir}/{name}"), "damage", what)).collect::<Vec<_>>()
    };
    let mut found: Vec<Fault> = in_threads(&files, &of_file).into_iter().flatten().collect();
    found.extend(in_threads(&folders, &of_folder).into_iter().flatten());
    found
}

fn entry_fault(store: &StartStore, entry: &Entry) -> Option<Fault> {
    let what = match &entry.place {
        // What workers may not follow is told as such.
        Some(Place::File(group, name, file)) if entry.sort == Sort::File || !is_of_workers(entry) => {
            file_fault(store, *group, name, file)
        }
        Some(Place::Root(_) | Place::FlatFile(..)) if entry.path.ends_with(".json") => {
            flat_fault(store, entry)
        }
        _ => None,
    };
    what.map(|what| damaged(entry, what))
}

fn damaged(entry: &Entry, what: String) -> Fault {
    Fault::new(entry.path.clone(), "damage", what)
}

/// Whether a file reads as what its name says.
fn file_fault(store: &StartStore, group: Group, name: &str, file: &str) -> Option<String> {
    let is_key = file.ends_with(".pem") && (file.contains("privkey") || file.starts_with("account"));
    let outcome = if file.ends_with(".json") {
        store.read_json(group, name, file).map(drop)
    } else if is_key {
        store.read_key(group, name, file).map(drop)
    } else if file.ends_with(".pem") && file.contains("pubcert") {
        store.read_chain(group, name, file).map(drop)
    } else {
        store.read(group, name, file).map(drop)
    };
    outcome.err().map(|error| reason(&error))
}

fn reason(error: &Error) -> String {
    match error {
        Error::Garbage { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

/// Files beside the folders of domains and accounts.
fn flat_fault(store: &StartStore, entry: &Entry) -> Option<String> {
    let sealed = entry.path.strip_prefix("dns/");
    let opened = match sealed {
        Some(file) => store.worker().read_sealed(file).map(drop).map_err(|error| reason(&error)),
        None => match store.read_entry(entry) {
            Ok(None) => Ok(()),
            Ok(Some(content)) => {
                serde_json::from_slice::<Value>(&content).map(drop).map_err(|error| error.to_string())
            }
            Err(error) => Err(reason(&error)),
        },
    };
    opened.err()
}

/// What does not go together in a folder.
fn folder_faults(store: &StartStore, group: Group, name: &str, files: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    if matches!(group, Group::Domains | Group::Archive | Group::Staging) {
        let kinds = files.iter().filter_map(|file| KeySpec::of_file(file, CHAIN_STEM));
        found.extend(kinds.filter_map(|spec| pair_fault(store, group, name, &spec, KEY_STEM, CHAIN_STEM)));
    }
    match group {
        Group::Domains => {
            let kinds = files.iter().filter_map(|file| KeySpec::of_file(file, FALLBACK_CHAIN));
            let fault = |spec| pair_fault(store, group, name, &spec, FALLBACK_KEY, FALLBACK_CHAIN);
            found.extend(kinds.filter_map(fault));
        }
        Group::Staging => {
            found.extend(staged_fault(store, name));
            if files.contains(&LIVE) {
                found.extend(published::read_at_start(store, name).err().map(|flaw| flaw.to_string()));
            }
            found.extend(ACCOUNTS.iter().filter_map(|(json, key)| half_account(files, json, key)));
        }
        Group::Accounts => found.extend(account_fault(store, name, files)),
        _ => {}
    }
    found
}

/// Files that cannot be read at all are told one by one.
fn pair_fault(
    store: &StartStore,
    group: Group,
    name: &str,
    spec: &KeySpec,
    key: &str,
    chain: &str,
) -> Option<String> {
    let (key_file, chain_file) = (spec.file_name(key), spec.file_name(chain));
    let chain = store.read_chain(group, name, &chain_file).ok()??;
    match store.read_key(group, name, &key_file) {
        Ok(Some(key)) if !chain.leaf().matches_key(&key) => {
            Some(format!("{chain_file} does not belong to {key_file}"))
        }
        Ok(Some(key)) => (!chain.leaf().is_proven_by(&key)).then(|| {
            format!("{key_file} is damaged: what it signs does not fit {chain_file}, nor its own public key")
        }),
        Ok(None) => Some(format!("{chain_file} has no private key: {key_file} is missing")),
        Err(_) => None,
    }
}

/// Whether somebody has changed a complete set.
fn staged_fault(store: &StartStore, name: &str) -> Option<String> {
    let read = |file| store.read_json(Group::Staging, name, file).ok().flatten();
    let job = Job::from_json(name, &read(JOB)?).filter(|job| job.finished)?;
    let md = Md::from_json(&read(file::MD)?)?;
    let sets = md.keys().into_iter().map(|spec| bundle::load(store, Group::Staging, name, &spec));
    // One that is not complete starts over.
    let sets = sets.collect::<Result<Vec<_>, _>>().ok()?;
    bundle::trial(store, &job, &md, &sets).err().map(|flaw| flaw.to_string())
}

fn half_account(files: &[&str], json: &str, key: &str) -> Option<String> {
    match (files.contains(&json), files.contains(&key)) {
        (true, false) => Some(format!("the account in {json} has no key: {key} is missing")),
        _ => None,
    }
}

fn account_fault(store: &StartStore, name: &str, files: &[&str]) -> Option<String> {
    let (json, key) = ACCOUNTS.first()?;
    for file in [json, key] {
        if !files.contains(file) {
            return Some(format!("the account is not complete: {file} is missing"));
        }
    }
    let account = store.read_json(Group::Accounts, name, json).ok()??;
    let missing =
        ["url", "ca-url"].into_iter().find(|field| account.get(field).and_then(Value::as_str).is_none());
    missing.map(|field| format!("the account is not complete: {json} has no '{field}'"))
}

fn is_of_workers(entry: &Entry) -> bool {
    entry.place.as_ref().is_some_and(Place::is_of_workers)
}
