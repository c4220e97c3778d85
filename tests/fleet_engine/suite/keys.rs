// SPDX-License-Identifier: Apache-2.0
//! Keys, values, and transactions.

use crate::fixture::*;
use mod_md::fleet::engine::{Error, KEY_MAX, Revision, VALUE_MAX, WRITES_MAX, Write};

pub fn a_write_is_read_by_every_node(f: &dyn Fixture) {
    let (a, b) = (f.node(), f.node());
    let all_bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(b.get("v1/x"), Ok(None));
    let at = done(&a, &[], &[put("v1/x", &all_bytes), put("v1/empty", "")]);
    for node in [&a, &b] {
        let entry = node.get("v1/x").unwrap().unwrap();
        assert_eq!((entry.key.as_str(), &entry.value), ("v1/x", &all_bytes));
        assert_eq!((entry.created, entry.changed, entry.lease), (at, at, None));
        assert_eq!(value(node, "v1/empty"), Some(vec![]), "an empty value is one");
        assert_eq!(list(node, "v1/").0.last(), Some(&entry));
    }
    done(&b, &[], &[delete("v1/x")]);
    assert_eq!(a.get("v1/x"), Ok(None));
    assert!(!a.name().is_empty());
}

pub fn keys_and_values_up_to_their_bounds_are_kept(f: &dyn Fixture) {
    let node = f.node();
    let key = "k".repeat(KEY_MAX);
    // Not the same byte over and over, which some server might keep in little space.
    let large: Vec<u8> = (0..VALUE_MAX).map(|i| ((i * 7919) >> 8) as u8).collect();
    done(&node, &[absent(&key)], &[put(&key, &large)]);
    assert!(value(&node, &key).unwrap() == large);
    assert!(list(&node, &key).0[0].value == large);

    let keys: Vec<String> =
        (0..WRITES_MAX).map(|i| format!("v1/{i:0>width$}", width = KEY_MAX - 3)).collect();
    let when: Vec<_> = keys.iter().map(|key| absent(key)).collect();
    let then: Vec<_> = keys.iter().map(|key| put(key, vec![0xff; VALUE_MAX / WRITES_MAX])).collect();
    let mut mirror = Mirror::new(&node);
    let at = done(&node, &when, &then);
    mirror.follow(f, at);
    mirror.assert_same(&node);
    assert_eq!(mirror.entries.len(), WRITES_MAX + 1);
}

pub fn what_is_beyond_a_bound_is_invalid_and_not_written(f: &dyn Fixture) {
    let node = f.node();
    let is_invalid = |then: Vec<Write>| {
        let answer = commit(&node, &[], &then);
        assert!(matches!(answer, Err(Error::Invalid(_))), "{answer:?}");
    };
    is_invalid(vec![put("v1/a", "1"), put(&"k".repeat(KEY_MAX + 1), "1")]);
    is_invalid(vec![put("v1/a", vec![0; VALUE_MAX]), put("v1/b", "1")]);
    is_invalid((0..=WRITES_MAX).map(|i| put(&format!("v1/{i}"), "1")).collect());
    is_invalid(vec![put("v1/a", "1"), delete("v1/a")]);
    is_invalid(vec![put("v1/a", "1"), put("v1/\u{e4}", "1")]);
    is_invalid(vec![put("v1/a", "1"), put("v1/b\r\n", "1")]);
    assert!(matches!(node.get(&"k".repeat(KEY_MAX + 1)), Err(Error::Invalid(_))));
    assert_eq!(keys(&node, ""), [""; 0]);
}

pub fn a_transaction_has_one_revision_and_revisions_grow(f: &dyn Fixture) {
    let node = f.node();
    let mut last = Revision::default();
    for i in 0..20 {
        let at = done(&node, &[], &[put("v1/a", [i]), put("v1/b", [i]), put("v1/c", [i])]);
        assert!(at > last, "{at:?} after {last:?}");
        let (entries, listed) = list(&node, "v1/");
        assert!(entries.iter().all(|entry| entry.changed == at), "{entries:?}");
        assert!(listed >= at);
        last = at;
    }
}

pub fn a_key_keeps_when_it_was_created_until_it_is_absent(f: &dyn Fixture) {
    let (a, b) = (f.node(), f.node());
    let first = done(&a, &[], &[put("v1/x", "1")]);
    let second = done(&b, &[], &[put("v1/x", "2")]);
    let entry = a.get("v1/x").unwrap().unwrap();
    assert_eq!((entry.created, entry.changed), (first, second));
    done(&a, &[], &[delete("v1/x")]);
    let third = done(&b, &[absent("v1/x")], &[put("v1/x", "3")]);
    let entry = a.get("v1/x").unwrap().unwrap();
    assert_eq!((entry.created, entry.changed), (third, third));
    assert!(third > second);
}

pub fn a_condition_that_does_not_hold_refuses_the_whole_transaction(f: &dyn Fixture) {
    let node = f.node();
    let created = done(&node, &[], &[put("v1/x", "1")]);
    let changed = done(&node, &[], &[put("v1/x", "2")]);
    let holds = [absent("v1/y"), created_at("v1/x", created), changed_at("v1/x", changed)];
    let fails = [
        absent("v1/x"),
        created_at("v1/x", changed),
        changed_at("v1/x", created),
        created_at("v1/y", created),
        changed_at("v1/y", changed),
        // An absent key was created and changed at no revision, the one before all others included.
        created_at("v1/y", Revision(0)),
        changed_at("v1/y", Revision(0)),
    ];
    let then = [put("v1/x", "3"), put("v1/y", "3"), delete("v1/z")];
    for fail in fails {
        for place in 0..=holds.len() {
            let mut when = holds.to_vec();
            when.insert(place, fail.clone());
            refused(&node, &when, &then);
        }
    }
    assert_eq!(node.get("v1/x").unwrap().unwrap().changed, changed);
    assert_eq!(keys(&node, ""), ["v1/x"]);
    done(&node, &holds, &then);
    assert_eq!(keys(&node, ""), ["v1/x", "v1/y"]);
}

pub fn conditions_are_asked_of_the_state_before_the_transaction(f: &dyn Fixture) {
    let node = f.node();
    let at = done(&node, &[absent("v1/a"), absent("v1/b")], &[put("v1/a", "1"), put("v1/b", "1")]);
    done(&node, &[changed_at("v1/a", at), changed_at("v1/b", at)], &[delete("v1/a"), put("v1/b", "2")]);
    assert_eq!((value(&node, "v1/a"), value(&node, "v1/b")), (None, Some(b"2".into())));
}

pub fn a_transaction_without_writes_tells_whether_its_conditions_hold(f: &dyn Fixture) {
    let node = f.node();
    let at = done(&node, &[], &[put("v1/x", "1")]);
    assert!(done(&node, &[created_at("v1/x", at)], &[]) >= at);
    refused(&node, &[absent("v1/x")], &[]);
}

pub fn what_is_absent_can_be_deleted(f: &dyn Fixture) {
    let node = f.node();
    done(&node, &[], &[delete("v1/x")]);
    done(&node, &[absent("v1/x")], &[delete("v1/x"), put("v1/y", "1")]);
    assert_eq!(keys(&node, ""), ["v1/y"]);
}
