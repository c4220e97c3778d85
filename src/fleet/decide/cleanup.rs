// SPDX-License-Identifier: Apache-2.0
//! What in the engine is of no use any more, and what a dead node left there. Sets, accounts and what is
//! withdrawn stay: nobody can get them back. An MD that no live node has may be that of one that restarts, so its
//! entries stay for a day. Pure; imports `view`.

use crate::fleet::engine::Revision;
use crate::fleet::key::Key;
use crate::fleet::view::View;
use crate::model::RateLimit;
use crate::time::{DAY, Timestamp};
use std::collections::BTreeSet;

/// What CAs have asked nodes for, in force at `now`; a day at the longest.
pub fn holds(view: &View, now: Timestamp) -> Vec<(RateLimit, Option<String>)> {
    let in_force = view.holds().filter(|(_, hold)| now < end_of_hold(&hold.value.limit, now));
    let hold = |hold: &crate::fleet::record::Hold| {
        let limit = &hold.limit;
        let since = limit.since.min(now);
        (RateLimit { since, until: end_of_hold(limit, now), ..limit.clone() }, hold.md.clone())
    };
    in_force.map(|(_, item)| hold(&item.value)).collect()
}

fn end_of_hold(limit: &RateLimit, now: Timestamp) -> Timestamp {
    // Written by a clock that is ahead, it begins now.
    limit.until.min(limit.since.min(now).plus(DAY))
}

/// What may be deleted, if it is still as it was then. The node that is first of all does it.
pub fn useless(view: &View, me: &str, now: Timestamp) -> Vec<(Key, Revision)> {
    if view.nodes().any(|node| node.id.as_str() < me) {
        return Vec::new();
    }
    let used = used_mds(view);
    let is_old = |at: Option<Timestamp>| at.is_some_and(|at| at.plus(DAY) < now);
    let kept = view.kept().filter(|(key, kept)| match key {
        Key::Hold { .. } => is_old(kept.at),
        Key::Job(md) | Key::Ocsp { md, .. } => is_old(kept.at) && !used.contains(md.as_str()),
        _ => false,
    });
    kept.map(|(key, kept)| (key.clone(), kept.mark.changed)).collect()
}

/// What a dead node left. `Err`: it lives.
pub fn left_by(view: &View, node: &str) -> Result<Vec<(Key, Revision)>, String> {
    if let Some(live) = view.node(node) {
        return Err(format!("node {} is live: stop its httpd first", live.name));
    }
    let used = used_mds(view);
    let is_of_node = |key: &Key| view.locks().any(|(lock, item)| lock == key && item.value.node == node);
    let left = view.kept().filter(|(key, kept)| match key {
        Key::Node(id) | Key::Applied(id) => id == node,
        Key::Lock(_) | Key::AccountLock(_) => is_of_node(key),
        Key::Challenge { .. } => kept.node.as_deref() == Some(node),
        Key::Job(md) | Key::Ocsp { md, .. } => {
            kept.node.as_deref() == Some(node) && !used.contains(md.as_str())
        }
        _ => false,
    });
    Ok(left.map(|(key, kept)| (key.clone(), kept.mark.changed)).collect())
}

fn used_mds(view: &View) -> BTreeSet<&str> {
    view.nodes().flat_map(|node| node.mds()).map(|md| md.name.as_str()).chain(view.own()).collect()
}
