// SPDX-License-Identifier: Apache-2.0
//! What this node writes of itself, of its operators and for its renewals: presence and acknowledgements, sets
//! that it has and the engine has not, what is withdrawn, holds, advice, OCSP responses; and what it takes back.

use super::Replicator;
use crate::fleet::decide::asks::asks;
use crate::fleet::decide::cleanup::useless;
use crate::fleet::decide::health::{is_copied, namesake};
use crate::fleet::decide::lease::Boot;
use crate::fleet::decide::presence::{self, Write as Due};
use crate::fleet::decide::reconcile::{On, Stored, Verdict};
use crate::fleet::decide::state::State as Saved;
use crate::fleet::decide::withdrawing::withdrawing;
use crate::fleet::engine::{Committed, Condition, Error, Revision, Transaction, Write};
use crate::fleet::key::Key;
use crate::fleet::node::Failed;
use crate::fleet::node::state::{Posted, State};
use crate::fleet::record::{self, Applied, Record, Set};
use crate::managed::peers::SharedSet;
use crate::managed::withdrawn::Withdrawn;
use crate::time::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// Sets are published again by the node that asks for their MD first, by the others then.
const OTHERS: Duration = Duration::from_secs(5);
/// Between two looks at what is of no use any more.
const TIDY: Duration = Duration::from_secs(600);
/// Sets that are published again in one step.
const AT_ONCE: usize = 20;

impl Replicator {
    /// Writes what is due.
    pub(super) fn write(&mut self) -> Result<(), Failed> {
        self.write_presence()?;
        self.write_posted()?;
        self.take_back()?;
        self.withdraw()?;
        self.publish_again()?;
        self.tidy()
    }

    /// When something is to be written, as far as time alone tells.
    pub(super) fn next_write(&self, state: &State) -> Boot {
        match presence::write(&state.presence, &state.view, state.applied, self.node.boot()) {
            Due::NotBefore(boot) => boot,
            Due::Applied(_) | Due::Node(_) => self.node.boot(),
        }
    }

    fn write_presence(&mut self) -> Result<(), Failed> {
        let boot = self.node.boot();
        self.look_for_copy();
        let due = {
            let state = self.node.state();
            presence::write(&state.presence, &state.view, state.applied, boot)
        };
        let (key, record, revision) = match due {
            Due::NotBefore(_) => return Ok(()),
            Due::Applied(revision) => {
                let applied = Applied { applied: revision.0, seen: self.node.now() };
                (Key::Applied(self.node.state().me.clone()), Record::Applied(applied), revision)
            }
            Due::Node(revision) => {
                let record = self.presence(revision);
                (Key::Node(record.id.clone()), Record::Node(record), revision)
            }
        };
        let lease = self.node.state().lease;
        self.node.state().presence.tried = Some(boot);
        let write = self.node.sealed(&key, &record, Some(lease))?;
        let done = self.node.commit(&Transaction { when: Vec::new(), then: vec![write] });
        let mut state = self.node.state();
        match done {
            Ok(Committed::Done(at)) => {
                state.presence.written = Some(boot);
                state.presence.acknowledged = revision;
                if let Record::Node(_) = record {
                    state.presence.is_told = true;
                    state.told_at = Some(at);
                }
                Ok(())
            }
            Ok(Committed::Refused) => Ok(()),
            Err(error @ (Error::LeaseGone | Error::Stopped)) => Err(error.into()),
            // A full engine, a right that is missing: locks and reads go on, and it is tried again.
            Err(_) => Ok(()),
        }
    }

    fn presence(&self, revision: Revision) -> record::Node {
        let setup = &self.node.setup;
        let state = self.node.state();
        record::Node {
            id: state.me.clone(),
            name: setup.name.clone(),
            instance: state.instance.clone(),
            version: setup.version.clone(),
            mds: setup.mds.clone(),
            applied: revision.0,
            seen: self.node.now(),
        }
    }

    /// Another process that uses this node's id has the same store, copied: this one is a new node.
    fn look_for_copy(&mut self) {
        let mut state = self.node.state();
        let (me, instance) = (state.me.clone(), state.instance.clone());
        if is_copied(&state.view, &me, &instance, state.former.as_deref(), state.told_at) {
            crate::log!(
                Warn,
                "fleet: another httpd has a copy of this store; this one is a new node from now on"
            );
            state.become_another();
        }
        let other = namesake(&state.view, &state.me, &self.node.setup.name);
        drop(state);
        if let Some(warning) = other {
            self.tell_problem(warning);
        }
    }

    /// A single write, whatever the engine has.
    fn put(&self, key: &Key, record: &Record) -> Result<(), Failed> {
        let write = self.node.sealed(key, record, None)?;
        self.node.commit(&Transaction { when: Vec::new(), then: vec![write] })?;
        Ok(())
    }

    fn write_posted(&mut self) -> Result<(), Failed> {
        loop {
            let Some(posted) = self.node.state().posted.first().cloned() else { return Ok(()) };
            let written = match &posted {
                Posted::Hold(hold) => {
                    let ca = Key::account_hash(&hold.limit.ca, None);
                    self.put(&Key::Hold { ca, md: hold.md.clone() }, &Record::Hold(hold.clone()))
                }
                Posted::Response(ocsp) => {
                    let key = Key::Ocsp { md: ocsp.md.clone(), file: ocsp.file.clone() };
                    self.put(&key, &Record::Ocsp(ocsp.clone()))
                }
                Posted::RenewAt { name, at } => self.advise(name, *at),
            };
            match written {
                Err(failed @ Failed::Engine(Error::LeaseGone | Error::Stopped)) => return Err(failed),
                // It stays, for the next step.
                Err(Failed::Engine(_) | Failed::NotJoined) => return Ok(()),
                Err(failed @ Failed::Value(..)) => crate::log!(Warn, "fleet: {failed}"),
                Ok(()) => {}
            }
            let mut state = self.node.state();
            if !state.posted.is_empty() {
                state.posted.remove(0);
            }
        }
    }

    /// Notes in the set in force when its CA wants it to be renewed, unless another one is in force by now.
    fn advise(&self, name: &str, at: Timestamp) -> Result<(), Failed> {
        let key = Key::Set(name.into());
        let (known, changed) = {
            let state = self.node.state();
            let Some(item) = state.view.set(name) else { return Ok(()) };
            if item.value.renew_at == Some(at) {
                return Ok(());
            }
            (state.full_set(name), item.mark.changed)
        };
        let in_store = || self.node.setup.local.set(name);
        let Some(set) = known.or_else(in_store) else { return Ok(()) };
        if self.node.state().view.set(name).is_none_or(|item| item.value.generation != set.generation) {
            return Ok(());
        }
        let set = Set { set: SharedSet { renew_at: Some(at), ..set.set }, ..set };
        let when = vec![Condition::ChangedAt(self.node.text(&key)?, changed)];
        let then = vec![self.node.sealed(&key, &Record::Set(set), None)?];
        self.node.commit(&Transaction { when, then })?;
        Ok(())
    }

    /// Answers to challenges that are not wanted any more, and locks of renewals that do not go on.
    fn take_back(&mut self) -> Result<(), Failed> {
        let (answers, now) = (std::mem::take(&mut self.node.state().withdrawn_answers), self.node.now());
        for key in answers {
            let then = vec![Write::Delete { key: self.node.text(&key)? }];
            if let Err(error) = self.node.commit(&Transaction { when: Vec::new(), then }) {
                self.node.state().withdrawn_answers.insert(key);
                return last(error);
            }
            self.node.state().presented.remove(&key);
        }
        let stale: Vec<(String, Revision)> = {
            let state = self.node.state();
            let is_stale = |name: &str, until: Timestamp| until < now || state.pending.contains_key(name);
            let kept =
                state.turns.iter().filter_map(|(name, held)| Some((name, held.token, held.kept_until?)));
            kept.filter(|(name, _, until)| is_stale(name, *until))
                .map(|(n, token, _)| (n.clone(), token))
                .collect()
        };
        for (name, token) in stale {
            let text = self.node.text(&Key::Lock(name.clone()))?;
            let when = vec![Condition::CreatedAt(text.clone(), token)];
            if let Err(error) =
                self.node.commit(&Transaction { when, then: vec![Write::Delete { key: text }] })
            {
                return last(error);
            }
            self.node.state().turns.remove(&name);
        }
        Ok(())
    }

    /// Tells the fleet what operators have withdrawn on this machine, and keeps what others have told.
    fn withdraw(&mut self) -> Result<(), Failed> {
        let now = self.node.now();
        for (name, record) in self.node.setup.local.withdrawn() {
            let mut state = self.node.state();
            let known = state.withdrawn.get(&name).map(|known| Withdrawn::of(known, now)).unwrap_or_default();
            state.withdrawn.insert(name, known.merged(&Withdrawn::of(&record, now)).to_json());
        }
        for (name, withdrawn, on) in self.unknown_withdrawals(now) {
            let key = Key::Withdrawn(name);
            let text = self.node.text(&key)?;
            let when = match on {
                On::Absent => Condition::Absent(text),
                On::ChangedAt(at) => Condition::ChangedAt(text, at),
            };
            let record = Record::Withdrawn(record::Withdrawn { record: withdrawn });
            let then = vec![self.node.sealed(&key, &record, None)?];
            match self.node.commit(&Transaction { when: vec![when], then }) {
                Ok(Committed::Done(at)) => self.node.note(&key, record, at, at, None),
                Ok(Committed::Refused) => {}
                Err(error) => return last(error),
            }
        }
        Ok(())
    }

    /// What of it the fleet does not know. What it knows is kept.
    fn unknown_withdrawals(&self, now: Timestamp) -> Vec<(String, Value, On)> {
        let mut state = self.node.state();
        let State { view, withdrawn, .. } = &mut *state;
        let mut unknown = Vec::new();
        for name in view.own().map(String::from).collect::<Vec<_>>() {
            let (kept, theirs) = (withdrawn.get(&name), view.withdrawn(&name));
            let mark = view.mark(&Key::Withdrawn(name.clone())).map(|mark| mark.changed);
            if kept.is_none() && mark.is_none() {
                continue;
            }
            let found = withdrawing(&Withdrawn::default(), kept, theirs, mark, now);
            let all = found.all.to_json();
            if let Some(on) = found.publish {
                unknown.push((name.clone(), all.clone(), on));
            }
            withdrawn.insert(name, all);
        }
        unknown
    }

    /// Sets that the store has and the engine has not: it lost its data, or this node has renewed by itself.
    fn publish_again(&mut self) -> Result<(), Failed> {
        let (now, boot) = (self.node.now(), self.node.boot());
        let since = *self.since_joined.get_or_insert(boot);
        let lacking: Vec<(String, On)> = {
            let state = self.node.state();
            let is_first = |name: &str| asks(&state.view, &state.me, name) || boot >= since + OTHERS;
            let names = state.stored.keys().filter(|name| !self.unpublishable.contains(*name));
            let lacking = names.filter_map(|name| match state.verdict(name, now) {
                Verdict::Publish(on) => Some((name.clone(), on)),
                _ => None,
            });
            lacking.filter(|(name, _)| is_first(name)).take(AT_ONCE).collect()
        };
        for (name, on) in lacking {
            let is_known = |set: &Set| Stored::of(set).as_ref() == self.node.state().stored.get(&name);
            let Some(set) = self.node.setup.local.set(&name).filter(is_known) else {
                self.unpublishable.insert(name);
                continue;
            };
            let key = Key::Set(name.clone());
            let (text, mark) = (self.node.text(&key)?, self.node.state().view.mark(&key));
            let when = match on {
                On::ChangedAt(at) => Condition::ChangedAt(text, at),
                On::Absent => Condition::Absent(text),
            };
            let record = Record::Set(set);
            let then = vec![self.node.sealed(&key, &record, None)?];
            match self.node.commit(&Transaction { when: vec![when], then }) {
                Ok(Committed::Done(at)) => {
                    self.node.note(&key, record, at, mark.map_or(at, |mark| mark.created), None);
                    self.node.state().look_at_set(&name, now);
                }
                // The watch tells what there is.
                Ok(Committed::Refused) => self.node.look_up(&key)?,
                Err(error) => return last(error),
            }
        }
        Ok(())
    }

    /// Deletes what is of no use to any node.
    fn tidy(&mut self) -> Result<(), Failed> {
        let (now, boot) = (self.node.now(), self.node.boot());
        if boot < self.tidied + TIDY {
            return Ok(());
        }
        self.tidied = boot;
        let keys = {
            let state = self.node.state();
            useless(&state.view, &state.me, now)
        };
        for (key, changed) in keys {
            let text = self.node.text(&key)?;
            let when = vec![Condition::ChangedAt(text.clone(), changed)];
            if let Err(error) =
                self.node.commit(&Transaction { when, then: vec![Write::Delete { key: text }] })
            {
                return last(error);
            }
        }
        Ok(())
    }

    /// Writes the state for the next process, where it has changed.
    pub(super) fn save(&mut self) {
        let saved = {
            let state = self.node.state();
            if state.me.is_empty() {
                return;
            }
            Saved {
                node: state.me.clone(),
                instance: state.instance.clone(),
                place: self.saved.place.clone(),
                lease: Some(state.lease),
                epoch: state.epoch.clone(),
                // Nothing is resumed at it: what is listed counts.
                applied: self.saved.applied,
                highest: state.highest.clone(),
                withdrawn: state.withdrawn.clone(),
                nodes: state.other_nodes(),
            }
        };
        if saved == self.saved {
            return;
        }
        match self.node.setup.local.save(&saved) {
            Ok(()) => self.saved = saved,
            Err(error) => self.tell_problem(format!("the state of this node cannot be saved: {error}")),
        }
    }
}

/// What ends the step; of the rest, the next one tries again.
fn last(error: Error) -> Result<(), Failed> {
    match error {
        Error::LeaseGone | Error::Stopped | Error::Gap(_) => Err(error.into()),
        _ => Ok(()),
    }
}
