// SPDX-License-Identifier: Apache-2.0
//! Leases and what lies under them.

use crate::fixture::*;
use mod_md::fleet::engine::{Committed, Error, LeaseId};
use std::time::Duration;

/// A node with a lease of the shortest time and a key under it.
fn holder(f: &dyn Fixture, key: &str) -> (Node, LeaseId) {
    let (node, lease) = (f.node(), some_lease());
    node.grant(lease, f.ttl()).unwrap();
    done(&node, &[absent(key)], &[put_under(lease, key, "held")]);
    (node, lease)
}

/// Lets the time of all leases pass, until the key is absent.
fn let_end(f: &dyn Fixture, key: &str) {
    f.pass(f.ttl());
    let node = f.node();
    eventually(f, &format!("the end of {key}"), || node.get(key).unwrap().is_none().then_some(()));
}

pub fn a_key_ends_with_its_lease(f: &dyn Fixture) {
    let (node, lease) = holder(f, "v1/lock");
    let other = f.node();
    let entry = other.get("v1/lock").unwrap().unwrap();
    assert_eq!(entry.lease, Some(lease));
    done(&node, &[], &[put("v1/stays", "")]);
    refused(&other, &[absent("v1/lock")], &[put("v1/lock", "other")]);
    let_end(f, "v1/lock");
    assert_eq!(keys(&other, ""), ["v1/stays"]);
    refused(&other, &[created_at("v1/lock", entry.created)], &[]);
    refused(&other, &[changed_at("v1/lock", entry.changed)], &[]);
    let token = done(&other, &[absent("v1/lock")], &[put("v1/lock", "other")]);
    let again = node.get("v1/lock").unwrap().unwrap();
    assert_eq!((again.created, again.lease), (token, None));
    assert!(token > entry.created);
}

/// Whether the key is there after three parts of the lease's time, in each of which `keep` was called. None: this
/// machine was too slow to tell.
fn survives(f: &dyn Fixture, key: &str, keep: impl Fn()) -> Option<bool> {
    let node = f.node();
    for _ in 0..3 {
        let sent = f.now();
        keep();
        f.pass(f.ttl() * 2 / 3);
        let is_there = node.get(key).unwrap().is_some();
        if f.now() - sent >= f.ttl() {
            return None;
        }
        if !is_there {
            return Some(false);
        }
    }
    Some(true)
}

fn assert_survives(f: &dyn Fixture, keep: impl Fn(&Node, LeaseId)) {
    let is_alive = (0..20).find_map(|i| {
        let key = format!("v1/lock{i}");
        let (node, lease) = holder(f, &key);
        survives(f, &key, || keep(&node, lease))
    });
    assert_eq!(is_alive, Some(true));
}

pub fn a_lease_that_is_kept_does_not_end(f: &dyn Fixture) {
    assert_survives(f, |node, lease| match node.keep_alive(lease) {
        // Too slow between grant and keeping it: seen by who measures.
        Ok(_) | Err(Error::LeaseGone) => (),
        other => panic!("{other:?}"),
    });
}

pub fn a_grant_of_a_lease_in_force_keeps_it_and_begins_its_time_again(f: &dyn Fixture) {
    assert_survives(f, |node, lease| {
        node.grant(lease, f.ttl()).unwrap();
    });
}

pub fn a_lease_that_ended_is_gone_and_can_be_granted_anew(f: &dyn Fixture) {
    let (node, lease) = holder(f, "v1/lock");
    let_end(f, "v1/lock");
    eventually(f, "the end of the lease", || (node.keep_alive(lease) == Err(Error::LeaseGone)).then_some(()));
    assert_eq!(node.revoke(lease, f.ttl()), Ok(()), "one that has ended is no error");
    node.grant(lease, f.ttl() * 10).unwrap();
    assert_eq!(node.get("v1/lock"), Ok(None), "a new lease brings nothing back");
    done(&node, &[absent("v1/lock")], &[put_under(lease, "v1/lock", "again")]);
    assert!(node.keep_alive(lease).is_ok());
}

pub fn a_lease_that_never_was_is_gone(f: &dyn Fixture) {
    let (node, lease) = (f.node(), some_lease());
    assert_eq!(node.keep_alive(lease), Err(Error::LeaseGone));
    assert_eq!(commit(&node, &[], &[put_under(lease, "v1/x", "")]), Err(Error::LeaseGone));
    assert_eq!(node.revoke(lease, f.ttl()), Ok(()));
    assert_eq!(node.get("v1/x"), Ok(None));
}

pub fn a_revoked_lease_takes_its_keys_along_at_once(f: &dyn Fixture) {
    let (node, lease) = (f.node(), some_lease());
    node.grant(lease, f.ttl() * 100).unwrap();
    let then: Vec<_> = (0..60).map(|i| put_under(lease, &format!("v1/challenge/{i}"), "")).collect();
    done(&node, &[], &then);
    done(&node, &[], &[put("v1/set", "")]);
    let other = f.node();
    assert_eq!(keys(&other, "").len(), 61);
    assert_eq!(node.revoke(lease, Duration::from_millis(500)), Ok(()));
    assert_eq!(keys(&other, ""), ["v1/set"]);
    done(&other, &[absent("v1/challenge/0")], &[]);
    assert_eq!(node.keep_alive(lease), Err(Error::LeaseGone));
    assert_eq!(node.revoke(lease, Duration::from_millis(500)), Ok(()), "twice");
}

pub fn leases_are_independent_and_may_have_any_number(f: &dyn Fixture) {
    let node = f.node();
    // Not a number that a float holds; a small one; the largest.
    let numbers =
        [some_lease().0 | 1 << 62 | 1, some_lease().0 >> 30, i64::MAX as u64 - (some_lease().0 & 0xff)];
    for (i, number) in numbers.into_iter().enumerate() {
        node.grant(LeaseId(number), f.ttl() * 100).unwrap();
        done(&node, &[], &[put_under(LeaseId(number), &format!("v1/{i}"), "")]);
    }
    let leases: Vec<_> = list(&node, "").0.into_iter().map(|entry| entry.lease.unwrap().0).collect();
    assert_eq!(leases, numbers);
    assert_eq!(node.keep_alive(LeaseId(numbers[0] - 1)), Err(Error::LeaseGone), "the number beside it");
    node.revoke(LeaseId(numbers[1]), f.ttl()).unwrap();
    assert_eq!(keys(&node, ""), ["v1/0", "v1/2"]);
    for number in [numbers[0], numbers[2]] {
        node.keep_alive(LeaseId(number)).unwrap();
        node.revoke(LeaseId(number), f.ttl()).unwrap();
    }
    assert_eq!(keys(&node, ""), [""; 0]);
}

pub fn a_key_that_left_its_lease_does_not_end_with_it(f: &dyn Fixture) {
    let node = f.node();
    let (first, second) = (some_lease(), some_lease());
    node.grant(first, f.ttl() * 100).unwrap();
    node.grant(second, f.ttl() * 100).unwrap();
    let keys_of = ["v1/free", "v1/moved", "v1/anew", "v1/under"];
    let then: Vec<_> = keys_of.iter().map(|key| put_under(first, key, "1")).collect();
    done(&node, &[], &then);
    done(&node, &[], &[put("v1/free", "2"), put_under(second, "v1/moved", "2"), delete("v1/anew")]);
    done(&node, &[], &[put("v1/anew", "3")]);
    node.revoke(first, f.ttl()).unwrap();
    assert_eq!(keys(&node, ""), ["v1/anew", "v1/free", "v1/moved"]);
    node.revoke(second, f.ttl()).unwrap();
    assert_eq!(keys(&node, ""), ["v1/anew", "v1/free"]);
    done(&node, &[], &[put("v1/free", "4")]);
    assert_eq!(node.get("v1/free").unwrap().unwrap().lease, None);
}

pub fn under_a_lease_that_ended_nothing_is_written(f: &dyn Fixture) {
    let (node, lease) = holder(f, "v1/lock");
    node.revoke(lease, f.ttl()).unwrap();
    let then = [put("v1/set", "1"), put_under(lease, "v1/challenge", "1"), put("v1/set2", "1")];
    assert_eq!(commit(&node, &[], &then), Err(Error::LeaseGone));
    assert_eq!(commit(&node, &[absent("v1/lock")], &then), Err(Error::LeaseGone));
    assert_eq!(keys(&node, ""), [""; 0], "all or nothing");
}

/// The fence: a transaction under the condition that the lock is still that one.
pub fn who_lost_its_lease_publishes_nothing(f: &dyn Fixture) {
    let (slow, _) = holder(f, "v1/lock");
    let token = slow.get("v1/lock").unwrap().unwrap().created;
    let fence = [created_at("v1/lock", token)];
    done(&slow, &fence, &[put("v1/job", "slow")]);
    let_end(f, "v1/lock");
    refused(&slow, &fence, &[put("v1/set", "slow")]);
    let (next, lease) = holder(f, "v1/lock");
    let after = next.get("v1/lock").unwrap().unwrap().created;
    assert!(after > token);
    refused(&slow, &fence, &[put("v1/set", "slow")]);
    let answer = commit(&next, &[created_at("v1/lock", after)], &[put("v1/set", "next")]);
    // Where the machine is slow, this lease may be over as well.
    assert!(matches!(answer, Ok(Committed::Done(_))) || next.keep_alive(lease) == Err(Error::LeaseGone));
    assert_ne!(value(&slow, "v1/set"), Some(b"slow".into()));
}

pub fn an_answer_about_a_lease_tells_revision_and_time(f: &dyn Fixture) {
    let (node, lease) = (f.node(), some_lease());
    let before = done(&node, &[], &[put("v1/x", "1")]);
    let granted = node.grant(lease, f.ttl() * 100).unwrap();
    assert!(granted.revision >= before);
    let after = done(&f.node(), &[], &[put("v1/x", "2")]);
    let kept = node.keep_alive(lease).unwrap();
    assert!(kept.revision >= after, "{kept:?} does not know of {after:?}");
    for alive in [granted, kept] {
        let off = alive.time.map(|time| time.since(f.wall()).max(f.wall().since(time)));
        assert!(off.is_none_or(|off| off < Duration::from_secs(30)), "{alive:?}");
    }
}
