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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::key::Key;
    use crate::fleet::record::{Record, fixture::set};
    use crate::fleet::view::fixture::{applied, challenge, node, put, view};

    const fn millis(millis: u64) -> Boot {
        Boot::from_millis(millis)
    }

    fn told(at: u64, acknowledged: u64) -> Presence {
        Presence {
            written: Some(millis(at)),
            tried: Some(millis(at)),
            is_told: true,
            acknowledged: Revision(acknowledged),
        }
    }

    #[test]
    fn it_is_told_at_once_at_the_start_and_when_it_changes() {
        let view = view(vec![challenge("t", 4)], 9);
        assert_eq!(write(&Presence::default(), &view, Revision(9), millis(0)), Write::Node(Revision(4)));
        let changed = Presence { is_told: false, ..told(1000, 4) };
        assert_eq!(write(&changed, &view, Revision(9), millis(1199)), Write::NotBefore(millis(1200)));
        assert_eq!(write(&changed, &view, Revision(9), millis(1200)), Write::Node(Revision(4)));
    }

    #[test]
    fn answers_are_acknowledged_five_times_a_second_at_most_and_all_else_in_time() {
        let waiting = view(vec![challenge("t", 7)], 7);
        assert_eq!(
            write(&told(1000, 3), &waiting, Revision(7), millis(1100)),
            Write::NotBefore(millis(1200))
        );
        assert_eq!(write(&told(1000, 3), &waiting, Revision(7), millis(1200)), Write::Applied(Revision(7)));
        assert_eq!(
            write(&told(1000, 3), &waiting, Revision(6), millis(1200)),
            Write::NotBefore(millis(21_000)),
            "it is not in the store yet"
        );
        let quiet = view(vec![put(Key::Set("a.test".into()), Record::Set(set(1)), 7)], 7);
        assert_eq!(
            write(&told(1000, 3), &quiet, Revision(7), millis(1200)),
            Write::NotBefore(millis(21_000))
        );
        assert_eq!(write(&told(1000, 3), &quiet, Revision(7), millis(21_000)), Write::Applied(Revision(7)));
    }

    #[test]
    fn acknowledgements_are_not_acknowledged() {
        let mut view = view(vec![challenge("t", 7)], 7);
        for revision in 8..100 {
            view.put(applied("n2", revision - 1, revision));
            view.advance(Revision(revision));
            let now = millis(1000 + revision);
            assert_eq!(
                write(&told(1000, 7), &view, Revision(revision), now),
                Write::NotBefore(millis(21_000))
            );
        }
        assert_eq!(write(&told(1000, 7), &view, Revision(99), millis(21_000)), Write::Applied(Revision(7)));
    }

    #[test]
    fn a_write_that_failed_is_tried_again_after_a_while() {
        let view = view(vec![challenge("t", 7)], 7);
        let failed = Presence { tried: Some(millis(5000)), ..told(1000, 3) };
        assert_eq!(write(&failed, &view, Revision(7), millis(5500)), Write::NotBefore(millis(7000)));
        assert_eq!(write(&failed, &view, Revision(7), millis(7000)), Write::Applied(Revision(7)));
        assert_eq!(
            write(&failed, &view, Revision(7), millis(400)),
            Write::Applied(Revision(7)),
            "the clock went back"
        );
    }

    #[test]
    fn a_renewal_waits_for_all_other_live_nodes() {
        let all = vec![node("n1", vec![], 0, 1), node("n2", vec![], 6, 2), node("n3", vec![], 9, 3)];
        let mut view = view(all, 9);
        assert_eq!(behind(&view, "n1", Revision(7)), ["web-n2"]);
        view.put(applied("n2", 7, 10));
        assert!(behind(&view, "n1", Revision(7)).is_empty());
        view.put(node("n4", vec![], 0, 11));
        assert_eq!(behind(&view, "n1", Revision(7)), ["web-n4"], "it came just now");
    }
}
