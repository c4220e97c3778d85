// SPDX-License-Identifier: Apache-2.0
//! Has the store follow the engine: answers to challenges, OCSP responses and advice are written here; sets wait
//! for the look at their MD, which is asked for. What was followed is acknowledged by the next write.

use super::Replicator;
use crate::fleet::decide::checks::answer_is_ours;
use crate::fleet::engine::{Change, Revision};
use crate::fleet::key::Key;
use crate::fleet::node::state::State;
use crate::managed::peers::SharedAnswer;
use std::collections::BTreeMap;

impl Replicator {
    /// Takes changes that are complete up to this revision.
    pub(super) fn take(&mut self, changes: Vec<Change>, revision: Revision) {
        let now = self.node.now();
        let mut state = self.node.state();
        for change in &changes {
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

    /// Writes into the store what the view has and the store has not.
    pub(super) fn apply(&mut self) {
        self.apply_answers();
        self.apply_responses();
        self.apply_advice();
        let mut state = self.node.state();
        if !self.unwritten {
            state.applied = state.view.revision();
        }
    }

    fn apply_answers(&mut self) {
        let now = self.node.now();
        let wanted = self.wanted_answers();
        let local = self.node.setup.local.clone();
        self.unwritten = false;
        for answer in std::mem::take(&mut self.node.state().abandoned) {
            if let Err(error) = local.remove_answer(&answer) {
                crate::log!(
                    Warn,
                    "md[{}]: an answer whose lease has ended cannot be removed: {error}",
                    answer.owner
                );
            }
        }
        let gone: Vec<Key> = self.mirrored.keys().filter(|key| !wanted.contains_key(key)).cloned().collect();
        for key in gone {
            let Some(answer) = self.mirrored.remove(&key) else { continue };
            if let Err(error) = local.remove_answer(&answer) {
                crate::log!(Warn, "md[{}]: an answer of the fleet cannot be removed: {error}", answer.owner);
            }
        }
        for (key, answer) in wanted {
            if self.mirrored.get(&key) == Some(&answer) {
                continue;
            }
            match local.put_answer(&answer, now) {
                Ok(()) => drop(self.mirrored.insert(key, answer)),
                Err(error) => {
                    self.unwritten = true;
                    let mut state = self.node.state();
                    state.refuse(&key, error);
                }
            }
        }
    }

    /// The answers that other nodes want given.
    fn wanted_answers(&self) -> BTreeMap<Key, SharedAnswer> {
        let mut state = self.node.state();
        let thumbprints: Vec<String> = state.thumbprints.values().cloned().collect();
        let (mut wanted, mut refused) = (BTreeMap::new(), Vec::new());
        for (key, item) in state.view.challenges() {
            if state.is_by_this(item.by.as_ref()) {
                continue;
            }
            match answer_is_ours(&item.value.0, &thumbprints) {
                Ok(()) => drop(wanted.insert(key.clone(), item.value.0.clone())),
                Err(reason) => refused.push((key.clone(), reason)),
            }
        }
        for (key, reason) in refused {
            state.refuse(&key, reason);
        }
        wanted
    }

    fn apply_responses(&mut self) {
        let now = self.node.now();
        let responses: Vec<_> = {
            let state = self.node.state();
            let others = state.view.responses().filter(|(_, item)| !state.is_by_this(item.by.as_ref()));
            others.map(|(key, item)| (key.clone(), item.value.clone())).collect()
        };
        for (key, ocsp) in responses {
            let taken = self.node.setup.local.take_response(&ocsp.md, &ocsp.file, &ocsp.der, now);
            let mut state = self.node.state();
            state.view.forget_response(&key);
            if let Err(reason) = taken {
                state.refuse(&key, reason);
            }
        }
    }

    /// Advice of CAs that other nodes have got for the certificates that this one has, too.
    fn apply_advice(&mut self) {
        let now = self.node.now();
        let mut new = Vec::new();
        {
            let mut state = self.node.state();
            let State { view, stored, advised, .. } = &mut *state;
            for (name, item) in view.sets() {
                let Some(at) = item.value.renew_at else { continue };
                let is_in_store =
                    stored.get(name).is_some_and(|stored| stored.rank.generation == item.value.generation);
                if is_in_store && advised.get(name) != Some(&at) {
                    advised.insert(name.to_string(), at);
                    let ids = item.value.certs.iter().filter_map(|(_, cert)| cert.ari_cert_id.clone());
                    new.push((name.to_string(), ids.collect::<Vec<_>>(), at));
                }
            }
        }
        for (name, ids, at) in new {
            self.node.setup.local.note_renew_at(&name, &ids, at, now);
            self.node.state().news.insert(name);
        }
    }

    /// Answers that an earlier process has left for other nodes, and that none wants any more.
    pub(super) fn clean_answers(&mut self) {
        let wanted: Vec<SharedAnswer> = self.wanted_answers().into_values().collect();
        for answer in self.node.setup.local.answers() {
            let is_own = {
                let state = self.node.state();
                let is_locked =
                    state.view.lock(&answer.owner).is_some_and(|lock| lock.value.node == state.me);
                is_locked || state.presented.values().any(|(own, _)| *own == answer)
            };
            let is_mirrored = self.mirrored.values().any(|mirrored| *mirrored == answer);
            if is_own || is_mirrored || wanted.contains(&answer) {
                continue;
            }
            if let Err(error) = self.node.setup.local.remove_answer(&answer) {
                crate::log!(Warn, "md[{}]: an answer of the fleet cannot be removed: {error}", answer.owner);
            }
        }
    }
}
