// SPDX-License-Identifier: Apache-2.0
//! Fragments, counts and revisions of messages, and messages of a hostile server.

use super::*;
use crate::fleet::engine::Entry;
use data_encoding::BASE64;
use proptest::prelude::*;
use serde_json::json;

fn events(after: u64, count: u64) -> Events {
    Events::new(Keys::new("md"), Revision(after), count)
}

fn put(key: &str, created: u64, at: u64) -> Value {
    let version = if created == at { "1" } else { "2" };
    json!({ "kv": {
        "key": BASE64.encode(format!("md/{key}").as_bytes()), "version": version,
        "create_revision": created.to_string(), "mod_revision": at.to_string(),
    }})
}

fn gone(key: &str, at: u64) -> Value {
    let key = BASE64.encode(format!("md/{key}").as_bytes());
    json!({ "type": "DELETE", "kv": { "key": key, "mod_revision": at.to_string() } })
}

fn message(events: &[Value], is_fragment: bool) -> Value {
    let mut message = json!({ "header": { "revision": "99" }, "events": events });
    if is_fragment {
        message["fragment"] = json!(true);
    }
    message
}

fn keys(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(Change::key).collect()
}

#[test]
fn a_transaction_in_fragments_is_told_with_its_last() {
    let mut events = events(4, 1);
    let first = events.take(&message(&[put("a", 5, 5), put("b", 6, 6)], true)).unwrap();
    assert_eq!((keys(&first), events.sure()), (vec!["a"], Revision(5)));
    assert_eq!(events.take(&message(&[put("c", 6, 6)], true)), Ok(vec![]));
    assert_eq!(events.sure(), Revision(5));
    let last = events.take(&message(&[gone("d", 6), put("e", 7, 7)], false)).unwrap();
    assert_eq!(keys(&last), ["b", "c", "d", "e"]);
    assert_eq!((events.sure(), events.count()), (Revision(7), 4));
}

/// The header of a message may be ahead of what it tells.
#[test]
fn the_header_counts_only_where_there_are_no_events() {
    let mut events = events(4, 0);
    events.take(&message(&[put("a", 5, 5)], false)).unwrap();
    assert_eq!(events.sure(), Revision(5));
    let told = |extra: Value| {
        let mut message = json!({ "header": { "revision": "9" } });
        message.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        message
    };
    for other in [json!({ "created": true }), json!({ "watch_id": "-1" }), json!({ "watch_id": "3" })] {
        assert_eq!(events.take(&told(other)), Ok(vec![]));
        assert_eq!(events.sure(), Revision(5));
    }
    events.take(&told(json!({}))).unwrap();
    assert_eq!(events.sure(), Revision(9), "a notice of progress");
    events.is_unchanged_at(Revision(8));
    assert_eq!(events.sure(), Revision(9));
}

#[test]
fn keys_are_counted_those_of_others_too() {
    let mut events = events(4, 2);
    let changes =
        [put("a", 5, 5), put("a", 5, 6), gone("a", 7), put("not ours", 8, 8), gone("x", 9), gone("y", 9)];
    let told = events.take(&message(&changes, false)).unwrap();
    assert_eq!((told.len(), events.count(), events.sure()), (5, 1, Revision(9)));
    events.take(&message(&[gone("b", 10), gone("c", 10), gone("d", 10)], false)).unwrap();
    assert_eq!(events.count(), 0);
}

#[test]
fn history_that_goes_back_is_a_gap() {
    let mut events = events(4, 0);
    events.take(&message(&[put("a", 6, 6)], false)).unwrap();
    assert!(matches!(events.take(&message(&[put("b", 5, 5)], false)), Err(Error::Gap(_))));
}

#[test]
fn a_transaction_without_end_is_a_gap() {
    let mut events = events(4, 0);
    let mut kv = put("a", 5, 5);
    kv["kv"]["value"] = json!(BASE64.encode(&vec![7; 1024 * 1024]));
    let piece = message(&[kv], true);
    let error = (0..100).find_map(|_| events.take(&piece).err());
    assert!(matches!(error, Some(Error::Gap(_))), "{error:?}");
}

#[test]
fn entries_are_told_whole() {
    let mut kv = put("a", 5, 6);
    kv["kv"]["value"] = json!("AP8=");
    kv["kv"]["lease"] = json!("12");
    let told = events(4, 0).take(&message(&[kv], false)).unwrap();
    let lease = Some(crate::fleet::engine::LeaseId(12));
    let (created, changed, value) = (Revision(5), Revision(6), vec![0, 255]);
    assert_eq!(told, [Change::Put(Entry { key: "a".into(), value, created, changed, lease })]);
}

/// Any JSON, with the names that are looked for.
fn documents() -> impl Strategy<Value = Value> {
    let names = [
        "header",
        "revision",
        "events",
        "kv",
        "key",
        "value",
        "lease",
        "type",
        "mod_revision",
        "create_revision",
        "version",
        "fragment",
        "created",
        "canceled",
        "cancel_reason",
        "compact_revision",
        "watch_id",
        "result",
        "error",
        "code",
        "grpc_code",
        "message",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i64>().prop_map(|n| Value::from(n.to_string())),
        prop::sample::select(vec!["bWQvYQ==", "bWQv", "md", "PUT", "DELETE", "-1", "!", ""])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let entries = prop::collection::vec((prop::sample::select(names.to_vec()), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            entries.prop_map(|all| all.into_iter().map(|(name, value)| (name.to_string(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_message_panics_or_moves_the_watch_back(messages in prop::collection::vec(documents(), 1..6)) {
        let mut events = events(4, 3);
        for message in messages {
            let before = events.sure();
            let text = message.to_string();
            let _ = crate::fleet::engine::etcd::wire::message(text.as_bytes());
            let _ = Fault::of(&message).map(Fault::into_error);
            if let Ok(changes) = events.take(&message) {
                for change in changes {
                    prop_assert!(change.key() == "a");
                }
            }
            prop_assert!(events.sure() >= before);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = crate::fleet::engine::etcd::wire::message(&bytes);
    }
}
