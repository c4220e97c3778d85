// SPDX-License-Identifier: Apache-2.0
//! Has the store give the answers to challenges that other nodes want given, until they are taken back and the
//! order is over. Refuses answers of accounts that the fleet does not have.

use crate::fleet::decide::checks::answer_is_ours;
use crate::fleet::key::Key;
use crate::fleet::node::Node;
use crate::fleet::node::state::State;
use crate::managed::peers::SharedAnswer;
use std::collections::BTreeMap;

/// The answers that the store gives for other nodes, and those of this one whose lease has ended.
#[derive(Default)]
pub struct Answers(BTreeMap<Key, SharedAnswer>);

impl Answers {
    /// Whether the store has all of them.
    pub fn apply(&mut self, node: &Node) -> bool {
        let (now, wanted) = (node.now(), wanted(node));
        let abandoned = std::mem::take(&mut node.state().abandoned);
        self.0.extend(abandoned.into_iter().map(|answer| (Key::challenge(&answer), answer)));
        for answer in self.gone(node, &wanted) {
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

    /// The answers to remove. The CA may still come for those of an order that is left by a node whose lease has
    /// ended: another node finishes it, and gives them again.
    fn gone(&mut self, node: &Node, wanted: &BTreeMap<Key, SharedAnswer>) -> Vec<SharedAnswer> {
        let state = node.state();
        let is_over = |key: &Key, answer: &SharedAnswer| {
            !wanted.contains_key(key)
                && !state.presented.contains_key(key)
                && !has_order(&state, &answer.owner)
        };
        let gone: Vec<Key> =
            self.0.iter().filter(|(key, answer)| is_over(key, answer)).map(|(key, _)| key.clone()).collect();
        gone.iter().filter_map(|key| self.0.remove(key)).collect()
    }

    /// Answers that an earlier process has left for other nodes, and that none wants any more.
    pub fn clean(&mut self, node: &Node) {
        let wanted: Vec<SharedAnswer> = wanted(node).into_values().collect();
        for answer in node.setup.local.answers() {
            let (is_own, is_ordered) = {
                let state = node.state();
                // Its lock may be later than the listing.
                let is_locked = state.turns.contains_key(&answer.owner)
                    || state.view.lock(&answer.owner).is_some_and(|lock| lock.value.node == state.me);
                let is_own = is_locked || state.presented.values().any(|(own, _)| *own == answer);
                (is_own, has_order(&state, &answer.owner))
            };
            let is_known = self.0.values().any(|known| *known == answer) || wanted.contains(&answer);
            match (is_own || is_known, is_ordered) {
                (true, _) => {}
                (false, true) => drop(self.0.insert(Key::challenge(&answer), answer)),
                (false, false) => remove(node, &answer),
            }
        }
    }
}

/// Whether the fleet has an order for this MD under way.
fn has_order(state: &State, name: &str) -> bool {
    match state.view.job(name) {
        Some(job) => job.value.0.order.is_some(),
        // Of MDs that this node does not have, the view knows that there is one.
        None => !state.view.has_md(name) && state.view.mark(&Key::Job(name.into())).is_some(),
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
