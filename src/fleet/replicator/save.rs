// SPDX-License-Identifier: Apache-2.0
//! What one process of this node leaves to the next: read when this one replicates the store, written where it
//! has changed.

use crate::fleet::decide::reconcile::Stored;
use crate::fleet::decide::state::{INSTANCES_MAX, State as Saved};
use crate::fleet::node::Node;
use crate::fleet::node::state::State;
use crate::fleet::node::under_way::{random_id, random_lease};
use std::collections::HashMap;

/// The state as it was last written.
#[derive(Default)]
pub struct Saver(Saved);

impl Saver {
    /// Goes on as the process before.
    pub fn take_over(&mut self, node: &Node) {
        let local = &node.setup.local;
        let place = local.place();
        let saved = local.load().map(|saved| match saved.place.is_empty() || saved.place == place {
            true => saved,
            false => {
                crate::log!(Notice, "fleet: the store was copied or restored; this is a new node");
                saved.copied(random_id())
            }
        });
        let saved = saved.unwrap_or_else(|| Saved { node: random_id(), ..Saved::default() });
        let stored = local.sets().into_iter().filter_map(|(name, set)| Some((name, Stored::of(&set)?)));
        let stored: HashMap<String, Stored> = stored.collect();
        let mut state = node.state();
        state.me.clone_from(&saved.node);
        state.instance = random_id();
        state.lease = saved.lease.unwrap_or_else(random_lease);
        state.epoch.clone_from(&saved.epoch);
        state.withdrawn.clone_from(&saved.withdrawn);
        state.highest.clone_from(&saved.highest);
        state.former_nodes.clone_from(&saved.nodes);
        state.former.clone_from(&saved.instances);
        state.stored = stored;
        drop(state);
        self.0 = Saved { place, ..saved };
    }

    /// Before this process writes that it is there: the next one has to know it for one of this store. Where the disk
    /// does not take it, this one goes by the name of the one before.
    pub fn save_instance(&mut self, node: &Node) {
        self.save(node);
        let mut state = node.state();
        if state.told_at.is_none()
            && !self.0.instances.contains(&state.instance)
            && let Some(last) = state.former.last().cloned()
        {
            state.instance = last;
        }
    }

    pub fn save(&mut self, node: &Node) {
        let saved = {
            let state = node.state();
            if state.me.is_empty() {
                return;
            }
            Saved {
                node: state.me.clone(),
                instances: instances(&state),
                place: self.0.place.clone(),
                lease: Some(state.lease),
                epoch: state.epoch.clone(),
                // Each process lists everything.
                applied: self.0.applied,
                highest: state.highest.clone(),
                withdrawn: state.withdrawn.clone(),
                nodes: state.other_nodes(),
            }
        };
        if saved == self.0 {
            return;
        }
        match node.setup.local.save(&saved) {
            Ok(()) => {
                self.0 = saved;
                node.warn("state", None);
            }
            Err(error) => {
                node.warn("state", Some(format!("the state of this node cannot be saved: {error}")))
            }
        }
    }
}

/// Before this process has written that it is there, the entry may be of any before it.
fn instances(state: &State) -> Vec<String> {
    let former = if state.told_at.is_some() { &[] } else { state.former.as_slice() };
    let own = state.instance.clone();
    let left_out = (former.len() + 1).saturating_sub(INSTANCES_MAX);
    former.iter().filter(|known| **known != own).cloned().chain([own.clone()]).skip(left_out).collect()
}
