// SPDX-License-Identifier: Apache-2.0
//! Gives accounts that the engine has lost to it again: else the next node that renews would register another one,
//! as only one has them in its store.

use crate::fleet::engine::{Committed, Condition, Transaction};
use crate::fleet::key::Key;
use crate::fleet::node::{Failed, Node, unless_passing};
use crate::fleet::record::Record;
use crate::fleet::view::{Mark, Put};

pub fn publish(node: &Node) -> Result<(), Failed> {
    let lost: Vec<_> = {
        let state = node.state();
        let is_lost = |hash: &String| state.view.mark(&Key::Account(hash.clone())).is_none();
        let lost = state.accounts.iter().filter(|(hash, _)| is_lost(hash));
        lost.map(|(hash, account)| (Key::Account(hash.clone()), Record::Account(account.clone()))).collect()
    };
    for (key, record) in lost {
        let when = vec![Condition::Absent(node.text(&key)?)];
        let then = vec![node.sealed(&key, &record, None)?];
        match node.commit(&Transaction { when, then }) {
            Ok(Committed::Done(at)) => {
                let (by, now) = (Some(node.written()), node.now());
                let mark = Mark { created: at, changed: at, lease: None };
                node.state().put(Put { key, record, by, mark }, now);
            }
            // Another node has registered one, which the watch tells.
            Ok(Committed::Refused) => {}
            Err(error) => return unless_passing(error),
        }
    }
    Ok(())
}
