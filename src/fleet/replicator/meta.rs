// SPDX-License-Identifier: Apache-2.0
//! Keeps `meta` as it is, which has the key that hides names: with another one nodes would not see each other's
//! locks. Where somebody has deleted it, a node that knows it puts it back; where another one stands in its place,
//! everything is read once more.

use crate::fleet::engine::{Committed, Condition, Transaction, Write};
use crate::fleet::key::{Key, META};
use crate::fleet::node::{Failed, Node, unless_passing};
use crate::fleet::record::{Meta, Record};

pub fn keep(node: &Node) -> Result<(), Failed> {
    let (value, meta) = {
        let state = node.state();
        match (state.view.meta(), state.view.mark(&Key::Meta), &state.meta) {
            (Some(meta), ..) if meta.value.epoch == state.epoch => return Ok(()),
            (None, None, Some(value)) => {
                let version = crate::fleet::codec::VERSION;
                (value.clone(), Meta { version, epoch: state.epoch.clone() })
            }
            _ => return Err(Failed::Resync),
        }
    };
    let when = vec![Condition::Absent(META.into())];
    let then = vec![Write::Put { key: META.into(), value, lease: None }];
    match node.commit(&Transaction { when, then }) {
        Ok(Committed::Done(at)) => {
            crate::log!(Warn, "fleet: somebody has deleted the key {META} of the engine; it is put back");
            node.note(&Key::Meta, Record::Meta(meta), at, at, None);
            Ok(())
        }
        // Another node was faster, which the watch tells.
        Ok(Committed::Refused) => Ok(()),
        Err(error) => unless_passing(error),
    }
}
