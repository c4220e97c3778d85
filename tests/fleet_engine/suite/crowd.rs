// SPDX-License-Identifier: Apache-2.0
//! Many at once.

use crate::fixture::*;
use mod_md::fleet::engine::{Committed, Revision};
use std::sync::Mutex;
use std::thread;

const THREADS: u32 = 8;
const ROUNDS: u32 = 12;

fn number(node: &Node, key: &str) -> u32 {
    value(node, key).map_or(0, |value| String::from_utf8(value).unwrap().parse().unwrap())
}

/// Each increments a counter without a condition on it, while it has the lock. Some lose their lease meanwhile.
pub fn of_many_that_compete_for_a_lock_one_holds_it(f: &dyn Fixture) {
    let won: Mutex<Vec<(Revision, u32)>> = Mutex::default();
    let compete = |thread: u32| {
        let node = f.node();
        for round in 0..ROUNDS {
            let lease = some_lease();
            node.grant(lease, f.ttl() * 100).unwrap();
            let token = eventually(f, "the lock", || {
                match commit(&node, &[absent("v1/lock")], &[put_under(lease, "v1/lock", "")]).unwrap() {
                    Committed::Done(at) => Some(at),
                    Committed::Refused => None,
                }
            });
            let fence = [created_at("v1/lock", token)];
            let count = number(&node, "v1/count") + 1;
            if (thread + round).is_multiple_of(3) {
                f.node().revoke(lease, f.ttl()).unwrap();
                refused(&node, &fence, &[put("v1/count", "99999")]);
                continue;
            }
            done(&node, &fence, &[put("v1/count", count.to_string())]);
            won.lock().unwrap().push((token, count));
            if round.is_multiple_of(2) {
                done(&node, &fence, &[delete("v1/lock")]);
            }
            node.revoke(lease, f.ttl()).unwrap();
        }
    };
    thread::scope(|scope| (0..THREADS).for_each(|thread| drop(scope.spawn(move || compete(thread)))));
    let mut won = won.into_inner().unwrap();
    won.sort();
    let counts: Vec<u32> = won.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, (1..=THREADS * ROUNDS * 2 / 3).collect::<Vec<_>>(), "in the order of their tokens");
    assert!(won.is_sorted_by(|a, b| a.0 < b.0), "a token twice: {won:?}");
}

pub fn of_many_that_change_a_key_none_is_lost(f: &dyn Fixture) {
    let increment = || {
        let node = f.node();
        for _ in 0..ROUNDS {
            eventually(f, "an increment", || {
                let entry = node.get("v1/count").unwrap();
                let condition = entry.as_ref().map(|entry| changed_at("v1/count", entry.changed));
                let count = entry.map_or(0, |entry| String::from_utf8(entry.value).unwrap().parse().unwrap());
                let condition = condition.unwrap_or_else(|| absent("v1/count"));
                let then = [put("v1/count", (count + 1u32).to_string())];
                matches!(commit(&node, &[condition], &then).unwrap(), Committed::Done(_)).then_some(())
            });
        }
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(increment))));
    assert_eq!(number(&f.node(), "v1/count"), THREADS * ROUNDS);
}

pub fn all_who_watch_see_the_same(f: &dyn Fixture) {
    let mut mirrors: Vec<Mirror> = (0..4).map(|_| Mirror::new(&f.node())).collect();
    let write = |thread: u32| {
        let node = f.node();
        for i in 0..ROUNDS * 4 {
            let keys = [(thread + i) % 7, (thread * 3 + i) % 7 + 7].map(|key| format!("v1/{key}"));
            let text = format!("{thread}-{i}");
            let last = if i.is_multiple_of(5) { delete(&keys[1]) } else { put(&keys[1], &text) };
            done(&node, &[], &[put(&keys[0], &text), last]);
        }
    };
    thread::scope(|scope| {
        (0..THREADS / 2).for_each(|thread| drop(scope.spawn(move || write(thread))));
        for mirror in &mut mirrors {
            scope.spawn(|| (0..20).for_each(|_| mirror.look()));
        }
    });
    let node = f.node();
    let last = done(&node, &[], &[put("v1/last", "")]);
    for mirror in &mut mirrors {
        mirror.follow(f, last);
        mirror.assert_same(&node);
    }
    assert!(mirrors.windows(2).all(|two| two[0].changes == two[1].changes));
}
