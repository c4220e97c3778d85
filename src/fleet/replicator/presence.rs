// SPDX-License-Identifier: Apache-2.0
//! Writes that this node is there, what it has, and how far it has come.

use crate::fleet::decide::health::{is_copied, namesake};
use crate::fleet::decide::lease::Boot;
use crate::fleet::decide::presence::{self, Write as Due};
use crate::fleet::engine::{LeaseId, Revision};
use crate::fleet::key::Key;
use crate::fleet::node::state::State;
use crate::fleet::node::{Failed, Node, unless_passing};
use crate::fleet::record::{self, Applied, Record};
use crate::fleet::sealed::Flaw;

/// When something is to be written, as far as time alone tells.
pub fn next(state: &State, boot: Boot) -> Boot {
    match presence::write(&state.presence, &state.view, state.applied, boot) {
        Due::NotBefore(at) => at,
        Due::Applied(_) | Due::Node(_) => boot,
    }
}

/// Writes what is due.
pub fn write(node: &Node) -> Result<(), Failed> {
    look_for_copy(node)?;
    let boot = node.boot();
    let (due, me, lease) = {
        let state = node.state();
        let due = presence::write(&state.presence, &state.view, state.applied, boot);
        (due, state.me.clone(), state.lease)
    };
    let (key, record, revision) = match due {
        Due::NotBefore(_) => return Ok(()),
        Due::Applied(revision) => {
            let applied = Applied { applied: revision.0, seen: node.now() };
            (Key::Applied(me), Record::Applied(applied), revision)
        }
        Due::Node(revision) => (Key::Node(me), Record::Node(presence_of(node, revision)), revision),
    };
    node.state().presence.tried = Some(boot);
    match write_what_fits(node, &key, &record, lease) {
        Ok(Some(at)) => {
            let mut state = node.state();
            state.presence.written = Some(boot);
            state.failing = None;
            state.presence.acknowledged = revision;
            if let Record::Node(_) = record {
                state.presence.is_told = true;
                state.told_at = Some(at);
            }
            drop(state);
            node.is_well();
            Ok(())
        }
        Err(Failed::Engine(error)) => unless_passing(error),
        Err(failed) => Err(failed),
        // Another process writes it, or the engine has gone back: both are told soon.
        Ok(None) => Ok(()),
    }
}

/// Others learn of as many MDs as one value has room for.
fn write_what_fits(
    node: &Node,
    key: &Key,
    record: &Record,
    lease: LeaseId,
) -> Result<Option<Revision>, Failed> {
    let written = node.replace(key, record, Some(lease), None);
    let Record::Node(whole) = record else { return written };
    if !matches!(written, Err(Failed::Value(_, Flaw::TooLarge))) {
        node.warn("size", None);
        return written;
    }
    let mut part = record::Node { has_more: true, ..whole.clone() };
    // The same ones on all nodes.
    part.mds.sort_unstable();
    loop {
        let count = part.mds.len() * 9 / 10;
        part.mds.truncate(count);
        let written = node.replace(key, &Record::Node(part.clone()), Some(lease), None);
        if count > 0 && matches!(written, Err(Failed::Value(_, Flaw::TooLarge))) {
            continue;
        }
        let text = format!(
            "this node has {} MDs, and others learn of the first {count} alone: one value of the engine has no room \
             for more. The rest is ordered for the names of the node that renews: give each MD the same names on all \
             nodes, or this node fewer MDs",
            whole.mds.len()
        );
        node.warn("size", Some(text));
        return written;
    }
}

fn presence_of(node: &Node, revision: Revision) -> record::Node {
    let (setup, now) = (&node.setup, node.now());
    let state = node.state();
    record::Node {
        id: state.me.clone(),
        name: setup.name.clone(),
        instance: state.instance.clone(),
        version: setup.version.clone(),
        mds: setup.mds.clone(),
        has_more: false,
        applied: revision.0,
        seen: now,
    }
}

/// Another process that uses this node's id has the same store, copied: this one is a new node then, with a
/// lease of its own.
fn look_for_copy(node: &Node) -> Result<(), Failed> {
    let mut state = node.state();
    if is_copied(&state.view, &state.me, &state.instance, &state.former, state.told_at) {
        crate::log!(
            Warn,
            "fleet: another httpd has a copy of this store; this one is a new node from now on"
        );
        state.become_another();
        return Err(Failed::Resync);
    }
    let other = namesake(&state.view, &state.me, &node.setup.name);
    drop(state);
    node.warn("name", other);
    Ok(())
}
