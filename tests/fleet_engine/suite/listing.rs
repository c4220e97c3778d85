// SPDX-License-Identifier: Apache-2.0
//! Listings, their pages, and prefixes.

use crate::fixture::*;
use mod_md::fleet::engine::{Error, PAGE, VALUE_MAX, WRITES_MAX, Write};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

pub fn a_listing_is_of_the_prefix_alone_and_in_order(f: &dyn Fixture) {
    let node = f.node();
    let page = node.list("", None).unwrap();
    assert_eq!((page.entries.len(), page.next), (0, None));
    let all = [
        "v1/set/a",
        "v1/set/a.b",
        "v1/set/ab",
        "v1/set",
        "v1/setx",
        "v1/lock/a",
        "v2",
        "V1/set/a",
        "v1/set/B",
    ];
    for key in all {
        done(&node, &[], &[put(key, key)]);
    }
    let mut sorted = all.map(String::from);
    sorted.sort();
    assert_eq!(keys(&node, ""), sorted);
    assert_eq!(keys(&node, "v1/set/"), ["v1/set/B", "v1/set/a", "v1/set/a.b", "v1/set/ab"]);
    assert_eq!(keys(&node, "v1/set/a"), ["v1/set/a", "v1/set/a.b", "v1/set/ab"]);
    assert_eq!(keys(&node, "v3"), [""; 0]);
    assert!(matches!(node.list("v1/\u{e4}", None), Err(Error::Invalid(_))));
}

pub fn letters_that_mean_something_to_a_server_mean_nothing(f: &dyn Fixture) {
    let node = f.node();
    let odd = [
        "*", "?", "[a-z]", "\\", "^", "~", "~~", "\"", "'", "$", "{v}", "%2e", "#", "!", "a\\*", "..",
        "a/../b",
    ];
    let then: Vec<_> = odd.iter().map(|key| put(key, key)).collect();
    done(&node, &[], &then);
    for key in odd {
        assert_eq!(value(&node, key), Some(key.into()), "{key}");
        let begin: BTreeSet<String> =
            odd.iter().filter(|k| k.starts_with(key)).map(|k| k.to_string()).collect();
        assert_eq!(keys(&node, key).into_iter().collect::<BTreeSet<_>>(), begin, "{key}");
    }
    let text = "\"}\n\0\u{7f}{\"kid\":1}";
    done(&node, &[], &[put("odd", text)]);
    assert_eq!(value(&node, "odd"), Some(text.into()));
}

/// Keys that are there all the time are listed, once; what changes meanwhile is told by the watch, if not listed.
pub fn pages_are_of_one_revision_while_writes_go_on(f: &dyn Fixture) {
    let (lister, writer) = (f.node(), f.node());
    let stable: Vec<String> = (0..1000).map(|i| format!("v1/set/{i:04}")).collect();
    for keys in stable.chunks(WRITES_MAX) {
        let then: Vec<Write> = keys.iter().map(|key| put(key, "stable")).collect();
        done(&writer, &[], &then);
    }
    let mut round = 0;
    let write = || {
        round += 1;
        let then: Vec<Write> =
            (0..20).map(|i| put(&format!("v1/set/{:04}-{round}", i * 50), "new")).collect();
        done(&writer, &[], &then);
        let old = round - 1;
        let then: Vec<Write> = (0..20).map(|i| delete(&format!("v1/set/{:04}-{old}", i * 50))).collect();
        done(&writer, &[], &then);
        done(&writer, &[], &[put("v1/set/0999", format!("{round}"))]);
    };
    let (entries, revision) = list_while(&lister, "v1/", write);
    assert!(round >= 1000 / PAGE, "only {round} pages more");
    let listed: BTreeSet<&String> = entries.iter().map(|entry| &entry.key).collect();
    assert!(stable.iter().all(|key| listed.contains(key)), "a key was left out");

    let mut mirror = Mirror::from(&lister, revision);
    mirror.entries = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
    let last = done(&writer, &[], &[put("v1/set/last", "")]);
    mirror.follow(f, last);
    mirror.assert_same(&writer);
}

/// Their pages have fewer entries than those of small values, where the server does not bound them.
pub fn a_listing_of_the_largest_values_is_complete(f: &dyn Fixture) {
    let node = f.node();
    let keys: Vec<String> = (0..20).map(|i| format!("v1/set/{i:02}")).collect();
    for (i, key) in (0u8..).zip(&keys) {
        done(&node, &[], &[put(key, vec![i; VALUE_MAX])]);
    }
    let (entries, at) = list(&node, "v1/set/");
    assert_eq!(entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
    assert!((0u8..).zip(&entries).all(|(i, entry)| entry.value.len() == VALUE_MAX && entry.value[7] == i));
    Mirror::from(&node, at).look();
}

pub fn a_page_never_shows_half_of_a_transaction(f: &dyn Fixture) {
    let is_over = AtomicBool::new(false);
    let writer = f.node();
    thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0u32..300 {
                let value = i.to_string();
                done(&writer, &[], &[put("v1/a", &value), put("v1/b", &value), put("v1/c", &value)]);
            }
            is_over.store(true, Ordering::SeqCst);
        });
        let lister = f.node();
        while !is_over.load(Ordering::SeqCst) {
            let (entries, _) = list(&lister, "v1/");
            let values: BTreeSet<&[u8]> = entries.iter().map(|entry| entry.value.as_slice()).collect();
            assert!(values.len() <= 1 && [0, 3].contains(&entries.len()), "{entries:?}");
        }
    });
}

pub fn fleets_of_other_prefixes_are_not_seen(f: &dyn Fixture) {
    let (own, other) = (f.node(), f.stranger());
    let lease = some_lease();
    let mut mirror = Mirror::new(&own);
    done(&own, &[], &[put("v1/x", "own")]);
    other.grant(lease, f.ttl() * 10).unwrap();
    done(&other, &[absent("v1/x")], &[put("v1/x", "other"), put_under(lease, "v1/y", "other")]);
    assert_eq!(value(&own, "v1/x"), Some(b"own".into()));
    assert_eq!((keys(&own, ""), keys(&other, "")), (vec!["v1/x".into()], vec!["v1/x".into(), "v1/y".into()]));
    done(&other, &[], &[delete("v1/x")]);
    other.revoke(lease, f.ttl()).unwrap();
    let at = done(&own, &[], &[put("v1/z", "own")]);
    mirror.follow(f, at);
    assert_eq!(mirror.changes.iter().map(|change| change.key()).collect::<Vec<_>>(), ["v1/x", "v1/z"]);
    mirror.assert_same(&own);
}
