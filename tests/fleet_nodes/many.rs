// SPDX-License-Identifier: Apache-2.0
//! More MDs than a node can tell of in one value.

use crate::lab::{Lab, TestNode, fingerprint};
use mod_md::fleet::engine::{Engine, Transaction, WRITES_MAX, Write};
use mod_md::managed::peers::Peers;
use mod_md::time::Clock;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_listing_that_takes_longer_than_the_lease_does_not_end_it() {
    let lab = Lab::new();
    let handle = lab.engine.handle("p");
    for part in 0..60 {
        let put = |i| Write::Put { key: format!("v1/other/{part}-{i}"), value: vec![0; 10], lease: None };
        let then = (0..WRITES_MAX).map(put).collect();
        handle.commit(&Transaction { when: Vec::new(), then }).unwrap();
    }
    let mut a = lab.node("a", &["a.test"]);
    a.handle.faults(|faults| faults.slow = SECOND * 4);
    let begin = lab.clock.now();
    a.step();
    assert!(lab.clock.now().since(begin) > SECOND * 50);
    let state = a.node.state();
    assert!(state.is_joined && state.presence.is_told, "{:?}", state.problem);
}

#[test]
fn a_node_with_thirty_thousand_domains_joins_and_tells_of_those_that_fit() {
    let lab = Lab::new();
    let names: Vec<String> = (0..30_000).map(|i| format!("www{i:05}.customer-of-ours.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut a, mut b) = (lab.node("a", &names), lab.node("b", &names));
    for _ in 0..3 {
        a.step();
        b.step();
        lab.clock.advance(SECOND);
    }
    let (first, last) = (names[0], names[29_999]);
    let told = |of: &TestNode, by: &TestNode| {
        let state = by.node.state();
        let live = state.view.node(&of.node.state().me.clone()).unwrap().clone();
        (live.mds().count(), live.md(first).is_some(), live.md(last).is_some(), live.may_have(last))
    };
    for (of, by) in [(&a, &b), (&b, &a)] {
        let (count, has_first, has_last, may_have_last) = told(of, by);
        assert!((15_000..30_000).contains(&count), "{count}");
        assert!(has_first && !has_last && may_have_last);
        let warning = of.node.state().warnings.get("size").map(|(text, _)| text.clone()).unwrap_or_default();
        assert!(warning.contains("30000 MDs") && warning.contains(&count.to_string()), "{warning}");
    }
    assert_eq!(u8::from(a.member.asks(first)) + u8::from(b.member.asks(first)), 1);
    assert!(a.member.asks(last) || b.member.asks(last), "somebody asks");
    assert_eq!(a.node.state().known_nodes(last), [b.node.state().me.clone()], "they take turns alone");
    let set = lab.set(&[last]);
    a.begin(last).publish(&set).unwrap();
    b.step();
    assert_eq!(b.staged(last), fingerprint(&set), "any MD is shared");
}
