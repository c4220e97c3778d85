// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever lines an etcd server sends, as answers and as messages of a watch: nothing
//! panics or grows, the history never goes back, and its words break no line.

use super::plain::assert_line;
use mod_md::fleet::engine::etcd::events::{Events, end};
use mod_md::fleet::engine::etcd::wire::{Fault, Keys, flag, list, message, number, parse, revision, text};
use mod_md::fleet::engine::{Change, Error, KEY_MAX, Revision, VALUE_MAX};

/// Lines are messages of one watch, one after the other; the whole is an answer.
pub fn check(bytes: &[u8]) {
    answer(bytes);
    let keys = Keys::new("/fleet");
    let mut events = Events::new(keys, Revision(10), 3);
    let (mut last, mut size) = (Revision(10), 0);
    for line in bytes.split(|byte| *byte == b'\n') {
        let message = match message(line) {
            Ok(message) => message,
            Err(error) => return failed(&error),
        };
        let sure = events.sure();
        match events.take(&message) {
            Ok(changes) => {
                for change in &changes {
                    let (at, value) = match change {
                        Change::Put(entry) => (entry.changed, entry.value.len()),
                        Change::Gone { at, .. } => (*at, 0),
                    };
                    assert!(at >= last && at <= events.sure() && change.key().len() <= KEY_MAX, "{change:?}");
                    (last, size) = (at, size + value);
                }
            }
            Err(error) => return failed(&error),
        }
        assert!(events.sure() >= sure && size <= bytes.len() && events.count() <= 3 + bytes.len() as u64);
    }
}

fn answer(bytes: &[u8]) {
    let value = match parse(bytes) {
        Ok(value) => value,
        Err(error) => return failed(&error),
    };
    revision(&value).err().iter().for_each(failed);
    end(&value).into_iter().flatten().for_each(|error| failed(&error));
    for name in ["count", "more", "kvs", "succeeded", "token", "TTL"] {
        number(&value, name).err().iter().for_each(failed);
        let _ = (flag(&value, name).is_ok(), text(&value, name).is_ok());
    }
    if let Some(fault) = Fault::of(&value) {
        assert_line(&fault.text);
        assert!(fault.text.chars().count() <= 200);
        let _ = (
            fault.is_logged_out(),
            fault.is_auth_disabled(),
            fault.is_lease_in_force(),
            fault.is_of_this_server(),
        );
        failed(&fault.into_error());
    }
    if let Ok(reason) = text(&value, "message") {
        failed(&Fault::of_reason(reason).into_error());
    }
    let keys = Keys::new("fleet");
    for kv in list(&value, "kvs").into_iter().flatten() {
        match keys.entry(kv) {
            Ok(Some(entry)) => {
                assert!(entry.value.len() <= VALUE_MAX && entry.created <= entry.changed);
                assert!(entry.lease.is_none_or(|lease| lease.0 > 0 && i64::try_from(lease.0).is_ok()));
                // A key is what was asked for under it.
                assert!(
                    entry.key.len() <= KEY_MAX && entry.key.bytes().all(|b| (b'!'..=b'~').contains(&b)),
                    "{entry:?}"
                );
            }
            Ok(None) => {}
            Err(error) => failed(&error),
        }
    }
}

fn failed(error: &Error) {
    assert_line(&error.to_string());
}
