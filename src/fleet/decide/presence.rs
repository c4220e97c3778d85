// SPDX-License-Identifier: Apache-2.0
//! When a node writes that it is there, what it has, and how far it has come; and whom a renewal waits for
//! before it tells the CA to look (rule 2). Pure; imports `lease` and `view`.

use super::lease::Boot;
use crate::fleet::engine::Revision;
use crate::fleet::view::View;
use std::time::Duration;

/// Challenges wait for acknowledgements: no more often than that.
const AT_MOST: Duration = Duration::from_millis(200);
/// So often a node writes in any case: only a write shows that the engine takes writes.
const EVERY: Duration = Duration::from_secs(20);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a renewal waits for acknowledgements.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a node has written of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// The last successful write, of either.
    pub written: Option<Boot>,
    /// The last attempt.
    pub tried: Option<Boot>,
    /// Whether `node/ID` is there as it should be: under this lease, with these MDs.
    pub is_told: bool,
    /// The revision acknowledged.
    pub acknowledged: Revision,
}

/// What to write now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing before that instant.
    NotBefore(Boot),
    /// `node/ID/applied`, with this revision.
    Applied(Revision),
    /// `node/ID`, with this one.
    Node(Revision),
}

/// `applied`: the latest revision of which all is in the store; it is `View::awaited` at most, so that nobody
/// acknowledges acknowledgements.
pub fn write(presence: &Presence, view: &View, applied: Revision, now: Boot) -> Write {
    let applied = applied.min(view.awaited()).max(presence.acknowledged);
    let pause = match presence.written == presence.tried {
        true => AT_MOST,
        false => AGAIN,
    };
    let earliest = presence.tried.map_or(Boot::ZERO, |tried| tried.saturating_add(pause));
    let is_waited_for = presence.acknowledged < view.challenged() && view.challenged() <= applied;
    let regular = presence.written.map_or(Boot::ZERO, |written| written.saturating_add(EVERY));
    let due = if is_waited_for || !presence.is_told { earliest } else { earliest.max(regular) };
    match (now < due && now >= presence.tried.unwrap_or_default(), presence.is_told) {
        (true, _) => Write::NotBefore(due),
        (false, true) => Write::Applied(applied),
        (false, false) => Write::Node(applied),
    }
}

/// Other live nodes that do not have this revision yet, by name.
pub fn behind(view: &View, me: &str, revision: Revision) -> Vec<String> {
    let others = view.nodes().filter(|node| node.id != me && node.applied < revision.0);
    others.map(|node| node.name.clone()).collect()
}
