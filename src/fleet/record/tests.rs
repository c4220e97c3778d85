// SPDX-License-Identifier: Apache-2.0
//! Tests of the records: each comes back from its JSON, and whatever was changed in it is refused or read as
//! what it then is.

use super::fixture::{all, id, set};
use super::*;
use serde_json::json;

fn flaw(key: &Key, json: &Value) -> Option<Flaw> {
    Record::from_json(key, json).err()
}

/// `json` with another value at this path.
fn with(json: &Value, path: &str, value: Value) -> Value {
    let mut json = json.clone();
    *json.pointer_mut(path).unwrap() = value;
    json
}

fn json_of(kind: &str) -> (Key, Value) {
    let is_it = |key: &Key| format!("{key:?}").starts_with(kind);
    let (key, record) = all().into_iter().find(|(key, _)| is_it(key)).unwrap();
    let json = record.to_json(&key).unwrap();
    (key, json)
}

#[test]
fn every_record_comes_back_from_its_json() {
    for (key, record) in all() {
        let json = record.to_json(&key).unwrap();
        let read = Record::from_json(&key, &json).unwrap_or_else(|flaw| panic!("{key:?} {flaw}: {json}"));
        assert_eq!(read.to_json(&key).unwrap(), json);
    }
}

#[test]
fn a_record_is_refused_at_a_key_of_another_kind_or_name() {
    let all = all();
    for (i, (_, record)) in all.iter().enumerate() {
        for (j, (key, _)) in all.iter().enumerate() {
            let is_right =
                i == j || matches!((key, record), (Key::AccountLock(_) | Key::Lock(_), Record::Lock(_)));
            assert_eq!(record.to_json(key).is_ok(), is_right, "{key:?}");
        }
    }
    let (digits, md) = ("0".repeat(64), "b.test".to_string());
    for (kind, other) in [
        ("Account(", Key::Account(digits.clone())),
        ("Hold", Key::Hold { ca: digits.clone(), md: None }),
        ("Hold", Key::Hold { ca: Key::account_hash("https://ca.test/dir", None), md: Some(md.clone()) }),
        ("Ocsp", Key::Ocsp { md, file: "0a.json".into() }),
        ("Node", Key::Node(id(9))),
        ("Challenge", Key::Challenge { type_: "http-01".into(), dns_name: "a.test".into(), hash: digits }),
    ] {
        assert_eq!(flaw(&other, &json_of(kind).1), Some(Flaw::Key), "{other:?}");
    }
}

#[test]
fn a_field_that_is_missing_or_of_another_form_refuses_all_of_it() {
    for (key, record) in all() {
        let json = record.to_json(&key).unwrap();
        let optional = ["profile", "renew-at", "order", "next-try", "problem", "md", "step", "certificates"];
        for name in json.as_object().unwrap().keys() {
            let is_optional = optional.contains(&name.as_str());
            let mut less = json.clone();
            less.as_object_mut().unwrap().remove(name);
            assert!(is_optional || flaw(&key, &less).is_some(), "{key:?} without {name}");
            for odd in [json!({"x": [1]}), json!(-1.5), json!("\u{1b}[2J"), json!([[]])] {
                let (odd, is_odd) = (with(&json, &format!("/{name}"), odd.clone()), odd);
                let is_cut = ["step", "problem"].contains(&name.as_str());
                let is_kept = ["certificates"].contains(&name.as_str());
                assert!(is_cut || is_kept || flaw(&key, &odd).is_some(), "{key:?} {name} {is_odd}");
            }
        }
        for whole in [json!(null), json!([]), json!("x"), json!(7)] {
            assert!(flaw(&key, &whole).is_some(), "{key:?} {whole}");
        }
    }
}

#[test]
fn keys_that_are_not_those_of_the_certificates_are_refused() {
    let (key, json) = json_of("Set");
    let (_, other) = (key.clone(), Record::Set(set(8)).to_json(&key).unwrap());
    let foreign = with(&json, "/certs/0/key", other["certs"][0]["key"].clone());
    assert_eq!(flaw(&key, &foreign), Some(Flaw::Field("key")));
    let kind = with(&json, "/certs/0/type", json!({"type": "RSA", "bits": 2048}));
    assert_eq!(flaw(&key, &kind), Some(Flaw::Field("key")));
    assert_eq!(flaw(&key, &with(&json, "/certs", json!([]))), Some(Flaw::Field("certs")));
    let many = vec![json["certs"][0].clone(); 17];
    assert_eq!(flaw(&key, &with(&json, "/certs", json!(many))), Some(Flaw::Field("certs")));
    assert_eq!(flaw(&key, &with(&json, "/generation", json!(u64::MAX))), Some(Flaw::Field("generation")));
    let (key, json) = json_of("Job");
    let kind = with(&json, "/keys/0/type", json!({"type": "RSA"}));
    assert_eq!(flaw(&key, &kind), Some(Flaw::Field("keys")));
}

#[test]
fn texts_of_others_are_cut_for_pages_and_logs() {
    let (key, json) = json_of("Job");
    let long = with(&json, "/problem", json!("x\u{1b}".repeat(5000)));
    let Record::Job(Job(job)) = Record::from_json(&key, &long).unwrap() else { panic!("no job") };
    let problem = job.problem.unwrap();
    assert!(problem.len() <= 2048 && !problem.contains('\u{1b}'));
    let (key, json) = json_of("Account(");
    let mut many = json.clone();
    many["account"]["more"] = json!(vec!["x".repeat(5000); 1000]);
    let Record::Account(account) = Record::from_json(&key, &many).unwrap() else { panic!("no account") };
    assert!(account.0.json.to_string().len() < 100_000);
}

#[test]
fn a_node_with_ten_thousand_domains_fits_into_half_a_value() {
    let md = |i: u32| {
        let name = format!("www{i}.customer-of-ours.example");
        NodeMd {
            domains: vec![name.clone()],
            name,
            terms: "P-256, RSA-3072 https://ca.test/dir".into(),
            asks: !i.is_multiple_of(2),
        }
    };
    let Record::Node(mut node) = all().into_iter().find(|(key, _)| matches!(key, Key::Node(_))).unwrap().1
    else {
        panic!("no node")
    };
    node.mds = (0..10_000).map(md).collect();
    let json = Record::Node(node.clone()).to_json(&Key::Node(node.id.clone())).unwrap();
    assert!(json.to_string().len() < super::super::engine::VALUE_MAX / 2);
    let Record::Node(read) = Record::from_json(&Key::Node(node.id.clone()), &json).unwrap() else {
        panic!("no node")
    };
    assert_eq!(read, node);
}
