// SPDX-License-Identifier: Apache-2.0
//! Publishes sets that the store has and the engine has not: it lost its data, this node has renewed by itself,
//! or a set came into use without the fleet. Nothing that is withdrawn or has expired.

use crate::fleet::decide::asks::asks;
use crate::fleet::decide::lease::Boot;
use crate::fleet::decide::reconcile::{On, Stored, Verdict};
use crate::fleet::engine::{Committed, Condition, Transaction};
use crate::fleet::key::Key;
use crate::fleet::node::{Failed, Node, unless_passing};
use crate::fleet::record::{Record, Set};
use crate::time::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// The node that asks for an MD publishes its set, the others then.
const OTHERS: Duration = Duration::from_secs(5);
/// In one step: answers to challenges and the lease come in between.
const AT_ONCE: usize = 20;
/// Between two looks at all sets: while they change, and in any case.
const SOONEST: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Sets {
    /// When everything was listed.
    since: Option<Boot>,
    /// At all sets.
    looked: Boot,
    next: Boot,
    /// Sets to publish, as the last look has found them.
    found: Vec<String>,
    /// Sets that the store has lost.
    lost: BTreeSet<String>,
}

impl Sets {
    pub fn publish(&mut self, node: &Node) -> Result<(), Failed> {
        if self.found.is_empty() {
            self.look(node);
        }
        let part = self.found.len().min(AT_ONCE);
        for name in self.found.drain(..part).collect::<Vec<_>>() {
            if let Err(failed) = self.publish_one(node, &name) {
                self.found.clear();
                return match failed {
                    Failed::Engine(error) => unless_passing(error),
                    failed => Err(failed),
                };
            }
        }
        if !self.found.is_empty() {
            // The next step goes on.
            node.wake();
        }
        Ok(())
    }

    /// Looks for sets to publish, if that is due.
    fn look(&mut self, node: &Node) {
        let (now, boot) = (node.now(), node.boot());
        let since = *self.since.get_or_insert(boot);
        if boot < self.looked + SOONEST || (!node.state().is_unsettled && boot < self.next) {
            return;
        }
        self.looked = boot;
        look_at_all(node, now);
        let is_early = boot < since + OTHERS;
        self.next = boot + if is_early { SOONEST } else { EVERY };
        self.found = self.lacking(node, !is_early, now);
    }

    fn publish_one(&mut self, node: &Node, name: &str) -> Result<(), Failed> {
        let now = node.now();
        let (verdict, is_busy) = {
            let state = node.state();
            (state.verdict(name, now), state.turns.contains_key(name))
        };
        let Verdict::Publish(on) = verdict else { return Ok(()) };
        if is_busy {
            return Ok(());
        }
        let is_known = |set: &Set| Stored::of(set).as_ref() == node.state().stored.get(name);
        let Some(set) = node.setup.local.set(name).filter(is_known) else {
            self.lost.insert(name.into());
            return Ok(());
        };
        let key = Key::Set(name.into());
        let (text, mark) = (node.text(&key)?, node.state().view.mark(&key));
        let when = match on {
            On::ChangedAt(at) => Condition::ChangedAt(text, at),
            On::Absent => Condition::Absent(text),
        };
        let record = Record::Set(set);
        let then = vec![node.sealed(&key, &record, None)?];
        match node.commit(&Transaction { when: vec![when], then })? {
            Committed::Done(at) => {
                node.note(&key, record, at, mark.map_or(at, |mark| mark.created), None);
                node.state().look_at_set(name, now);
                Ok(())
            }
            Committed::Refused => node.look_up(&key),
        }
    }

    /// `all`: not only those that this node asks for.
    fn lacking(&self, node: &Node, all: bool, now: Timestamp) -> Vec<String> {
        let state = node.state();
        let names = state.stored.keys();
        let names = names.filter(|name| !self.lost.contains(*name) && !state.turns.contains_key(*name));
        let lacking = names.filter(|name| matches!(state.verdict(name, now), Verdict::Publish(_)));
        // Last, because it looks at each node.
        lacking.filter(|name| all || asks(&state.view, &state.me, name)).cloned().collect()
    }
}

/// Sets that were refused may be of use by now, and others no more.
fn look_at_all(node: &Node, now: Timestamp) {
    let mut state = node.state();
    state.is_unsettled = false;
    let names: Vec<String> = state.view.sets().map(|(name, _)| name.to_string()).collect();
    for name in names {
        state.look_at_set(&name, now);
    }
}
