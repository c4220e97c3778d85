// SPDX-License-Identifier: Apache-2.0
//! What ends: keys under leases, where the engine does not tell; what is of no use to any node.

use crate::fleet::decide::cleanup::useless;
use crate::fleet::decide::lease::Boot;
use crate::fleet::engine::{Condition, Revision, Transaction, Write};
use crate::fleet::key::{Key, NODES};
use crate::fleet::node::known::mark_of;
use crate::fleet::node::{Failed, Node, unless_passing};
use crate::fleet::view::{Part, Put};
use std::time::Duration;

/// Where somebody may wait for the end of a lock or of an answer.
const LOOK: Duration = Duration::from_secs(5);
/// Between two looks at the nodes.
const NODES_LOOK: Duration = Duration::from_secs(30);
/// Between two looks at what is of no use any more.
const TIDY: Duration = Duration::from_secs(600);

#[derive(Default)]
pub struct Ends {
    looked: Boot,
    looked_at_nodes: Boot,
    tidied: Boot,
}

impl Ends {
    /// Looks at what ends with leases, where the engine does not tell.
    pub fn look(&mut self, node: &Node) -> Result<(), Failed> {
        let boot = node.boot();
        if node.setup.engine.tells_ends() {
            return Ok(());
        }
        let is_awaited = {
            let state = node.state();
            state.view.locks().next().is_some() || state.view.challenges().next().is_some()
        };
        if is_awaited && boot >= self.looked + LOOK {
            self.looked = boot;
            list(node, "v1/lock/", Part::Locks)?;
            list(node, "v1/challenge/", Part::Challenges)?;
        }
        if boot >= self.looked_at_nodes + NODES_LOOK {
            self.looked_at_nodes = boot;
            list(node, NODES, Part::Nodes)?;
        }
        Ok(())
    }

    /// Deletes what is of no use to any node.
    pub fn tidy(&mut self, node: &Node) -> Result<(), Failed> {
        let (now, boot) = (node.now(), node.boot());
        if boot < self.tidied + TIDY {
            return Ok(());
        }
        self.tidied = boot;
        let keys = {
            let state = node.state();
            useless(&state.view, &state.me, now)
        };
        delete(node, keys)
    }
}

/// Deletes each of these, if it is still as it was.
pub fn delete(node: &Node, keys: Vec<(Key, Revision)>) -> Result<(), Failed> {
    for (key, changed) in keys {
        let text = node.text(&key)?;
        let when = vec![Condition::ChangedAt(text.clone(), changed)];
        if let Err(error) = node.commit(&Transaction { when, then: vec![Write::Delete { key: text }] }) {
            return unless_passing(error);
        }
    }
    Ok(())
}

fn list(node: &Node, prefix: &str, part: Part) -> Result<(), Failed> {
    let codec = node.codec()?;
    let (mut listing, locked) = {
        let state = node.state();
        (state.view.begin(part), state.view.locks().map(|(key, _)| key.clone()).collect::<Vec<Key>>())
    };
    let revision = node.list(prefix, |entries| {
        let mut state = node.state();
        for entry in &entries {
            let Some(key) = codec.key(&entry.key) else { continue };
            match codec.open(entry) {
                Ok(opened) => {
                    let put = Put { key, record: opened.record, by: opened.written, mark: mark_of(entry) };
                    state.view.list(&mut listing, put);
                }
                Err(flaw) => state.view.list_flawed(&mut listing, key, mark_of(entry), &flaw.to_string()),
            }
        }
        Ok(())
    })?;
    let mut state = node.state();
    for key in state.view.finish(listing, revision) {
        state.after_gone(&key, locked.contains(&key));
    }
    Ok(())
}
