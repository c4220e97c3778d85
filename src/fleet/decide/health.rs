// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a fleet as its people set it up: clocks (rule 10), two nodes of one name, a copied store.
//! Pure; imports `view`.

use crate::fleet::engine::Revision;
use crate::fleet::view::View;
use crate::time::Timestamp;
use std::time::Duration;

const SKEW: Duration = Duration::from_secs(60);

/// A clock that is off by more than a minute against the engine's: the warning.
pub fn skew(engine: Timestamp, own: Timestamp) -> Option<String> {
    let (ahead, behind) = (own.since(engine), engine.since(own));
    let (off, way) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    (off > SKEW).then(|| {
        let seconds = off.as_secs();
        format!("the clock of this node is {seconds} seconds {way} that of the engine: set one of them right")
    })
}

/// Another live node has the name of this one.
pub fn namesake(view: &View, me: &str, name: &str) -> Option<String> {
    let other = view.nodes().find(|node| node.id != me && node.name == name)?;
    Some(format!(
        "two live nodes have the name {name} (ids {me} and {}): tell them apart with MDFleetNode",
        other.id
    ))
}

/// Whether another process uses this node's id, because the store was copied with it: then this one takes a new
/// id and a new lease. `last`: the instance that this store has known last; `written`: when this process has
/// written `node/ID`.
pub fn is_copied(
    view: &View,
    me: &str,
    instance: &str,
    last: Option<&str>,
    written: Option<Revision>,
) -> bool {
    let Some(node) = view.node(me).filter(|node| node.instance != instance) else { return false };
    match written {
        Some(written) => node.mark.changed > written,
        // The process before this one has left it, if none other has written it since.
        None => last.is_some_and(|last| node.instance != last),
    }
}
