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
/// id and a new lease. `former`: the instances of this store that may have written it; `written`: when this process has
/// written `node/ID`.
pub fn is_copied(
    view: &View,
    me: &str,
    instance: &str,
    former: &[String],
    written: Option<Revision>,
) -> bool {
    let Some(node) = view.node(me).filter(|node| node.instance != instance) else { return false };
    match written {
        Some(written) => node.mark.changed > written,
        // A process before this one has left it, if none other has written it since.
        None => !former.is_empty() && !former.contains(&node.instance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::fixture::{NOW, node, view};

    #[test]
    fn a_clock_that_is_off_by_more_than_a_minute_is_told() {
        let off = |seconds: i64| skew(NOW, Timestamp::from_unix(NOW.unix() + seconds));
        assert_eq!((off(0), off(60), off(-60)), (None, None, None));
        assert!(off(61).unwrap().contains("61 seconds ahead of"));
        assert!(off(-3600).unwrap().contains("3600 seconds behind"));
    }

    #[test]
    fn two_live_nodes_of_one_name_are_told() {
        let view = view(vec![node("n1", vec![], 0, 1), node("n2", vec![], 0, 2)], 2);
        assert_eq!(namesake(&view, "n1", "web-n1"), None);
        let text = namesake(&view, "n1", "web-n2").unwrap();
        assert!(text.contains("n1") && text.contains("n2") && text.contains("MDFleetNode"));
    }

    #[test]
    fn a_copied_store_shows_by_another_process_with_its_id() {
        let view = view(vec![node("n1", vec![], 0, 5)], 5);
        let is_copied = |instance, former: Option<&str>, written: Option<u64>| {
            let former: Vec<String> =
                former.into_iter().flat_map(str::split_whitespace).map(String::from).collect();
            super::is_copied(&view, "n1", instance, &former, written.map(Revision))
        };
        assert!(!is_copied("i-n1", Some("i-n1"), Some(5)), "its own");
        assert!(!is_copied("new", Some("i-n1"), None), "the process before it");
        assert!(
            !is_copied("new", Some("i-n1 short"), None),
            "the one before that, which has written nothing"
        );
        assert!(is_copied("new", Some("older"), None), "another has written it since the store was copied");
        assert!(is_copied("i-0", Some("i-0"), Some(4)), "another writes it while this one lives");
        assert!(!is_copied("new", Some("i-n1"), Some(6)), "its own write is not told yet");
        assert!(!super::is_copied(&view, "n2", "new", &["older".to_string()], None));
    }
}
