// SPDX-License-Identifier: Apache-2.0
//! Tells the fleet what operators have withdrawn on this machine, and keeps what others have told.

use crate::fleet::decide::reconcile::On;
use crate::fleet::decide::withdrawing::withdrawing;
use crate::fleet::engine::{Committed, Condition, Transaction};
use crate::fleet::key::Key;
use crate::fleet::node::state::State;
use crate::fleet::node::{Failed, Node, unless_passing};
use crate::fleet::record::{self, Record};
use crate::managed::withdrawn::Withdrawn;
use crate::time::Timestamp;
use serde_json::Value;

/// Takes over what operators have withdrawn here since the last call.
pub fn gather(node: &Node) {
    let now = node.now();
    for (name, record) in node.setup.local.withdrawn() {
        let mut state = node.state();
        let known = state.withdrawn.get(&name).map(|known| Withdrawn::of(known, now)).unwrap_or_default();
        state.withdrawn.insert(name, known.merged(&Withdrawn::of(&record, now)).to_json());
    }
}

pub fn withdraw(node: &Node) -> Result<(), Failed> {
    gather(node);
    let now = node.now();
    let unknown = unknown(&mut node.state(), now);
    for (name, record, on) in unknown {
        let key = Key::Withdrawn(name);
        let text = node.text(&key)?;
        let when = match on {
            On::Absent => Condition::Absent(text),
            On::ChangedAt(at) => Condition::ChangedAt(text, at),
        };
        let record = Record::Withdrawn(record::Withdrawn { record });
        let then = vec![node.sealed(&key, &record, None)?];
        match node.commit(&Transaction { when: vec![when], then }) {
            Ok(Committed::Done(at)) => node.note(&key, record, at, at, None),
            Ok(Committed::Refused) => {}
            Err(error) => return unless_passing(error),
        }
    }
    Ok(())
}

/// What the fleet does not know. What it knows is kept.
fn unknown(state: &mut State, now: Timestamp) -> Vec<(String, Value, On)> {
    let State { view, withdrawn, .. } = state;
    let mut unknown = Vec::new();
    for name in view.own() {
        let mark = view.mark(&Key::Withdrawn(name.into())).map(|mark| mark.changed);
        let kept = withdrawn.get(name);
        if kept.is_none() && mark.is_none() {
            continue;
        }
        let found = withdrawing(&Withdrawn::default(), kept, view.withdrawn(name), mark, now);
        let all = found.all.to_json();
        if let Some(on) = found.publish.filter(|_| !found.all.is_empty()) {
            unknown.push((name.to_string(), all.clone(), on));
        }
        withdrawn.insert(name.into(), all);
    }
    unknown
}
