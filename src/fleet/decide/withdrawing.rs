// SPDX-License-Identifier: Apache-2.0
//! What is withdrawn of an MD (rule 5): what the store, the node's memory and the fleet know of, together. Nothing
//! is forgotten before its certificate would have expired, whatever the engine has lost. Pure; imports
//! `view`, and `reconcile` for conditions.

use super::reconcile::On;
use crate::fleet::engine::Revision;
use crate::fleet::record;
use crate::fleet::view::Item;
use crate::managed::withdrawn::Withdrawn;
use crate::time::Timestamp;
use serde_json::Value;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawing {
    /// What is withdrawn, of all.
    pub all: Withdrawn,
    /// The store does not have all of it.
    pub is_new_here: bool,
    /// The fleet does not have all of it: publish it on this condition.
    pub publish: Option<On>,
}

/// `store`: `withdrawn/NAME.json`; `kept`: what `State` has; `unread`: `withdrawn/NAME` exists and cannot be
/// opened, with when it was written.
pub fn withdrawing(
    store: &Withdrawn,
    kept: Option<&Value>,
    remote: Option<&Item<record::Withdrawn>>,
    unread: Option<Revision>,
    now: Timestamp,
) -> Withdrawing {
    let of = |record: Option<&Value>| record.map(|record| Withdrawn::of(record, now)).unwrap_or_default();
    let theirs = of(remote.map(|remote| &remote.value.record));
    let store = store.merged(&Withdrawn::default());
    let all = store.merged(&of(kept)).merged(&theirs);
    let on = match (remote, unread) {
        (Some(remote), _) => On::ChangedAt(remote.mark.changed),
        (None, Some(unread)) => On::ChangedAt(unread),
        (None, None) => On::Absent,
    };
    Withdrawing {
        is_new_here: all != store,
        publish: (all != theirs.merged(&Withdrawn::default())).then_some(on),
        all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::fixture::{NOW, by, cert, mark};
    use crate::managed::withdrawn::{Entry, Why};
    use crate::time::DAY;

    fn of(serials: &[&str]) -> Withdrawn {
        let mut withdrawn = Withdrawn::default();
        for serial in serials {
            let cert = cert(serial, 1);
            withdrawn.add(Entry {
                why: Why::Revoked,
                issuer: cert.issuer_name,
                serial: cert.serial,
                key: None,
                since: NOW,
                until: cert.not_after,
            });
        }
        withdrawn.merged(&Withdrawn::default())
    }

    fn remote(serials: &[&str]) -> Item<record::Withdrawn> {
        Item { value: record::Withdrawn { record: of(serials).to_json() }, by: by("n1"), mark: mark(5) }
    }

    #[test]
    fn each_side_gets_what_it_lacks() {
        let at = Revision(5);
        let kept = of(&["0A"]).to_json();
        let table = [
            (vec![], None, None, vec![], false, None),
            (vec!["0A"], None, None, vec!["0A"], false, Some(On::Absent)),
            (vec![], Some(vec!["0A"]), None, vec!["0A"], true, None),
            (vec!["0B"], Some(vec!["0A"]), None, vec!["0A", "0B"], true, Some(On::ChangedAt(at))),
            (vec!["0A"], Some(vec!["0A"]), None, vec!["0A"], false, None),
            (vec![], None, Some(&kept), vec!["0A"], true, Some(On::Absent)),
        ];
        for (store, theirs, kept, all, is_new_here, publish) in table {
            let theirs = theirs.map(|serials: Vec<&str>| remote(&serials));
            let found = withdrawing(&of(&store), kept, theirs.as_ref(), None, NOW);
            assert_eq!(found, Withdrawing { all: of(&all), is_new_here, publish }, "{store:?}");
        }
        let unread = withdrawing(&of(&["0A"]), None, None, Some(Revision(8)), NOW);
        assert_eq!(unread.publish, Some(On::ChangedAt(Revision(8))));
        let late = withdrawing(&of(&[]), Some(&kept), Some(&remote(&["0A"])), None, NOW.plus(DAY * 100));
        assert_eq!((late.all.is_empty(), late.publish), (true, None), "it has expired");
    }
}
