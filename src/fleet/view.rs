// SPDX-License-Identifier: Apache-2.0
//! What the engine is known to have: opened, by key, as listings and changes told it. Keeps of each entry when
//! it was written; its value for what this node needs alone: entries of MDs that it does not have are marks,
//! and a set's keys go once the set is in the store. Refuses changes that are older than what it has. Decides
//! nothing. `read` has what it tells. Imports `key`, `record` and `nodes`; pure.

mod entry;
#[cfg(test)]
pub mod fixture;
pub mod nodes;
mod read;

use super::engine::Revision;
use super::key::Key;
use super::record::{Account, Challenge, Hold, Job, Lock, Meta, Ocsp, Record, Withdrawn};
use entry::is_challenge;
use nodes::Nodes;
use std::collections::{BTreeMap, BTreeSet};

pub use entry::{Item, Kept, KnownSet, Mark, Part, Put};

/// Entries that cannot be read, of which more is kept than their number. An engine can invent keys.
const FLAWED_MAX: usize = 1000;

/// Locks of accounts that are kept. They are legible, and an engine can invent them, too.
const ACCOUNT_LOCKS_MAX: usize = 1000;

/// A listing that is under way.
pub struct Listing {
    part: Part,
    keys: BTreeSet<Key>,
}

/// Of one epoch: an engine that has lost its data is another one, with revisions of its own.
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
        self.note_put(&put.key, put.mark.changed);
        self.take(put);
        true
    }

    /// The same of an entry that cannot be read.
    pub fn put_flawed(&mut self, key: Key, mark: Mark, why: &str) -> bool {
        if self.is_old(&key, mark.changed) {
            return false;
        }
        self.note_put(&key, mark.changed);
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

    fn is_old(&self, key: &Key, changed: Revision) -> bool {
        match self.kept.get(key) {
            Some(kept) => changed <= kept.mark.changed,
            None => changed <= self.revision,
        }
    }

    fn note(&mut self, key: &Key, at: Revision) {
        if is_awaited(key) {
            self.awaited = self.awaited.max(at);
        }
    }

    fn note_put(&mut self, key: &Key, at: Revision) {
        self.note(key, at);
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
        if matches!(key, Key::AccountLock(_)) && !self.has_room_for_lock(&key) {
            return;
        }
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

    fn has_room_for_lock(&self, key: &Key) -> bool {
        let others = self.locks.keys().filter(|lock| matches!(lock, Key::AccountLock(_)));
        self.locks.contains_key(key) || others.count() < ACCOUNT_LOCKS_MAX
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

/// Revisions of nodes alone are never acknowledged: acknowledgements would follow each other for ever.
fn is_awaited(key: &Key) -> bool {
    !matches!(key, Key::Node(_) | Key::Applied(_) | Key::Lock(_) | Key::AccountLock(_))
}

#[cfg(test)]
mod tests;
