// SPDX-License-Identifier: Apache-2.0
//! The renewal of one MD by this node: under the lock of the fleet, whose creation is the fencing token of all
//! that it writes, or alone while the engine is away. A lease that has ended, another set in force, or a lock
//! that is another's ends it.

use super::requests::{confirm, persist};
use crate::fleet::decide::asks;
use crate::fleet::decide::checks::order_is_ours;
use crate::fleet::decide::lease::Phase;
use crate::fleet::decide::rank::{Rank, next_generation};
use crate::fleet::engine::{Committed, Condition, Revision, Transaction, Write};
use crate::fleet::key::Key;
use crate::fleet::node::state::State;
use crate::fleet::node::under_way::Held;
use crate::fleet::node::{Failed, Node};
use crate::fleet::record::{Job, Record, Set};
use crate::managed::peers::{Lost, SharedJob, SharedSet, Turn};
use crate::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long after its next try a lock is kept for a renewal that goes on.
const KEPT: Duration = Duration::from_secs(600);

pub(super) struct HeldTurn {
    node: Arc<Node>,
    name: String,
    /// `None`: this node is alone.
    token: Option<Revision>,
    /// The set in force when the turn began.
    base: Option<Rank>,
    job: Option<SharedJob>,
    /// The lock is gone, or goes on to be held.
    is_over: AtomicBool,
}

impl HeldTurn {
    /// `errors`: how many tries in a row have failed before.
    pub(super) fn solo(node: Arc<Node>, name: &str, errors: u32) -> Self {
        crate::log!(Notice, "md[{name}]: the engine of the fleet is away, and this node renews by itself");
        let now = node.now();
        {
            let mut state = node.state();
            state.solo.insert(name.into(), now);
            state.solo_errors.entry(name.into()).or_insert(errors);
        }
        HeldTurn {
            node,
            name: name.into(),
            token: None,
            base: None,
            job: None,
            is_over: AtomicBool::new(true),
        }
    }

    pub(super) fn held(node: Arc<Node>, name: &str, token: Revision) -> Self {
        let (base, job) = {
            let mut state = node.state();
            state.turns.insert(name.into(), Held { token, kept_until: None });
            (state.rank_in_force(name), state.view.job(name).map(|job| job.value.0.clone()))
        };
        let job = job.map(|job| usable(&node, name, job));
        HeldTurn { node, name: name.into(), token: Some(token), base, job, is_over: AtomicBool::new(false) }
    }

    fn key(&self, of: fn(String) -> Key) -> Key {
        of(self.name.clone())
    }

    /// Whether the view shows that the lock is another's, or that another set is in force.
    fn check_view(&self, token: Revision) -> Result<(), Lost> {
        let state = self.node.state();
        // What the view shows may be older than the end of the lease that the lock was under.
        let is_held = state.turns.get(&self.name).is_some_and(|held| held.token == token);
        let is_ours = state.view.may_be_lock_of(&self.key(Key::Lock), token, &state.me);
        if !is_held || !is_ours {
            return Err(lost("the lock of the fleet is this node's no more: its lease has ended"));
        }
        if state.rank_in_force(&self.name) > self.base {
            return Err(lost("another set of the fleet has come into force"));
        }
        Ok(())
    }

    /// Under the fencing token.
    fn fence(&self, token: Revision) -> Result<Condition, Failed> {
        Ok(Condition::CreatedAt(self.node.text(&self.key(Key::Lock))?, token))
    }

    /// `None`: the lock is another's.
    fn try_save(&self, token: Revision, job: &SharedJob) -> Result<Option<Revision>, Failed> {
        let record = Record::Job(Job(job.clone()));
        self.node.replace(&self.key(Key::Job), &record, None, Some(&self.fence(token)?))
    }

    /// The set as the engine has it, if it still is the one that the turn began with, and the next generation.
    fn next(&self, state: &State) -> Result<(Option<Revision>, u64), Lost> {
        let in_force = state.rank_in_force(&self.name);
        if in_force > self.base {
            return Err(lost("another set of the fleet has come into force"));
        }
        let highest = state.stored.get(&self.name).map(|stored| stored.rank.generation).unwrap_or_default();
        let generation =
            next_generation(in_force.map(|rank| rank.generation), highest.max(state.highest(&self.name)));
        Ok((state.view.mark(&self.key(Key::Set)).map(|mark| mark.changed), generation))
    }

    fn try_publish(&self, token: Revision, set: &SharedSet) -> Result<Published, Failed> {
        let (base, set) = {
            let state = self.node.state();
            match self.next(&state) {
                Ok((base, generation)) => {
                    (base, Set { set: set.clone(), generation, published: self.node.now() })
                }
                Err(lost) => return Ok(Published::Lost(lost)),
            }
        };
        if self.node.state().is_withdrawn(&set, &self.name, self.node.now()) {
            return Ok(Published::Lost(lost("an operator has withdrawn these certificates")));
        }
        let (key, record) = (self.key(Key::Set), Record::Set(set.clone()));
        let keys = [self.node.text(&self.key(Key::Job))?, self.node.text(&self.key(Key::Lock))?];
        let then = std::iter::once(self.node.sealed(&key, &record, None)?)
            .chain(keys.map(|key| Write::Delete { key }))
            .collect();
        let when = vec![self.fence(token)?, self.node.unchanged(&key, base)?];
        match self.node.commit(&Transaction { when, then })? {
            Committed::Done(at) => {
                let is_new = base.is_none();
                let created =
                    self.node.state().view.mark(&key).filter(|_| !is_new).map_or(at, |mark| mark.created);
                self.node.note(&key, record, at, created, None);
                Ok(Published::Done(Box::new(set)))
            }
            Committed::Refused => Ok(Published::Refused),
        }
    }

    /// The set is in force here as well.
    fn note_published(&self, set: &Set) {
        if let Err(error) = self.node.setup.local.keep_set(&self.name, set) {
            crate::log!(Warn, "md[{}]: which set of the fleet it has cannot be noted: {error}", self.name);
        }
        let now = self.node.now();
        let mut state = self.node.state();
        state.has_set(&self.name, set, now);
        state.turns.remove(&self.name);
        self.is_over.store(true, Ordering::Relaxed);
        drop(state);
        self.node.wake();
    }

    /// Another set is in force, or the lock is gone: which is this turn's own doing where an answer was lost.
    fn note_published_before(&self, set: &SharedSet, lost: Lost) -> Result<(), Lost> {
        let known = self.in_force(set).ok_or(lost)?;
        self.note_published(&known);
        Ok(())
    }

    fn publish_solo(&self, set: &SharedSet) {
        let generation = {
            let mut state = self.node.state();
            state.solo_errors.remove(&self.name);
            let in_force = state.rank_in_force(&self.name).map(|rank| rank.generation);
            let own = state.stored.get(&self.name).map(|stored| stored.rank.generation).unwrap_or_default();
            next_generation(in_force, own.max(state.highest(&self.name)))
        };
        self.note_published(&Set { set: set.clone(), generation, published: self.node.now() });
    }

    /// The publication was refused, or its answer was lost before: whether the engine has this set.
    fn is_published(&self, set: &SharedSet) -> Result<Option<Set>, Failed> {
        self.node.look_up(&self.key(Key::Set))?;
        Ok(self.in_force(set))
    }

    /// Whether this is the set that is known to be in force: a watch may tell it before the answer does.
    fn in_force(&self, set: &SharedSet) -> Option<Set> {
        let state = self.node.state();
        let known = &state.view.set(&self.name)?.value;
        let leaves = set.certs.iter().map(|cert| cert.chain.leaf().sha256_fingerprint());
        let is_same = known.certs.iter().map(|(_, cert)| cert.fingerprint.clone()).eq(leaves);
        is_same.then(|| Set { set: set.clone(), generation: known.generation, published: known.published })
    }

    fn release(&self, token: Revision) -> Result<(), Failed> {
        let key = self.key(Key::Lock);
        let then = vec![Write::Delete { key: self.node.text(&key)? }];
        if let Committed::Done(at) =
            self.node.commit(&Transaction { when: vec![self.fence(token)?], then })?
        {
            self.node.state().view.gone(&key, at);
        }
        Ok(())
    }
}

fn lost(reason: &str) -> Lost {
    Lost(reason.into())
}

/// A job whose order is not for this node goes on with the count of its failures alone.
fn usable(node: &Node, name: &str, job: SharedJob) -> SharedJob {
    let others = {
        let state = node.state();
        asks::names_of_others(&state.view, &state.me, name)
    };
    let Some(md) = node.setup.local.md(name) else { return job };
    match order_is_ours(&job, &md, &others) {
        Ok(()) => job,
        Err(reason) => {
            crate::log!(Warn, "md[{name}]: the order that another node has begun is not continued: {reason}");
            SharedJob { order: None, keys: Vec::new(), certs: Vec::new(), ..job }
        }
    }
}

enum Published {
    Done(Box<Set>),
    Refused,
    Lost(Lost),
}

impl Turn for HeldTurn {
    fn is_solo(&self) -> bool {
        self.token.is_none()
    }

    fn job(&self) -> Option<&SharedJob> {
        self.job.as_ref()
    }

    fn may_ask(&self) -> Result<(), Lost> {
        let Some(token) = self.token else { return Ok(()) };
        self.check_view(token)?;
        confirm(&self.node)?;
        self.check_view(token)
    }

    fn check(&self) -> Result<(), Lost> {
        let Some(token) = self.token else { return Ok(()) };
        if self.node.state().phase(self.node.boot()) == Phase::Over {
            return Err(lost("the lease of this node has ended"));
        }
        self.check_view(token)
    }

    fn save(&self, job: &SharedJob) -> Result<(), Lost> {
        let Some(token) = self.token else { return Ok(()) };
        self.check_view(token)?;
        let what = "how far the renewal has come cannot be saved in the fleet";
        match persist(&self.node, what, || self.try_save(token, job))? {
            Some(_) => Ok(()),
            None => Err(lost("the lock of the fleet is this node's no more")),
        }
    }

    fn publish(&self, set: &SharedSet) -> Result<(), Lost> {
        let Some(token) = self.token else {
            self.publish_solo(set);
            return Ok(());
        };
        if let Err(lost) = self.check_view(token) {
            return self.note_published_before(set, lost);
        }
        let what = "the new certificates cannot be given to the fleet";
        for _ in 0..3 {
            match persist(&self.node, what, || self.try_publish(token, set))? {
                Published::Done(set) => {
                    self.note_published(&set);
                    return Ok(());
                }
                Published::Lost(lost) => return self.note_published_before(set, lost),
                Published::Refused => {}
            }
            if let Some(known) = persist(&self.node, what, || self.is_published(set))? {
                self.note_published(&known);
                return Ok(());
            }
            persist(&self.node, what, || self.node.look_up(&self.key(Key::Lock)))?;
            self.check_view(token)?;
        }
        Err(lost("other nodes change what the fleet has of it"))
    }

    fn keep(self: Box<Self>) {
        if let Some(token) = self.token {
            let mut state = self.node.state();
            let next = state.view.job(&self.name).and_then(|job| job.value.0.next_try);
            let until: Timestamp = next.unwrap_or_default().max(self.node.now()).plus(KEPT);
            if state.turns.get(&self.name).is_some_and(|held| held.token == token) {
                state.turns.insert(self.name.clone(), Held { token, kept_until: Some(until) });
                self.is_over.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for HeldTurn {
    fn drop(&mut self) {
        if self.token.is_none() {
            self.node.state().solo.remove(&self.name);
        }
        let Some(token) = self.token.filter(|_| !self.is_over.load(Ordering::Relaxed)) else { return };
        if self.node.setup.clock.is_stopped() {
            // The next process goes on.
            return;
        }
        {
            let mut state = self.node.state();
            if state.turns.get(&self.name).is_some_and(|held| held.token == token) {
                state.turns.remove(&self.name);
            }
        }
        if let Err(failed) = self.release(token) {
            crate::log!(Debug, "md[{}]: the lock of the fleet cannot be released: {failed}", self.name);
            let mut state = self.node.state();
            state.turns.insert(self.name.clone(), Held { token, kept_until: Some(Timestamp::default()) });
        }
    }
}
