// SPDX-License-Identifier: Apache-2.0
//! Who does what for an MD, and what others have it for: the one node that asks for advice and OCSP responses
//! (rule 9), the order in which nodes renew without the engine (rule 6), the names and settings of other nodes
//! (rule 4). Every node comes to the same answer by itself. Pure; imports `view`.

use crate::crypto::sha256;
use crate::fleet::record::NodeMd;
use crate::fleet::view::View;
use std::collections::BTreeSet;

/// Differs by MD, so that the work is spread.
fn weight(node: &str, name: &str) -> [u8; 32] {
    sha256(format!("{node}\0{name}").as_bytes())
}

/// Whether this node is the one of the live ones that asks for this MD: the first of those that renew it by the
/// advice of its CA, where any does.
pub fn asks(view: &View, me: &str, name: &str) -> bool {
    let own = weight(me, name);
    let own_asks = view.node(me).and_then(|node| node.md(name)).is_none_or(|md| md.asks);
    let others = || view.nodes().filter(|node| node.id != me).filter_map(|node| Some((node, node.md(name)?)));
    let is_any = own_asks || others().any(|(_, md)| md.asks);
    let rivals = others().filter(|(_, md)| md.asks == is_any);
    own_asks == is_any && rivals.map(|(node, _)| weight(&node.id, name)).all(|other| other < own)
}

/// Places of nodes that have never met another: few share one.
const LONE_PLACES: u8 = 16;

/// The place of this node in the order in which nodes renew an MD without the engine: the one that asks comes
/// first. `known`: ids of the nodes that were live last; `has_joined`: whether this store has ever known the
/// engine, and so the other nodes.
pub fn place<'n>(known: impl IntoIterator<Item = &'n str>, has_joined: bool, me: &str, name: &str) -> u32 {
    let own = weight(me, name);
    if !has_joined {
        return u32::from(own[0] % LONE_PLACES);
    }
    let before = known.into_iter().filter(|id| *id != me && weight(id, name) > own).count();
    u32::try_from(before).unwrap_or(u32::MAX)
}

/// The DNS names that other live nodes have an MD of this name for.
pub fn names_of_others(view: &View, me: &str, name: &str) -> Vec<String> {
    let others = view.nodes().filter(|node| node.id != me).filter_map(|node| node.md(name));
    let names: BTreeSet<&String> = others.flat_map(|md| &md.domains).collect();
    names.into_iter().cloned().collect()
}

/// Other live nodes, by name, that have the MD with other keys, CAs, profile or must-staple.
pub fn differing(view: &View, me: &str, own: &NodeMd) -> Vec<String> {
    let others = view.nodes().filter(|node| node.id != me);
    let differ = others.filter(|node| node.md(&own.name).is_some_and(|md| md.terms != own.terms));
    differ.map(|node| node.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::engine::Revision;
    use crate::fleet::key::Key;
    use crate::fleet::view::fixture::{node, node_md, view};
    use std::collections::BTreeMap;

    fn fleet(nodes: u8, mds: u16) -> View {
        let md = |number| node_md(&format!("{number}.test"), &[], "x");
        let node = |id: u8| node(&format!("n{id}"), (0..mds).map(md).collect(), 0, u64::from(id) + 1);
        view((0..nodes).map(node).collect(), 99)
    }

    #[test]
    fn exactly_one_live_node_asks_and_the_work_is_spread() {
        let mut view = fleet(5, 200);
        let mut shares: BTreeMap<u8, u32> = BTreeMap::new();
        for number in 0..200 {
            let name = format!("{number}.test");
            let asking: Vec<u8> = (0..5).filter(|id| asks(&view, &format!("n{id}"), &name)).collect();
            assert_eq!(asking.len(), 1, "{name}");
            *shares.entry(asking[0]).or_default() += 1;
        }
        assert!(shares.len() == 5 && shares.values().all(|share| *share > 20), "{shares:?}");
        let before: Vec<_> = (0..5).filter(|id| asks(&view, &format!("n{id}"), "7.test")).collect();
        view.gone(&Key::Node(format!("n{}", before[0])), Revision(100));
        let after: Vec<_> =
            (0..5).filter(|id| *id != before[0] && asks(&view, &format!("n{id}"), "7.test")).collect();
        assert_eq!(after.len(), 1, "another one takes over");
        assert!(asks(&view, "n0", "of-no-other.test"));
    }

    #[test]
    fn a_node_that_does_not_renew_leaves_the_asking_to_one_that_does() {
        let md = |asks| vec![NodeMd { asks, ..node_md("a.test", &[], "x") }];
        for silent in 0_u32..8 {
            let node = |id: u32| node(&format!("n{id}"), md(silent & (1 << id) == 0), 0, u64::from(id) + 1);
            let view = view((0..3).map(node).collect(), 9);
            let asking: Vec<u32> = (0..3).filter(|id| asks(&view, &format!("n{id}"), "a.test")).collect();
            assert_eq!(asking.len(), 1, "{silent:b}");
            assert!(silent == 0b111 || silent & (1 << asking[0]) == 0, "{silent:b}: {asking:?}");
        }
    }

    #[test]
    fn nodes_take_turns_without_the_engine() {
        let ids: Vec<String> = (0..7).map(|id| format!("n{id}")).collect();
        let known = || ids.iter().map(String::as_str);
        let mut places: Vec<u32> = ids.iter().map(|me| place(known(), true, me, "a.test")).collect();
        let first = places.iter().position(|place| *place == 0).unwrap();
        assert!(asks(
            &view(ids.iter().map(|id| node(id, vec![node_md("a.test", &[], "x")], 0, 1)).collect(), 1),
            &ids[first],
            "a.test"
        ));
        places.sort_unstable();
        assert_eq!(places, (0..7).collect::<Vec<_>>());
        assert_eq!(place([], true, "n1", "a.test"), 0, "alone");
        let lone: BTreeSet<u32> = (0..50).map(|id| place([], false, &format!("n{id}"), "a.test")).collect();
        assert!(lone.len() > 12 && lone.iter().all(|place| *place < 16), "{lone:?}");
    }

    #[test]
    fn names_and_settings_of_others_are_those_of_live_nodes_with_the_md() {
        let md = |domains: &[&str], terms| vec![node_md("a.test", domains, terms)];
        let view = view(
            vec![
                node("n1", md(&["a.test", "only-here.test"], "x"), 0, 1),
                node("n2", md(&["www.a.test", "a.test"], "x"), 0, 2),
                node("n3", md(&["b.test"], "y"), 0, 3),
                node("n4", vec![node_md("c.test", &["c.test"], "z")], 0, 4),
            ],
            4,
        );
        assert_eq!(names_of_others(&view, "n1", "a.test"), ["a.test", "b.test", "www.a.test"]);
        assert_eq!(differing(&view, "n1", &md(&[], "x")[0]), ["web-n3"]);
        assert_eq!(differing(&view, "n3", &md(&[], "y")[0]), ["web-n1", "web-n2"]);
        assert!(differing(&view, "n4", &node_md("c.test", &[], "z")).is_empty());
    }
}
