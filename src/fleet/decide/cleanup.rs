// SPDX-License-Identifier: Apache-2.0
//! What in the engine is of no use any more, and what a dead node left there. Sets and accounts stay: nobody can
//! get them back. An MD that no live node has may be that of one that restarts, so its entries stay for a day.
//! Pure; imports `asks` and `view`.

use super::asks;
use crate::fleet::engine::Revision;
use crate::fleet::key::Key;
use crate::fleet::record::Hold;
use crate::fleet::view::View;
use crate::managed::withdrawn::Withdrawn;
use crate::model::RateLimit;
use crate::time::{DAY, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// What CAs have asked nodes for, in force at `now`; a day at the longest.
pub fn holds(view: &View, now: Timestamp) -> Vec<(RateLimit, Option<String>)> {
    let in_force = view.holds().filter(|(_, hold)| now < end_of_hold(&hold.value.limit, now));
    let hold = |hold: &Hold| {
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

/// OCSP responses live for ten days at the longest, and are asked for anew before.
const RESPONSE: Duration = Duration::from_secs(14 * 86_400);

/// What may be deleted, if it is still as it was written then. One node does it: for MDs that it has, the one
/// that asks; for all else, the first.
pub fn useless(view: &View, me: &str, now: Timestamp) -> Vec<(Key, Revision)> {
    let is_first = !view.nodes().any(|node| node.id.as_str() < me);
    let used = used_mds(view);
    let is_older = |at: Option<Timestamp>, than| at.is_some_and(|at| at.plus(than) < now);
    let kept = view.kept().filter(|(key, kept)| match key {
        Key::Hold { .. } => is_first && is_older(kept.at, DAY),
        Key::Job(md) => is_first && is_older(kept.at, DAY) && !used.contains(md.as_str()),
        Key::Ocsp { md, .. } => {
            let is_left = is_older(kept.at, DAY) && !used.contains(md.as_str());
            is_first && (is_left || is_older(kept.at, RESPONSE))
        }
        Key::Withdrawn(md) => asks::asks(view, me, md) && has_expired(view, md, now),
        _ => false,
    });
    kept.map(|(key, kept)| (key.clone(), kept.mark.changed)).collect()
}

/// Whether all that is withdrawn of an MD of this node would have expired.
fn has_expired(view: &View, md: &str, now: Timestamp) -> bool {
    view.withdrawn(md).is_some_and(|item| Withdrawn::of(&item.value.record, now).is_empty())
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
