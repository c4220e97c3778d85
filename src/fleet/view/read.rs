// SPDX-License-Identifier: Apache-2.0
//! What a view tells. Changes nothing but what is kept for the store. Pure.

use super::nodes::LiveNode;
use super::{Item, Kept, KnownSet, Mark, View};
use crate::fleet::engine::Revision;
use crate::fleet::key::Key;
use crate::fleet::record::{Account, Challenge, Hold, Job, Lock, Meta, Ocsp, Withdrawn};

impl View {
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

    /// The id of the node that has written the entry.
    pub fn writer(&self, key: &Key) -> Option<&str> {
        self.kept.get(key)?.node.as_deref()
    }

    pub fn meta(&self) -> Option<&Item<Meta>> {
        self.meta.as_ref()
    }

    /// The renewal lock of an MD.
    pub fn lock(&self, name: &str) -> Option<&Item<Lock>> {
        self.locks.get(&Key::Lock(name.into()))
    }

    /// Whether a node that has taken this lock at that revision may still have it. An engine that went back may have
    /// given the same revision to the lock of another one.
    pub fn may_be_lock_of(&self, key: &Key, taken: Revision, node: &str) -> bool {
        match (self.mark(key), self.locks.get(key)) {
            (Some(mark), lock) => mark.created == taken && lock.is_none_or(|lock| lock.value.node == node),
            // The watch may not have told of it yet.
            (None, _) => self.revision < taken,
        }
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

    /// The ids of nodes that are gone and had this name, or this id.
    pub fn gone_nodes<'v>(&'v self, name: &'v str) -> impl Iterator<Item = &'v String> {
        self.nodes.gone(name)
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
}
