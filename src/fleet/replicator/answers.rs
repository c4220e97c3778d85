// SPDX-License-Identifier: Apache-2.0
//! Has the store give the answers to challenges that other nodes want given, and no longer than they want.
//! Refuses answers of accounts that the fleet does not have.

use crate::fleet::decide::checks::answer_is_ours;
use crate::fleet::key::Key;
use crate::fleet::node::Node;
use crate::managed::peers::SharedAnswer;
use std::collections::BTreeMap;

/// The answers that the store gives for other nodes.
#[derive(Default)]
pub struct Answers(BTreeMap<Key, SharedAnswer>);

impl Answers {
    /// Whether the store has all of them.
    pub fn apply(&mut self, node: &Node) -> bool {
        let (now, wanted) = (node.now(), wanted(node));
        let abandoned = std::mem::take(&mut node.state().abandoned);
        for answer in abandoned {
            remove(node, &answer);
        }
        let gone: Vec<Key> = self.0.keys().filter(|key| !wanted.contains_key(key)).cloned().collect();
        for answer in gone.iter().filter_map(|key| self.0.remove(key)).collect::<Vec<_>>() {
            remove(node, &answer);
        }
        let mut is_whole = true;
        for (key, answer) in wanted {
            if self.0.get(&key) == Some(&answer) {
                continue;
            }
            match node.setup.local.put_answer(&answer, now) {
                Ok(()) => drop(self.0.insert(key, answer)),
                Err(error) => {
                    is_whole = false;
                    node.state().refuse(&key, error);
                }
            }
        }
        is_whole
    }

    /// Answers that an earlier process has left for other nodes, and that none wants any more.
    pub fn clean(&mut self, node: &Node) {
        let wanted: Vec<SharedAnswer> = wanted(node).into_values().collect();
        for answer in node.setup.local.answers() {
            let is_own = {
                let state = node.state();
                let is_locked =
                    state.view.lock(&answer.owner).is_some_and(|lock| lock.value.node == state.me);
                is_locked || state.presented.values().any(|(own, _)| *own == answer)
            };
            let is_known = self.0.values().any(|known| *known == answer) || wanted.contains(&answer);
            if !is_own && !is_known {
                remove(node, &answer);
            }
        }
    }
}

fn remove(node: &Node, answer: &SharedAnswer) {
    if let Err(error) = node.setup.local.remove_answer(answer) {
        crate::log!(Warn, "md[{}]: an answer of the fleet cannot be removed: {error}", answer.owner);
    }
}

/// The answers that other nodes want given.
fn wanted(node: &Node) -> BTreeMap<Key, SharedAnswer> {
    let mut state = node.state();
    let thumbprints: Vec<String> = state.thumbprints.values().cloned().collect();
    let (mut wanted, mut refused) = (BTreeMap::new(), Vec::new());
    let others = state.view.challenges().filter(|(_, item)| !state.is_by_this(item.by.as_ref()));
    for (key, item) in others {
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
