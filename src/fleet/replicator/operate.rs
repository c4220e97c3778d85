// SPDX-License-Identifier: Apache-2.0
//! What operators ask of the process that replicates: `a2md fleet resync`, `evict` and `rekey`. Each is answered
//! in the report.

use super::ends::delete;
use crate::fleet::decide::cleanup::left_by_all;
use crate::fleet::engine::{Committed, Condition, Entry, Transaction, Write};
use crate::fleet::key::{ALL, META};
use crate::fleet::node::{Failed, Node};
use crate::model::{FleetOp, FleetRequest, RequestState};

/// Does what was asked for since the last call.
pub fn look(node: &Node) -> Result<(), Failed> {
    let Some(request) = node.setup.local.request(node.now()) else { return Ok(()) };
    match &request.op {
        FleetOp::Resync => {
            answer(node, &request, RequestState::Done, "everything is read from the engine again".into());
            Err(Failed::Resync)
        }
        FleetOp::Evict { node: name } => evict(node, &request, name),
        FleetOp::Rekey => rekey(node, &request),
    }
}

fn answer(node: &Node, request: &FleetRequest, state: RequestState, detail: String) {
    let answer = request.answer(state, Some(detail), node.now());
    node.state().answer = Some(answer);
}

/// Says what has become of a request. The failure goes on to the step.
fn finish(node: &Node, request: &FleetRequest, outcome: Result<String, Failed>) -> Result<(), Failed> {
    match outcome {
        Ok(done) => {
            answer(node, request, RequestState::Done, done);
            Ok(())
        }
        Err(failed) => {
            answer(node, request, RequestState::Failed, failed.to_string());
            Err(failed)
        }
    }
}

/// Removes what a dead node has left. `name`: its id or name.
fn evict(node: &Node, request: &FleetRequest, name: &str) -> Result<(), Failed> {
    let left = left_by_all(&node.state().view, name);
    match left {
        Err(reason) => {
            answer(node, request, RequestState::Refused, reason);
            Ok(())
        }
        Ok(left) => {
            let count = left.len();
            finish(node, request, delete(node, left).map(|()| format!("removed {count} entries")))
        }
    }
}

/// Seals with the first secret what the second has sealed. What is under a lease its own node writes again.
fn rekey(node: &Node, request: &FleetRequest) -> Result<(), Failed> {
    let outcome = seal_again(node).map(|count| format!("sealed {count} values again"));
    finish(node, request, outcome)
}

fn seal_again(node: &Node) -> Result<usize, Failed> {
    let mut count = 0;
    node.list(ALL, |entries| {
        for entry in entries.iter().filter(|entry| entry.lease.is_none()) {
            count += usize::from(seal_entry(node, entry)?);
        }
        Ok(())
    })?;
    Ok(count)
}

/// Whether it was sealed again.
fn seal_entry(node: &Node, entry: &Entry) -> Result<bool, Failed> {
    let codec = node.codec()?;
    let value = if entry.key == META {
        codec.meta_again(&entry.value).ok().flatten()
    } else {
        let opened = codec.open(entry).ok().filter(|opened| !opened.is_first);
        opened.and_then(|opened| codec.seal(&opened.key, &opened.record, &opened.written?).ok())
    };
    let Some(value) = value else { return Ok(false) };
    let when = vec![Condition::ChangedAt(entry.key.clone(), entry.changed)];
    let then = vec![Write::Put { key: entry.key.clone(), value, lease: None }];
    Ok(node.commit(&Transaction { when, then })? != Committed::Refused)
}
