// SPDX-License-Identifier: Apache-2.0
//! Servers that forget, and processes that end.

use super::watching::assert_gap;
use crate::fixture::*;
use mod_md::fleet::engine::{Error, PAGE, WRITES_MAX};
use mod_md::time::StopFlag;
use std::thread;
use std::time::{Duration, Instant};

pub fn a_watch_from_a_forgotten_revision_has_a_gap(f: &dyn Fixture) {
    let node = f.node();
    let old = done(&node, &[], &[put("v1/x", "0")]);
    for i in 1..20 {
        done(&node, &[], &[put("v1/x", [i]), delete("v1/y")]);
    }
    f.compact();
    assert_gap(f, &node, old);
    assert_gap(f, &f.node(), old);
}

pub fn after_a_compaction_listing_and_watch_go_on(f: &dyn Fixture) {
    let node = f.node();
    let mut open = Mirror::new(&node);
    for i in 0..20 {
        let at = done(&node, &[], &[put("v1/x", [i]), put(&format!("v1/{i}"), "")]);
        open.follow(f, at);
    }
    f.compact();
    let mut new = Mirror::new(&f.node());
    assert_eq!(new.entries, open.entries);
    let token = done(&node, &[], &[delete("v1/x"), put("v1/0", "changed")]);
    new.follow(f, token);
    new.assert_same(&node);
    let entry = node.get("v1/0").unwrap().unwrap();
    assert!(entry.created < entry.changed, "{entry:?}");
    // One that knew everything may go on, or say that it does not know.
    match node.watch(open.at).and_then(|mut watch| watch.next()) {
        Ok(_) | Err(Error::Gap(_)) => (),
        other => panic!("{other:?}"),
    }
}

pub fn a_cursor_of_a_forgotten_revision_is_refused_or_complete(f: &dyn Fixture) {
    let node = f.node();
    let keys: Vec<String> = (0..PAGE * 2).map(|i| format!("v1/{i:04}")).collect();
    for keys in keys.chunks(WRITES_MAX) {
        done(&node, &[], &keys.iter().map(|key| put(key, "")).collect::<Vec<_>>());
    }
    let page = node.list("v1/", None).unwrap();
    let mut listed: Vec<String> = page.entries.into_iter().map(|entry| entry.key).collect();
    let mut next = page.next;
    assert!(next.is_some(), "{} keys are more than a page", keys.len());
    done(&node, &[], &[put("v1/0000", "changed")]);
    f.compact();
    while let Some(cursor) = next {
        match node.list("v1/", Some(&cursor)) {
            Err(Error::Gap(_)) => return,
            Ok(page) => {
                listed.extend(page.entries.into_iter().map(|entry| entry.key));
                next = page.next;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(listed, keys);
}

pub fn after_a_wipe_leases_are_gone_and_watches_have_a_gap(f: &dyn Fixture) {
    let (node, lease) = (f.node(), some_lease());
    node.grant(lease, f.ttl() * 100).unwrap();
    let mut last = Default::default();
    for i in 0..50 {
        last = done(&node, &[], &[put("v1/set", [i]), put_under(lease, "v1/lock", "")]);
    }
    let mut mirror = Mirror::new(&node);
    mirror.follow(f, last);
    f.wipe();
    eventually(f, "a lease that is gone", || match node.keep_alive(lease) {
        Err(Error::LeaseGone) => Some(()),
        Err(Error::Unreachable(_) | Error::Timeout | Error::NoWrites(_)) => None,
        other => panic!("{other:?}"),
    });
    eventually(f, "a gap", || {
        let seen = node.watch(last).and_then(|mut watch| watch.next());
        match seen {
            Err(Error::Gap(_)) => Some(()),
            Err(Error::Unreachable(_) | Error::Timeout) => None,
            Ok((changes, _)) if changes.is_empty() => None,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(keys(&node, ""), [""; 0]);
    node.grant(lease, f.ttl() * 100).unwrap();
    let mut mirror = Mirror::new(&node);
    let at = done(&node, &[absent("v1/set")], &[put_under(lease, "v1/set", "new")]);
    mirror.follow(f, at);
    mirror.assert_same(&node);
}

pub fn a_stop_ends_every_call_within_a_second(f: &dyn Fixture) {
    let stop = StopFlag::default();
    let node = f.node_until(&stop);
    let lease = some_lease();
    node.grant(lease, f.ttl() * 100).unwrap();
    done(&node, &[], &[put_under(lease, "v1/lock", "")]);
    let at = done(&node, &[], &[put("v1/x", "")]);
    let mut watch = node.watch(at).unwrap();
    let begin = thread::scope(|scope| {
        let waits = scope.spawn(|| {
            loop {
                match watch.next() {
                    Ok(_) => thread::yield_now(),
                    Err(Error::Stopped) => break,
                    other => panic!("{other:?}"),
                }
            }
        });
        thread::sleep(Duration::from_millis(30));
        let begin = Instant::now();
        stop.raise();
        waits.join().unwrap();
        begin
    });
    assert_eq!(node.get("v1/x"), Err(Error::Stopped));
    assert_eq!(node.list("", None), Err(Error::Stopped));
    assert_eq!(commit(&node, &[], &[put("v1/x", "2")]), Err(Error::Stopped));
    assert_eq!(node.grant(some_lease(), f.ttl()), Err(Error::Stopped));
    assert_eq!(node.keep_alive(some_lease()), Err(Error::Stopped));
    assert!(node.watch(at).is_err_and(|error| error == Error::Stopped));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(node.revoke(lease, Duration::from_secs(1)), Ok(()), "the farewell of a process");
    assert_eq!(keys(&f.node(), ""), ["v1/x"]);
}
