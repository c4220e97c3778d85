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

/// Whether this node is the one of the live ones that asks for this MD.
pub fn asks(view: &View, me: &str, name: &str) -> bool {
    let own = weight(me, name);
    let others = view.nodes().filter(|node| node.id != me && node.md(name).is_some());
    others.map(|node| weight(&node.id, name)).all(|other| other < own)
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
