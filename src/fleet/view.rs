// SPDX-License-Identifier: Apache-2.0
//! What the engine is known to have: opened, by key, as listings and changes told it. Keeps of each entry when
//! it was written; its value for what this node needs alone: entries of MDs that it does not have are marks,
//! and a set's keys go once the set is in the store. Refuses changes that are older than what it has. Decides
//! nothing. Imports `key`, `record` and `nodes` below it; pure.

pub mod nodes;

use super::engine::{LeaseId, Revision};
use super::key::Key;
use super::record::{Account, Challenge, Hold, Job, Lock, Meta, Ocsp, Record, Set, Withdrawn, Written};
use crate::crypto::CertInfo;
use crate::managed::peers::SharedSet;
use crate::model::KeySpec;
use crate::time::Timestamp;
use nodes::{LiveNode, Nodes};
use std::collections::{BTreeMap, BTreeSet};

/// Entries that cannot be read, of which more is kept than their number. An engine can invent keys.
const FLAWED_MAX: usize = 1000;

/// When an entry was written, as the engine tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The fencing token of a lock.
    pub created: Revision,
    pub changed: Revision,
    pub lease: Option<LeaseId>,
}

/// An entry that was opened.
#[derive(Clone)]
pub struct Put {
    pub key: Key,
    pub record: Record,
    pub by: Option<Written>,
    pub mark: Mark,
}

/// A value of the engine.
#[derive(Clone, Debug)]
pub struct Item<T> {
    pub value: T,
    pub by: Option<Written>,
    pub mark: Mark,
}

/// The set in force of an MD of this node.
#[derive(Clone)]
pub struct KnownSet {
    pub generation: u64,
    pub published: Timestamp,
    /// Directory URL of the CA that issued it.
    pub ca: String,
    pub profile: Option<String>,
    pub certs: Vec<(KeySpec, CertInfo)>,
    pub renew_at: Option<Timestamp>,
    /// With its keys, until it is in the store.
    pub full: Option<SharedSet>,
}

/// What is kept of every entry.
#[derive(Clone, Debug)]
pub struct Kept {
    pub mark: Mark,
    /// When it was written, by its writer's clock.
    pub at: Option<Timestamp>,
    /// The id of its writer.
    pub node: Option<String>,
    /// Why it could not be opened: it counts as absent, but has to be replaced as it is.
    pub flaw: Option<String>,
}

/// What a listing is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    All,
    /// What ends with a lease, which the engine may not tell.
    Nodes,
    Locks,
    Challenges,
}

/// A listing that is under way.
pub struct Listing {
    part: Part,
    keys: BTreeSet<Key>,
}

#[derive(Default)]
pub struct View {
    /// The MDs of this node, by name.
    own: BTreeSet<String>,
    revision: Revision,
    /// The latest revision that others wait for this node to have: of anything but nodes and locks.
    awaited: Revision,
    /// The latest one that brought an answer to a challenge.
    challenged: Revision,
    kept: BTreeMap<Key, Kept>,
    flawed: usize,
    meta: Option<Item<Meta>>,
    locks: BTreeMap<Key, Item<Lock>>,
    jobs: BTreeMap<String, Item<Job>>,
    sets: BTreeMap<String, Item<KnownSet>>,
    withdrawn: BTreeMap<String, Item<Withdrawn>>,
    accounts: BTreeMap<String, Item<Account>>,
    challenges: BTreeMap<Key, Item<Challenge>>,
    holds: BTreeMap<Key, Item<Hold>>,
    responses: BTreeMap<Key, Item<Ocsp>>,
    nodes: Nodes,
}

impl View {
    /// For a node that has these MDs.
    pub fn new(own: impl IntoIterator<Item = String>) -> Self {
        View { own: own.into_iter().collect(), ..View::default() }
    }

    pub fn begin(&self, part: Part) -> Listing {
        Listing { part, keys: BTreeSet::new() }
    }

    /// Takes an entry of a listing, whatever was known of it.
    pub fn list(&mut self, listing: &mut Listing, put: Put) {
        listing.keys.insert(put.key.clone());
        self.take(put);
    }

    /// The same of one that cannot be read.
    pub fn list_flawed(&mut self, listing: &mut Listing, key: Key, mark: Mark, why: &str) {
        listing.keys.insert(key.clone());
        self.take_flawed(key, mark, why);
    }

    /// Forgets what the listing, at this revision, did not have. The answer: what that was.
    pub fn finish(&mut self, listing: Listing, at: Revision) -> Vec<Key> {
        let is_gone = |key: &&Key| listing.part.has(key) && !listing.keys.contains(key);
        let gone: Vec<Key> = self.kept.keys().filter(is_gone).cloned().collect();
        for key in &gone {
            self.remove(key);
        }
        if listing.part == Part::All {
            self.revision = at;
            let latest = |is_counted: &dyn Fn(&Key) -> bool| {
                self.kept.iter().filter(|(key, _)| is_counted(key)).map(|(_, kept)| kept.mark.changed).max()
            };
            self.awaited = latest(&is_awaited).unwrap_or_default();
            self.challenged = latest(&is_challenge).unwrap_or_default();
        }
        gone
    }

    /// Takes a change. `false`: something newer is known.
    pub fn put(&mut self, put: Put) -> bool {
        if self.is_old(&put.key, put.mark.changed) {
            return false;
        }
        self.note(&put.key, put.mark.changed);
        self.take(put);
        true
    }

    /// The same of an entry that cannot be read.
    pub fn put_flawed(&mut self, key: Key, mark: Mark, why: &str) -> bool {
        if self.is_old(&key, mark.changed) {
            return false;
        }
        self.note(&key, mark.changed);
        self.take_flawed(key, mark, why);
        true
    }

    /// The entry was deleted, or its lease has ended.
    pub fn gone(&mut self, key: &Key, at: Revision) -> bool {
        let is_known = self.kept.get(key).is_some_and(|kept| kept.mark.changed <= at);
        if is_known {
            self.note(key, at);
            self.remove(key);
        }
        is_known
    }

    /// All changes up to this revision were taken.
    pub fn advance(&mut self, to: Revision) {
        self.revision = self.revision.max(to);
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The latest revision to acknowledge once all of it is in the store.
    pub fn awaited(&self) -> Revision {
        self.awaited
    }

    /// The latest revision that brought an answer to a challenge.
    pub fn challenged(&self) -> Revision {
        self.challenged
    }

    pub fn has_md(&self, name: &str) -> bool {
        self.own.contains(name)
    }

    pub fn own(&self) -> impl Iterator<Item = &str> {
        self.own.iter().map(String::as_str)
    }

    /// All entries, also those whose values are not kept.
    pub fn kept(&self) -> impl Iterator<Item = (&Key, &Kept)> {
        self.kept.iter()
    }

    /// When the entry was written, also where it cannot be read. `None`: there is none.
    pub fn mark(&self, key: &Key) -> Option<Mark> {
        self.kept.get(key).map(|kept| kept.mark)
    }

    pub fn meta(&self) -> Option<&Item<Meta>> {
        self.meta.as_ref()
    }

    /// The renewal lock of an MD.
    pub fn lock(&self, name: &str) -> Option<&Item<Lock>> {
        self.locks.get(&Key::Lock(name.into()))
    }

    pub fn account_lock(&self, hash: &str) -> Option<&Item<Lock>> {
        self.locks.get(&Key::AccountLock(hash.into()))
    }

    /// Those of MDs and accounts.
    pub fn locks(&self) -> impl Iterator<Item = (&Key, &Item<Lock>)> {
        self.locks.iter()
    }

    pub fn job(&self, name: &str) -> Option<&Item<Job>> {
        self.jobs.get(name)
    }

    pub fn set(&self, name: &str) -> Option<&Item<KnownSet>> {
        self.sets.get(name)
    }

    pub fn sets(&self) -> impl Iterator<Item = (&str, &Item<KnownSet>)> {
        self.sets.iter().map(|(name, set)| (name.as_str(), set))
    }

    /// The set is in the store: its keys are not needed here any more.
    pub fn forget_keys(&mut self, name: &str) {
        if let Some(set) = self.sets.get_mut(name) {
            set.value.full = None;
        }
    }

    pub fn withdrawn(&self, name: &str) -> Option<&Item<Withdrawn>> {
        self.withdrawn.get(name)
    }

    pub fn account(&self, hash: &str) -> Option<&Item<Account>> {
        self.accounts.get(hash)
    }

    pub fn accounts(&self) -> impl Iterator<Item = (&str, &Item<Account>)> {
        self.accounts.iter().map(|(hash, account)| (hash.as_str(), account))
    }

    pub fn challenges(&self) -> impl Iterator<Item = (&Key, &Item<Challenge>)> {
        self.challenges.iter()
    }

    pub fn holds(&self) -> impl Iterator<Item = (&Key, &Item<Hold>)> {
        self.holds.iter()
    }

    /// OCSP responses of this node's MDs.
    pub fn responses(&self) -> impl Iterator<Item = (&Key, &Item<Ocsp>)> {
        self.responses.iter()
    }

    /// The response was verified and is in the store, or is refused: it is not needed here any more.
    pub fn forget_response(&mut self, key: &Key) {
        self.responses.remove(key);
    }

    pub fn nodes(&self) -> impl Iterator<Item = &LiveNode> {
        self.nodes.iter()
    }

    pub fn node(&self, id: &str) -> Option<&LiveNode> {
        self.nodes.get(id)
    }

    /// What cannot be opened, with the reason, as far as it is kept.
    pub fn flawed(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.kept.iter().filter_map(|(key, kept)| Some((key, kept.flaw.as_deref()?)))
    }

    fn is_old(&self, key: &Key, changed: Revision) -> bool {
        match self.kept.get(key) {
            Some(kept) => changed < kept.mark.changed,
            None => changed <= self.revision,
        }
    }

    fn note(&mut self, key: &Key, at: Revision) {
        if is_awaited(key) {
            self.awaited = self.awaited.max(at);
        }
        if is_challenge(key) {
            self.challenged = self.challenged.max(at);
        }
    }

    fn take_flawed(&mut self, key: Key, mark: Mark, why: &str) {
        self.remove(&key);
        if self.flawed < FLAWED_MAX {
            self.flawed += 1;
            self.kept.insert(key, Kept { mark, at: None, node: None, flaw: Some(why.into()) });
        }
    }

    fn take(&mut self, put: Put) {
        let Put { key, record, by, mark } = put;
        self.remove_mark(&key);
        let (at, node) = by.as_ref().map(|by| (by.at, by.node.clone())).unzip();
        self.kept.insert(key.clone(), Kept { mark, at, node, flaw: None });
        let is_own = key.md().is_none_or(|md| self.own.contains(md));
        match (key, record) {
            (Key::Meta, Record::Meta(value)) => self.meta = Some(Item { value, by, mark }),
            (key @ (Key::Lock(_) | Key::AccountLock(_)), Record::Lock(value)) => {
                self.locks.insert(key, Item { value, by, mark });
            }
            (Key::Node(id), Record::Node(value)) => self.nodes.put(id, value, mark),
            (Key::Applied(id), Record::Applied(value)) => self.nodes.acknowledge(id, &value),
            (Key::Job(md), Record::Job(value)) if is_own => {
                self.jobs.insert(md, Item { value, by, mark });
            }
            (Key::Set(md), Record::Set(value)) if is_own => {
                self.sets.insert(md, Item { value: KnownSet::of(value), by, mark });
            }
            (Key::Withdrawn(md), Record::Withdrawn(value)) if is_own => {
                self.withdrawn.insert(md, Item { value, by, mark });
            }
            (Key::Account(hash), Record::Account(value)) => {
                self.accounts.insert(hash, Item { value, by, mark });
            }
            (key @ Key::Challenge { .. }, Record::Challenge(value)) => {
                self.challenges.insert(key, Item { value, by, mark });
            }
            (key @ Key::Hold { .. }, Record::Hold(value)) if is_own => {
                self.holds.insert(key, Item { value, by, mark });
            }
            (key @ Key::Ocsp { .. }, Record::Ocsp(value)) if is_own => {
                self.responses.insert(key, Item { value, by, mark });
            }
            _ => {}
        }
    }

    fn remove_mark(&mut self, key: &Key) {
        if self.kept.remove(key).is_some_and(|kept| kept.flaw.is_some()) {
            self.flawed = self.flawed.saturating_sub(1);
        }
    }

    fn remove(&mut self, key: &Key) {
        self.remove_mark(key);
        match key {
            Key::Meta => self.meta = None,
            Key::Lock(_) | Key::AccountLock(_) => drop(self.locks.remove(key)),
            Key::Job(md) => drop(self.jobs.remove(md)),
            Key::Set(md) => drop(self.sets.remove(md)),
            Key::Withdrawn(md) => drop(self.withdrawn.remove(md)),
            Key::Account(hash) => drop(self.accounts.remove(hash)),
            Key::Challenge { .. } => drop(self.challenges.remove(key)),
            Key::Hold { .. } => drop(self.holds.remove(key)),
            Key::Ocsp { .. } => drop(self.responses.remove(key)),
            Key::Node(id) => self.nodes.remove(id),
            Key::Applied(id) => self.nodes.forget_acknowledgement(id),
        }
    }
}

impl Part {
    fn has(self, key: &Key) -> bool {
        match self {
            Part::All => true,
            Part::Nodes => matches!(key, Key::Node(_) | Key::Applied(_)),
            Part::Locks => matches!(key, Key::Lock(_) | Key::AccountLock(_)),
            Part::Challenges => is_challenge(key),
        }
    }
}

impl KnownSet {
    fn of(set: Set) -> Self {
        let certs = set.set.certs.iter();
        KnownSet {
            generation: set.generation,
            published: set.published,
            ca: set.set.ca.clone(),
            profile: set.set.profile.clone(),
            certs: certs.map(|cert| (cert.spec.clone(), CertInfo::from_chain(&cert.chain))).collect(),
            renew_at: set.set.renew_at,
            full: Some(set.set),
        }
    }
}

/// Revisions of nodes alone are never acknowledged: acknowledgements would follow each other for ever.
fn is_awaited(key: &Key) -> bool {
    !matches!(key, Key::Node(_) | Key::Applied(_) | Key::Lock(_) | Key::AccountLock(_))
}

fn is_challenge(key: &Key) -> bool {
    matches!(key, Key::Challenge { .. })
}
