// SPDX-License-Identifier: Apache-2.0
//! Takes what the engine tells, and has the store follow: OCSP responses and advice are written here; sets wait
//! for the look at their MD, which is asked for, and are written here where nothing looks.

use crate::fleet::decide::lease::Boot;
use crate::fleet::engine::{Change, Revision};
use crate::fleet::key::Key;
use crate::fleet::node::Node;
use crate::fleet::node::state::State;
use crate::managed::peers::Unused;
use std::collections::BTreeMap;
use std::time::Duration;

/// A response is offered again: the certificates that it is for may come later.
const OFFERED_EVERY: Duration = Duration::from_secs(10);
const OFFERS: u32 = 30;

/// Takes changes that are complete up to this revision.
pub fn take(node: &Node, changes: &[Change], revision: Revision) {
    let now = node.now();
    let mut state = node.state();
    for change in changes {
        match change {
            Change::Put(entry) => state.take_entry(entry, now),
            Change::Gone { key, at } => {
                if let Some(key) = state.codec.as_ref().and_then(|codec| codec.key(key)) {
                    state.gone(&key, *at);
                }
            }
        }
    }
    state.view.advance(revision);
}

/// All that was taken is in the store, or waits for its look.
pub fn acknowledge(node: &Node) {
    let mut state = node.state();
    state.applied = state.view.revision();
}

/// OCSP responses that were not used, how often they were offered, and when they are again.
#[derive(Default)]
pub struct Responses(BTreeMap<Key, (u32, Boot)>);

impl Responses {
    pub fn apply(&mut self, node: &Node) {
        let (now, boot) = (node.now(), node.boot());
        let due: Vec<_> = {
            let state = node.state();
            let is_due = |key: &Key| self.0.get(key).is_none_or(|(_, next)| *next <= boot);
            let due = state.view.responses().filter(|(key, _)| is_due(key));
            due.map(|(key, item)| (key.clone(), item.value.clone(), state.is_by_this(item.by.as_ref())))
                .collect()
        };
        for (key, ocsp, is_own) in due {
            let taken = match is_own {
                true => Ok(()),
                false => node.setup.local.take_response(&ocsp.md, &ocsp.file, &ocsp.der, now),
            };
            let (offers, _) = self.0.get(&key).copied().unwrap_or_default();
            match taken {
                Err(_) if offers < OFFERS => drop(self.0.insert(key, (offers + 1, boot + OFFERED_EVERY))),
                taken => {
                    self.0.remove(&key);
                    let mut state = node.state();
                    state.view.forget_response(&key);
                    if let Err(Unused::Refused(reason)) = taken {
                        state.refuse(&key, reason);
                    }
                }
            }
        }
    }
}

/// Advice of CAs that other nodes have got for the certificates that this one has, too. Where neither has changed
/// since the last look, there is none.
pub fn advice(node: &Node) {
    let now = node.now();
    let mut new = Vec::new();
    {
        let mut state = node.state();
        let State { view, stored, advised, unadvised, .. } = &mut *state;
        for name in std::mem::take(unadvised) {
            let Some(item) = view.set(&name) else { continue };
            let Some(at) = item.value.renew_at else { continue };
            let is_in_store =
                stored.get(&name).is_some_and(|stored| stored.rank.generation == item.value.generation);
            if is_in_store && advised.get(&name) != Some(&at) {
                advised.insert(name.clone(), at);
                let ids = item.value.certs.iter().filter_map(|(_, cert)| cert.ari_cert_id.clone());
                new.push((name, ids.collect::<Vec<_>>(), at));
            }
        }
    }
    for (name, ids, at) in new {
        node.setup.local.note_renew_at(&name, &ids, at, now);
        node.state().news.insert(name);
    }
}

/// Sets of MDs that no renewal looks at.
pub fn sets(node: &Node) {
    let boot = node.boot();
    let due: Vec<String> = {
        let state = node.state();
        let due = state.pending.iter().filter(|(_, next)| **next <= boot).map(|(name, _)| name.clone());
        due.filter(|name| !node.setup.local.is_looked_at(name)).collect()
    };
    for name in due {
        node.state().defer(&name, boot);
        node.bring_in(&name);
    }
}
