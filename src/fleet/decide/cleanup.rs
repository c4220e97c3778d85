// SPDX-License-Identifier: Apache-2.0
//! What in the engine is of no use any more, and what a dead node left there. Sets and accounts stay: nobody can
//! get them back. An MD that no live node has may be that of one that restarts, so its entries stay for a day.
//! Pure; imports `asks` and `view`.

use super::asks;
use crate::fleet::engine::Revision;
use crate::fleet::key::Key;
use crate::fleet::record::Hold;
use crate::fleet::view::View;
use crate::fleet::view::nodes::LiveNode;
use crate::managed::withdrawn::Withdrawn;
use crate::model::RateLimit;
use crate::time::{DAY, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// What CAs have asked nodes for, in force at `now`; a day at the longest.
pub fn holds(view: &View, now: Timestamp) -> Vec<(RateLimit, Option<String>)> {
    // Of a clock that is further ahead nobody knows when it ends; the CA says it again.
    let is_dated = |limit: &RateLimit| limit.since <= now.plus(DAY);
    let in_force = view
        .holds()
        .filter(|(_, hold)| is_dated(&hold.value.limit) && now < end_of_hold(&hold.value.limit, now));
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

/// OCSP responses live for ten days at the longest, and are requested again before.
const RESPONSE: Duration = Duration::from_secs(14 * 86_400);

/// What may be deleted, if it is still as it was written then. One node does it: for MDs that it has, the one
/// that asks; for all else, the first.
pub fn useless(view: &View, me: &str, now: Timestamp) -> Vec<(Key, Revision)> {
    let is_first = !view.nodes().any(|node| node.id.as_str() < me);
    let used = Used::of(view);
    let is_older = |at: Option<Timestamp>, than| at.is_some_and(|at| at.plus(than) < now);
    let is_ahead = |at: Timestamp| at > now.plus(DAY);
    let kept = view.kept().filter(|(key, kept)| match key {
        Key::Hold { .. } => is_first && (is_older(kept.at, DAY) || kept.at.is_some_and(is_ahead)),
        Key::Job(md) => is_first && is_older(kept.at, DAY) && !used.has(md),
        Key::Ocsp { md, .. } => {
            let is_left = is_older(kept.at, DAY) && !used.has(md);
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

/// What the dead nodes of this name or id left. `Err`: one lives, or there never was one.
pub fn left_by_all(view: &View, name: &str) -> Result<Vec<(Key, Revision)>, String> {
    if let Some(live) = view.nodes().find(|node| node.id == name || node.name == name) {
        return left_by(view, &live.id);
    }
    let mut left = Vec::new();
    for id in view.gone_nodes(name) {
        left.append(&mut left_by(view, id)?);
    }
    if left.is_empty() {
        left = left_by(view, name)?;
    }
    match left.is_empty() && view.gone_nodes(name).next().is_none() {
        false => Ok(left),
        true => Err(format!(
            "no node {name} was live since this httpd has joined, and nothing in the engine is of a node with that id: a \
             node that died before is known by its id alone, and its locks and answers have ended with its lease"
        )),
    }
}

/// What a dead node left. `Err`: it lives.
fn left_by(view: &View, node: &str) -> Result<Vec<(Key, Revision)>, String> {
    if let Some(live) = view.node(node) {
        return Err(format!("node {} is live: stop its httpd first", live.name));
    }
    let used = Used::of(view);
    let is_of_node = |key: &Key| view.locks().any(|(lock, item)| lock == key && item.value.node == node);
    let left = view.kept().filter(|(key, kept)| match key {
        Key::Node(id) | Key::Applied(id) => id == node,
        Key::Lock(_) | Key::AccountLock(_) => is_of_node(key),
        Key::Challenge { .. } => kept.node.as_deref() == Some(node),
        Key::Job(md) | Key::Ocsp { md, .. } => kept.node.as_deref() == Some(node) && !used.has(md),
        _ => false,
    });
    Ok(left.map(|(key, kept)| (key.clone(), kept.mark.changed)).collect())
}

/// The MDs of live nodes.
struct Used<'v> {
    names: BTreeSet<&'v str>,
    /// A node has more than it tells: any may be used.
    is_any: bool,
}

impl<'v> Used<'v> {
    fn of(view: &'v View) -> Self {
        let names = view.nodes().flat_map(|node| node.mds()).map(|md| md.name.as_str());
        Used { names: names.chain(view.own()).collect(), is_any: view.nodes().any(LiveNode::has_more) }
    }

    fn has(&self, name: &str) -> bool {
        self.is_any || self.names.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::record::{self, Lock, Ocsp, Record, Written};
    use crate::fleet::view::Put;
    use crate::fleet::view::fixture::{NOW, challenge, lock, node, node_md, put, view};
    use crate::managed::peers::SharedJob;
    use crate::model::retry_state::Scope;
    use serde_json::json;

    const HOUR: Duration = Duration::from_secs(3600);

    fn hold(md: Option<&str>, since: Timestamp, until: Timestamp) -> Put {
        let limit = RateLimit { ca: "https://ca.test/dir".into(), scope: Scope::Ca, since, until };
        let md = md.map(String::from);
        put(Key::Hold { ca: "h".into(), md: md.clone() }, Record::Hold(Hold { limit, md }), 3)
    }

    fn job(md: &str) -> Put {
        put(Key::Job(md.into()), Record::Job(record::Job(SharedJob::default())), 4)
    }

    fn ocsp(md: &str) -> Put {
        let (md, file) = (md.to_string(), "0a.json".to_string());
        put(Key::Ocsp { md: md.clone(), file: file.clone() }, Record::Ocsp(Ocsp { md, file, der: vec![] }), 5)
    }

    #[test]
    fn holds_end_after_a_day_at_the_latest_whatever_they_say() {
        let of = |since, until, now| {
            let found = holds(&view(vec![hold(Some("a.test"), since, until)], 9), now);
            found.first().map(|(limit, md)| (limit.since, limit.until, md.clone()))
        };
        let md = Some("a.test".to_string());
        let soon = NOW.plus(HOUR);
        assert_eq!(of(NOW, soon, NOW), Some((NOW, soon, md.clone())));
        assert_eq!(of(NOW, soon, soon), None);
        let year = NOW.plus(DAY * 365);
        assert_eq!(of(NOW, year, NOW), Some((NOW, NOW.plus(DAY), md.clone())));
        assert_eq!(of(NOW, year, NOW.plus(DAY)), None);
        let ahead = NOW.plus(HOUR);
        assert_eq!(
            of(ahead, ahead.plus(HOUR), NOW),
            Some((NOW, ahead.plus(HOUR), md)),
            "a clock that is ahead"
        );
        assert_eq!(of(year, year.plus(HOUR), NOW), None, "by a year, which it would last");
        let foreign = view(vec![hold(Some("b.test"), NOW, soon), hold(None, NOW, soon)], 9);
        assert_eq!(holds(&foreign, NOW).len(), 1, "an MD of others does not matter here");
    }

    #[test]
    fn leftovers_go_after_a_day_if_no_live_node_has_the_md() {
        let entries = vec![
            node("n1", vec![node_md("a.test", &[], "x")], 0, 1),
            node("n2", vec![node_md("b.test", &[], "x")], 0, 2),
            hold(None, NOW, NOW.plus(HOUR)),
            job("a.test"),
            job("b.test"),
            job("c.test"),
            ocsp("b.test"),
            ocsp("c.test"),
            lock("n1", 6),
        ];
        let view = view(entries, 9);
        let keys =
            |me, now| -> Vec<Key> { useless(&view, me, now).into_iter().map(|(key, _)| key).collect() };
        assert!(keys("n1", NOW.plus(HOUR)).is_empty(), "its node may restart");
        let later = NOW.plus(DAY).plus(HOUR);
        let left = [job("c.test").key, hold(None, NOW, NOW).key, ocsp("c.test").key];
        let mut found = keys("n1", later);
        found.sort();
        assert_eq!(found, left);
        assert!(keys("n2", later).is_empty(), "one node does it");
        assert!(keys("n1", NOW.plus(DAY * 15)).contains(&ocsp("b.test").key), "its certificate was replaced");
        assert!(useless(&view, "n1", later).contains(&(job("c.test").key, Revision(4))));
    }

    #[test]
    fn a_list_of_what_is_withdrawn_goes_when_nothing_in_it_is_in_force() {
        let until = NOW.plus(HOUR).to_http_date();
        let list = json!({"certificates": [{"why": "revoked", "issuer": "CN=x", "serial": "0A",
            "since": NOW.to_http_date(), "until": until}]});
        let record = Record::Withdrawn(record::Withdrawn { record: list });
        let key = Key::Withdrawn("a.test".into());
        let view = view(vec![put(key.clone(), record, 4)], 4);
        assert!(useless(&view, "n1", NOW).is_empty());
        assert_eq!(useless(&view, "n1", NOW.plus(DAY)), [(key, Revision(4))]);
    }

    #[test]
    fn what_a_dead_node_left_can_be_evicted() {
        let of = |put: Put, node: &str| Put { by: Some(Written { node: node.into(), at: NOW }), ..put };
        let account = Key::AccountLock("h".into());
        let account_lock = put(account.clone(), Record::Lock(Lock { node: "n3".into(), since: NOW }), 8);
        let mut view = view(
            vec![
                node("n2", vec![node_md("b.test", &[], "x")], 0, 1),
                lock("n2", 2),
                account_lock,
                of(challenge("t", 3), "n3"),
                of(challenge("u", 3), "n2"),
                of(job("b.test"), "n3"),
                of(job("c.test"), "n3"),
                of(ocsp("c.test"), "n2"),
            ],
            9,
        );
        let mut left: Vec<Key> = left_by(&view, "n3").unwrap().into_iter().map(|(key, _)| key).collect();
        left.sort();
        let mut expected = vec![job("c.test").key, account, challenge("t", 3).key];
        expected.sort();
        assert_eq!(left, expected);
        assert!(left_by(&view, "n2").unwrap_err().contains("web-n2"), "it lives");
        for live in ["n2", "web-n2"] {
            assert!(left_by_all(&view, live).unwrap_err().contains("node web-n2 is live"), "{live}");
        }
        assert_eq!(left_by_all(&view, "n3").unwrap().len(), 3, "an id is enough");
        assert!(
            left_by_all(&view, "web-n3").unwrap_err().contains("no node web-n3"),
            "its name is not known"
        );
        let mut met = self::view(vec![node("n4", vec![], 0, 1), lock("n4", 2)], 9);
        met.gone(&Key::Node("n4".into()), Revision(10));
        for gone in ["n4", "web-n4"] {
            assert_eq!(left_by_all(&met, gone).unwrap().len(), 1, "{gone}");
        }
        met.gone(&lock("n4", 2).key, Revision(11));
        assert_eq!(left_by_all(&met, "web-n4"), Ok(vec![]), "nothing is left");
        view.put(lock("n3", 11));
        assert_eq!(left_by(&view, "n3").unwrap().len(), 4);
    }
}
