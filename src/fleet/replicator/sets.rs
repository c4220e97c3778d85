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
/// In one step.
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
    /// Sets that the store has lost.
    lost: BTreeSet<String>,
}

impl Sets {
    pub fn publish(&mut self, node: &Node) -> Result<(), Failed> {
        let (now, boot) = (node.now(), node.boot());
        let since = *self.since.get_or_insert(boot);
        if boot < self.looked + SOONEST || (!node.state().is_unsettled && boot < self.next) {
            return Ok(());
        }
        self.looked = boot;
        look_at_all(node, now);
        let (is_early, lacking) = (boot < since + OTHERS, self.lacking(node, boot >= since + OTHERS, now));
        let is_more = lacking.len() == AT_ONCE;
        self.next = boot + if is_more || is_early { SOONEST } else { EVERY };
        for (name, on) in lacking {
            let is_known = |set: &Set| Stored::of(set).as_ref() == node.state().stored.get(&name);
            let Some(set) = node.setup.local.set(&name).filter(is_known) else {
                self.lost.insert(name);
                continue;
            };
            let key = Key::Set(name.clone());
            let (text, mark) = (node.text(&key)?, node.state().view.mark(&key));
            let when = match on {
                On::ChangedAt(at) => Condition::ChangedAt(text, at),
                On::Absent => Condition::Absent(text),
            };
            let record = Record::Set(set);
            let then = vec![node.sealed(&key, &record, None)?];
            match node.commit(&Transaction { when: vec![when], then }) {
                Ok(Committed::Done(at)) => {
                    node.note(&key, record, at, mark.map_or(at, |mark| mark.created), None);
                    node.state().look_at_set(&name, now);
                }
                Ok(Committed::Refused) => node.look_up(&key)?,
                Err(error) => return unless_passing(error),
            }
        }
        Ok(())
    }

    /// `all`: not only those that this node asks for.
    fn lacking(&self, node: &Node, all: bool, now: Timestamp) -> Vec<(String, On)> {
        let state = node.state();
        let names = state.stored.keys().filter(|name| {
            let is_busy = self.lost.contains(*name) || state.turns.contains_key(*name);
            !is_busy && (all || asks(&state.view, &state.me, name))
        });
        let lacking = names.filter_map(|name| match state.verdict(name, now) {
            Verdict::Publish(on) => Some((name.clone(), on)),
            _ => None,
        });
        lacking.take(AT_ONCE).collect()
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
