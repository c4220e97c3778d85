// SPDX-License-Identifier: Apache-2.0
//! Writes for renewals what need not be there before they go on: holds, advice, OCSP responses. Takes back
//! answers that are not wanted any more, and locks of renewals that do not go on.

use crate::fleet::engine::{Condition, Error, Revision, Transaction, Write};
use crate::fleet::key::Key;
use crate::fleet::node::state::State;
use crate::fleet::node::under_way::Posted;
use crate::fleet::node::{Failed, Node, unless_passing};
use crate::fleet::record::{Record, Set};
use crate::managed::peers::SharedSet;
use crate::time::{DAY, Timestamp};
use std::collections::BTreeSet;

/// Writes them in their order. What fails stays, for the next step.
pub fn post(node: &Node) -> Result<(), Failed> {
    loop {
        let Some(posted) = node.state().posted.pop_front() else { return Ok(()) };
        match write(node, &posted) {
            Ok(()) => {}
            Err(failed @ (Failed::Value(..) | Failed::Engine(Error::Invalid(_)))) => {
                crate::log!(Warn, "fleet: {failed}");
            }
            Err(failed) => {
                node.state().post_again(posted);
                return match failed {
                    Failed::Engine(Error::LeaseGone | Error::Stopped) => Err(failed),
                    _ => Ok(()),
                };
            }
        }
    }
}

fn write(node: &Node, posted: &Posted) -> Result<(), Failed> {
    match posted {
        Posted::Hold(hold) => {
            let ca = Key::account_hash(&hold.limit.ca, None);
            put(node, &Key::Hold { ca, md: hold.md.clone() }, &Record::Hold(hold.clone()))
        }
        Posted::Response(ocsp) => {
            let key = Key::Ocsp { md: ocsp.md.clone(), file: ocsp.file.clone() };
            put(node, &key, &Record::Ocsp(ocsp.clone()))
        }
        Posted::RenewAt { name, at } => advise(node, name, *at),
    }
}

fn put(node: &Node, key: &Key, record: &Record) -> Result<(), Failed> {
    // `None`: other nodes have written newer ones.
    node.replace(key, record, None, None).map(drop)
}

/// Notes in the set in force when its CA wants it to be renewed, unless another one is in force by now.
fn advise(node: &Node, name: &str, at: Timestamp) -> Result<(), Failed> {
    let key = Key::Set(name.into());
    let (known, generation, changed) = {
        let state = node.state();
        let Some(item) = state.view.set(name) else { return Ok(()) };
        if item.value.renew_at == Some(at) {
            return Ok(());
        }
        (state.full_set(name), item.value.generation, item.mark.changed)
    };
    let set = known.or_else(|| node.setup.local.set(name)).filter(|set| set.generation == generation);
    let Some(set) = set else { return Ok(()) };
    let set = Set { set: SharedSet { renew_at: Some(at), ..set.set }, ..set };
    let when = vec![Condition::ChangedAt(node.text(&key)?, changed)];
    let then = vec![node.sealed(&key, &Record::Set(set), None)?];
    node.commit(&Transaction { when, then })?;
    Ok(())
}

/// Deletes answers that are not wanted any more, and locks that are kept for nothing.
pub fn take_back(node: &Node) -> Result<(), Failed> {
    let now = node.now();
    let answers = withdrawn(&mut node.state());
    for key in answers {
        if let Err(failed) = node.take_back(&key) {
            node.state().withdrawn_answers.insert(key);
            return match failed {
                Failed::Engine(error) => unless_passing(error),
                failed => Err(failed),
            };
        }
        node.state().presented.remove(&key);
    }
    let stale: Vec<(String, Revision)> = {
        let state = node.state();
        // A clock that was set back must not keep a lock; the job's next try holds without it.
        let latest = now.plus(DAY);
        let is_stale =
            |name: &str, until: Timestamp| until < now || until > latest || state.pending.contains_key(name);
        let kept = state.turns.iter().filter_map(|(name, held)| Some((name, held.token, held.kept_until?)));
        let stale = kept.filter(|(name, _, until)| is_stale(name, *until));
        stale.map(|(name, token, _)| (name.clone(), token)).collect()
    };
    for (name, token) in stale {
        let text = node.text(&Key::Lock(name.clone()))?;
        let when = vec![Condition::CreatedAt(text.clone(), token)];
        if let Err(error) = node.commit(&Transaction { when, then: vec![Write::Delete { key: text }] }) {
            return unless_passing(error);
        }
        node.state().turns.remove(&name);
    }
    Ok(())
}

/// The answers that are not wanted any more. One that was written late, after it was taken back, is no renewal's.
fn withdrawn(state: &mut State) -> BTreeSet<Key> {
    let mut keys = std::mem::take(&mut state.withdrawn_answers);
    let is_renewing = |name: &str| {
        let lock = state.view.lock(name).is_some_and(|lock| lock.value.node == state.me);
        lock || state.turns.contains_key(name)
    };
    let own = state.view.challenges().filter(|(_, item)| state.is_by_this(item.by.as_ref()));
    let stray =
        own.filter(|(key, item)| !state.presented.contains_key(key) && !is_renewing(&item.value.0.owner));
    keys.extend(stray.map(|(key, _)| key.clone()));
    keys
}
