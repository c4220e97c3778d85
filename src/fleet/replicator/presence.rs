// SPDX-License-Identifier: Apache-2.0
//! Writes that this node is there, what it has, and how far it has come.

use crate::fleet::decide::health::{is_copied, namesake};
use crate::fleet::decide::lease::Boot;
use crate::fleet::decide::presence::{self, Write as Due};
use crate::fleet::engine::{Committed, Error, Revision, Transaction};
use crate::fleet::key::Key;
use crate::fleet::node::state::State;
use crate::fleet::node::{Failed, Node};
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
    let write = match node.sealed(&key, &record, Some(lease)) {
        Err(Failed::Value(_, Flaw::TooLarge)) => {
            let text = "this node has more MDs than fit into one value; others do not learn its names";
            node.warn("size", Some(text.into()));
            let bare = record::Node { mds: Vec::new(), ..presence_of(node, revision) };
            node.sealed(&key, &Record::Node(bare), Some(lease))?
        }
        write => write?,
    };
    let done = node.commit(&Transaction { when: Vec::new(), then: vec![write] });
    let mut state = node.state();
    match done {
        Ok(Committed::Done(at)) => {
            state.presence.written = Some(boot);
            state.presence.acknowledged = revision;
            if let Record::Node(_) = record {
                state.presence.is_told = true;
                state.told_at = Some(at);
            }
            Ok(())
        }
        Err(error @ (Error::LeaseGone | Error::Stopped)) => Err(error.into()),
        // A full engine, a right that is missing: reads go on, and it is tried again.
        Ok(Committed::Refused) | Err(_) => Ok(()),
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
        applied: revision.0,
        seen: now,
    }
}

/// Another process that uses this node's id has the same store, copied: this one is a new node then, with a
/// lease of its own.
fn look_for_copy(node: &Node) -> Result<(), Failed> {
    let mut state = node.state();
    if is_copied(&state.view, &state.me, &state.instance, state.former.as_deref(), state.told_at) {
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
