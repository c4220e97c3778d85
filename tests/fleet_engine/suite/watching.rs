// SPDX-License-Identifier: Apache-2.0
//! Following the history.

use crate::fixture::*;
use mod_md::fleet::engine::{Change, Committed, Error, Revision};
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub fn a_watch_tells_changes_in_their_order(f: &dyn Fixture) {
    let (node, writer, lease) = (f.node(), f.node(), some_lease());
    writer.grant(lease, f.ttl() * 100).unwrap();
    let mut mirror = Mirror::new(&node);
    let put_at = done(&writer, &[], &[put_under(lease, "v1/x", [0, 255])]);
    let again_at = done(&writer, &[], &[put_under(lease, "v1/x", "again"), put("v1/y", "1")]);
    let gone_at = done(&writer, &[], &[delete("v1/x"), delete("v1/never")]);
    mirror.follow(f, gone_at);
    let [Change::Put(first), second, third, Change::Gone { key, at }] = mirror.changes.as_slice() else {
        panic!("{:?}", mirror.changes)
    };
    assert_eq!((first.key.as_str(), first.value.as_slice()), ("v1/x", &[0, 255][..]));
    assert_eq!((first.created, first.changed, first.lease), (put_at, put_at, Some(lease)));
    assert_eq!((key.as_str(), *at), ("v1/x", gone_at));
    let both = [second, third].map(|change| match change {
        Change::Put(entry) => {
            (entry.key.as_str(), (entry.value.as_slice(), entry.created, entry.changed, entry.lease))
        }
        gone => panic!("{gone:?}"),
    });
    let both = BTreeMap::from(both);
    assert_eq!(both["v1/x"], (&b"again"[..], put_at, again_at, Some(lease)));
    assert_eq!(both["v1/y"], (&b"1"[..], again_at, again_at, None));
    mirror.assert_same(&node);
}

pub fn a_watch_tells_what_was_written_before_it_began(f: &dyn Fixture) {
    let node = f.node();
    let (_, begin) = list(&node, "");
    let mut mirrors = vec![Mirror::from(&node, begin)];
    let mut last = begin;
    for i in 0..5 {
        last = done(&node, &[], &[put(&format!("v1/{i}"), [i])]);
        mirrors.push(Mirror::from(&node, last));
    }
    for (told, mut mirror) in mirrors.into_iter().enumerate() {
        mirror.follow(f, last);
        let keys: Vec<&str> = mirror.changes.iter().map(Change::key).collect();
        assert_eq!(keys, ["v1/0", "v1/1", "v1/2", "v1/3", "v1/4"][told..]);
    }
}

pub fn a_watch_without_news_returns_within_about_a_second(f: &dyn Fixture) {
    let node = f.node();
    let at = done(&node, &[], &[put("v1/x", "")]);
    let mut watch = node.watch(at).unwrap();
    // The quickest of several, for a machine that has much to do.
    let looks = (0..5).map(|_| {
        let begin = Instant::now();
        let (changes, revision) = watch.next().unwrap();
        assert!(revision >= at);
        assert!(changes.iter().all(|change| changed(change) <= at), "{changes:?}");
        begin.elapsed()
    });
    let quickest = looks.min().unwrap();
    assert!(quickest < Duration::from_millis(1500), "{quickest:?}");
}

/// How long a write takes to arrive at a watch that waits. The middle of several is far below the time that a
/// watch waits for news.
pub fn a_watch_tells_news_at_once(f: &dyn Fixture) {
    let (node, writer) = (f.node(), f.node());
    let mut mirror = Mirror::new(&node);
    let mut times: Vec<Duration> = Vec::new();
    for count in 1..=9 {
        let arrival = thread::scope(|scope| {
            let waits = scope.spawn(|| {
                while mirror.changes.len() < count {
                    mirror.look();
                    thread::yield_now();
                }
                Instant::now()
            });
            thread::sleep(Duration::from_millis(20));
            let begin = Instant::now();
            done(&writer, &[], &[put("v1/x", [0])]);
            waits.join().unwrap() - begin
        });
        times.push(arrival);
    }
    times.sort();
    assert!(times[4] < Duration::from_millis(500), "{times:?}");
}

pub fn a_watch_never_tears_a_transaction(f: &dyn Fixture) {
    const KEYS: [&str; 5] = ["v1/a", "v1/b", "v1/c", "v1/d", "v1/e"];
    let (node, writer) = (f.node(), f.node());
    let (_, begin) = list(&node, "");
    let mut watch = node.watch(begin).unwrap();
    let (tell, last) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let filler = vec![0x20; 3000];
            let write = |i: u32| {
                let value = [i.to_string().as_bytes(), &filler].concat();
                done(&writer, &[], &KEYS.map(|key| put(key, &value)))
            };
            let last = (0..200).map(write).max().unwrap();
            tell.send(last).unwrap();
        });
        let mut last_at = None;
        let mut seen = 0;
        eventually(f, "the last change", || {
            let (changes, at) = watch.next().unwrap();
            let mut by_revision: BTreeMap<Revision, usize> = BTreeMap::new();
            for change in changes.iter().filter(|change| changed(change) > begin) {
                *by_revision.entry(changed(change)).or_default() += 1;
            }
            assert!(by_revision.values().all(|count| *count == KEYS.len()), "torn: {by_revision:?}");
            seen += by_revision.len();
            last_at = last_at.or_else(|| last.try_recv().ok());
            last_at.is_some_and(|last| at >= last).then_some(())
        });
        assert_eq!(seen, 200);
    });
}

/// As after a disconnection: 600 writes of 64 KiB lie between.
pub fn a_watch_goes_on_after_many_large_writes(f: &dyn Fixture) {
    let (node, writer) = (f.node(), f.node());
    let mut before = Mirror::new(&node);
    let at = done(&writer, &[], &[put("v1/x", "first")]);
    before.follow(f, at);
    let Mirror { entries, at, .. } = before;
    let mut last = at;
    for i in 0..600u32 {
        let value = i.to_be_bytes().repeat(16 * 1024);
        last = done(&writer, &[], &[put(&format!("v1/set/{}", i % 20), value)]);
    }
    let mut mirror = Mirror::from(&node, at);
    mirror.entries = entries;
    mirror.follow(f, last);
    assert_eq!(mirror.changes.len(), 600);
    assert!(mirror.changes.is_sorted_by_key(changed));
    mirror.assert_same(&node);
}

/// The end itself may be told, too, or not.
pub fn a_key_that_came_again_after_its_lease_is_told(f: &dyn Fixture) {
    let (node, lease) = (f.node(), some_lease());
    let mut mirror = Mirror::new(&node);
    node.grant(lease, f.ttl()).unwrap();
    let first = done(&node, &[], &[put_under(lease, "v1/lock", "1")]);
    f.pass(f.ttl());
    let second = eventually(f, "the end of the lease", || {
        let answer = commit(&node, &[absent("v1/lock")], &[put("v1/lock", "2")]).unwrap();
        match answer {
            Committed::Done(at) => Some(at),
            Committed::Refused => None,
        }
    });
    mirror.follow(f, second);
    let told: Vec<&Change> = mirror.changes.iter().collect();
    let (Change::Put(one), Change::Put(two)) = (told[0], told[told.len() - 1]) else { panic!("{told:?}") };
    assert_eq!((one.created, two.created), (first, second));
    if told.len() > 2 {
        assert!(matches!(told[1], Change::Gone { at, .. } if *at > first && *at < second), "{told:?}");
    }
    mirror.assert_same(&node);
}

pub fn listing_and_watch_together_miss_nothing(f: &dyn Fixture) {
    let writer = f.node();
    let (tell, told) = mpsc::channel();
    let mirrors: Vec<Mirror> = thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = Revision::default();
            for i in 0..400 {
                let [own, before] = [i % 37, (i + 36) % 37].map(|i| format!("v1/{i}"));
                last = done(&writer, &[], &[put(&own, i.to_string()), delete(&before)]);
            }
            tell.send(last).unwrap();
        });
        let mut mirrors = vec![Mirror::new(&f.node())];
        let last = eventually(f, "the end of the writer", || {
            mirrors.push(Mirror::new(&f.node()));
            told.try_recv().ok()
        });
        mirrors.iter_mut().for_each(|mirror| mirror.follow(f, last));
        mirrors
    });
    mirrors.iter().for_each(|mirror| mirror.assert_same(&writer));
}

/// As after a failover that lost the last writes.
pub fn a_watch_from_a_revision_that_is_not_yet_has_a_gap(f: &dyn Fixture) {
    let node = f.node();
    let Revision(now) = done(&node, &[], &[put("v1/x", "")]);
    assert_gap(f, &node, Revision(now + 1_000_000));
}

/// Whether a watch from there tells of a gap before anything else, when it begins or soon after.
pub fn assert_gap(f: &dyn Fixture, node: &Node, from: Revision) {
    let mut watch = match node.watch(from) {
        Ok(watch) => watch,
        Err(Error::Gap(_)) => return,
        Err(other) => panic!("{other:?}"),
    };
    eventually(f, "a gap", || match watch.next() {
        Err(Error::Gap(_)) => Some(()),
        Ok((changes, _)) if changes.is_empty() => None,
        other => panic!("{other:?}"),
    });
}
