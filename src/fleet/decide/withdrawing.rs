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
