// SPDX-License-Identifier: Apache-2.0
//! What the engine tells, and what follows from it for the MDs of this node: sets to bring in, locks that are
//! free, accounts whose answers are given. Refusals are kept for people.

use super::state::State;
use crate::crypto::{CertInfo, jws};
use crate::fleet::decide::lease::Boot;
use crate::fleet::decide::rank::Rank;
use crate::fleet::decide::reconcile::{Sides, Stored, Verdict, reconcile};
use crate::fleet::engine::{Entry, Revision};
use crate::fleet::key::Key;
use crate::fleet::record::{Record, Set};
use crate::fleet::view::{Mark, Put};
use crate::managed::withdrawn::Withdrawn;
use crate::time::Timestamp;
use serde_json::Value;
use std::sync::Arc;

/// Values that were refused, as far as they are shown.
const REFUSED_MAX: usize = 100;

impl State {
    /// Takes an entry that was read by itself.
    pub fn take_entry(&mut self, entry: &Entry, now: Timestamp) {
        let Some(codec) = self.codec.clone() else { return };
        let Some(key) = codec.key(&entry.key) else { return };
        match codec.open(entry) {
            Ok(opened) => {
                let (record, by) = (opened.record, opened.written);
                if let Record::Meta(meta) = &record
                    && meta.epoch == self.epoch
                {
                    self.meta = Some(entry.value.clone());
                }
                self.put(Put { key, record, by, mark: mark_of(entry) }, now);
            }
            Err(flaw) => {
                self.refuse(&key, flaw.to_string());
                self.view.put_flawed(key, mark_of(entry), &flaw.to_string());
            }
        }
    }

    /// Takes an entry, and notes what follows for the MD.
    pub fn put(&mut self, put: Put, now: Timestamp) {
        let key = put.key.clone();
        self.note(&put);
        self.refused.remove(&described(&key));
        if self.view.put(put)
            && let Key::Set(name) = &key
        {
            self.look_at_set(&name.clone(), now);
        }
    }

    /// What follows from an entry wherever it was read.
    pub fn note(&mut self, put: &Put) {
        match (&put.key, &put.record) {
            (Key::Account(hash), Record::Account(account)) => {
                self.accounts.insert(hash.clone(), account.clone());
                if let Ok(print) = jws::thumbprint(&account.0.key) {
                    self.thumbprints.insert(hash.clone(), print);
                }
            }
            (Key::Withdrawn(_), _) => self.is_unsettled = true,
            (Key::Set(name), Record::Set(set)) if self.view.has_md(name) => {
                self.is_unsettled = true;
                self.unadvised.insert(name.clone());
                if self.highest(name) < set.generation {
                    Arc::make_mut(&mut self.highest).insert(name.clone(), set.generation);
                }
            }
            _ => {}
        }
    }

    /// An entry is gone.
    pub fn gone(&mut self, key: &Key, at: Revision) {
        let was_of_other = match key {
            Key::Lock(name) => self.view.lock(name).is_some_and(|lock| lock.value.node != self.me),
            _ => false,
        };
        if self.view.gone(key, at) {
            self.after_gone(key, was_of_other);
        }
    }

    pub fn after_gone(&mut self, key: &Key, was_of_other: bool) {
        self.refused.remove(&described(key));
        match key {
            Key::Set(_) | Key::Withdrawn(_) => self.is_unsettled = true,
            // The next one may begin.
            Key::Lock(name) if was_of_other && self.view.has_md(name) => drop(self.news.insert(name.clone())),
            Key::Account(hash) => drop(self.thumbprints.remove(hash)),
            // Somebody has deleted what this node says of itself.
            Key::Node(id) | Key::Applied(id) if *id == self.me => self.presence.is_told = false,
            _ => {}
        }
    }

    /// Which set the MD has from now on, and what is to be done for it.
    pub fn verdict(&self, name: &str, now: Timestamp) -> Verdict {
        let of = |list: Option<&Value>| list.map(|list| Withdrawn::of(list, now)).unwrap_or_default();
        let fleet = self.view.withdrawn(name).map(|item| &item.value.record);
        let sides = Sides {
            stored: self.stored.get(name),
            remote: self.view.set(name),
            changed: self.view.mark(&Key::Set(name.into())).map(|mark| mark.changed),
            highest: self.highest(name),
            withdrawn: &of(fleet).merged(&of(self.withdrawn.get(name))),
        };
        reconcile(&sides, now)
    }

    /// Whether the set of the fleet has to be brought in.
    pub fn look_at_set(&mut self, name: &str, now: Timestamp) {
        let verdict = self.verdict(name, now);
        if verdict == Verdict::Bring {
            self.pending.entry(name.into()).or_insert(Boot::ZERO);
            return;
        }
        self.pending.remove(name);
        match verdict {
            Verdict::Nothing => {
                self.view.forget_keys(name);
                self.refused.remove(&described(&Key::Set(name.into())));
            }
            Verdict::Refuse(reason) => self.refuse(&Key::Set(name.into()), reason),
            Verdict::Bring | Verdict::Publish(_) => {}
        }
    }

    /// Of the set that the engine has.
    pub fn rank_in_force(&self, name: &str) -> Option<Rank> {
        let set = &self.view.set(name)?.value;
        Rank::new(set.generation, set.certs.iter().map(|(_, cert)| cert))
    }

    /// The node that has written the set in force, by name where it lives, else by id.
    pub fn writer_of_set(&self, name: &str) -> String {
        let by = self.view.set(name).and_then(|set| set.by.as_ref());
        let id = by.map_or("unknown", |by| by.node.as_str());
        self.view.node(id).map_or(id, |node| node.name.as_str()).to_string()
    }

    /// Notes that a value of the engine is not used.
    pub fn refuse(&mut self, key: &Key, reason: String) {
        let what = described(key);
        if self.refused.len() < REFUSED_MAX
            && self.refused.insert(what.clone(), reason.clone()).as_ref() != Some(&reason)
        {
            crate::log!(Warn, "fleet: the engine's value of {what} is not used: {reason}");
        }
    }

    /// The set in force, with its keys.
    pub fn full_set(&self, name: &str) -> Option<Set> {
        let known = &self.view.set(name)?.value;
        let set = known.full.clone()?;
        Some(Set { set, generation: known.generation, published: known.published })
    }

    /// The store has this set from now on.
    pub fn has_set(&mut self, name: &str, set: &Set, now: Timestamp) {
        if let Some(stored) = Stored::of(set) {
            self.stored.insert(name.into(), stored);
            self.unadvised.insert(name.into());
            self.is_unsettled = true;
        }
        self.look_at_set(name, now);
    }

    /// The highest generation of an MD that was seen.
    pub fn highest(&self, name: &str) -> u64 {
        self.highest.get(name).copied().unwrap_or_default()
    }

    /// Whether an operator has withdrawn a certificate of the set, here or elsewhere.
    pub fn is_withdrawn(&self, set: &Set, name: &str, now: Timestamp) -> bool {
        let certs: Vec<CertInfo> =
            set.set.certs.iter().map(|cert| CertInfo::from_chain(&cert.chain)).collect();
        let fleet = self.view.withdrawn(name).map(|item| &item.value.record);
        let lists = fleet.into_iter().chain(self.withdrawn.get(name));
        lists.into_iter().any(|list| Withdrawn::of(list, now).has_any_of(certs.iter()))
    }
}

/// When an entry was written, as the engine tells.
pub fn mark_of(entry: &Entry) -> Mark {
    Mark { created: entry.created, changed: entry.changed, lease: entry.lease }
}

/// For people: without anything that is secret.
pub(super) fn described(key: &Key) -> String {
    match key {
        Key::Meta => "the fleet's format".into(),
        Key::Lock(md) => format!("the lock of {md}"),
        Key::Job(md) => format!("the job of {md}"),
        Key::Set(md) => format!("the set of {md}"),
        Key::Withdrawn(md) => format!("what is withdrawn of {md}"),
        Key::Account(_) | Key::AccountLock(_) => "an account".into(),
        Key::Challenge { type_, dns_name, .. } => format!("an answer to {type_} for {dns_name}"),
        Key::Hold { md: Some(md), .. } => format!("a wait of {md}"),
        Key::Hold { md: None, .. } => "a wait".into(),
        Key::Ocsp { md, .. } => format!("an OCSP response of {md}"),
        Key::Node(id) | Key::Applied(id) => format!("node {id}"),
    }
}
