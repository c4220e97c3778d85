// SPDX-License-Identifier: Apache-2.0
//! A record of each kind, for tests.

use super::*;
use crate::crypto::PrivateKey;
use crate::crypto::fixture::Ca;
use crate::managed::peers::SharedCert;
use crate::managed::saved_order::SavedOrder;
use crate::model::retry_state::Scope;
use crate::model::{KeySpec, RetryState};
use serde_json::json;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const CA: &str = "https://ca.test/dir";

/// Of a node.
pub fn id(number: u8) -> String {
    format!("{number:02x}").repeat(16)
}

/// A set for `a.test` of this generation, with a new key and certificate.
pub fn set(generation: u64) -> Set {
    let spec = KeySpec::Ec("P-256".into());
    let key = PrivateKey::generate(&spec).unwrap();
    let chain = Ca::new("fleet").issue(&["a.test"], &key);
    let set = SharedSet {
        ca: CA.into(),
        names: vec!["a.test".into(), "*.a.test".into()],
        must_staple: true,
        profile: Some("shortlived".into()),
        certs: vec![SharedCert { spec, key, chain }],
        renew_at: Some(NOW),
    };
    Set { set, generation, published: NOW }
}

fn job() -> Job {
    let spec = KeySpec::Ec("P-384".into());
    let mut order = SavedOrder::new("https://ca.test/order/1", "P-384", Some(NOW));
    order.start("https://ca.test/authz/1", NOW);
    Job(SharedJob {
        ca: CA.into(),
        names: vec!["a.test".into()],
        order: Some(order),
        keys: vec![(spec.clone(), PrivateKey::generate(&spec).unwrap())],
        certs: set(1).set.certs,
        step: "waits for the CA".into(),
        errors: 2,
        next_try: Some(NOW),
        problem: Some("unauthorized".into()),
        retry_state: RetryState { ca: Some(CA.into()), ca_errors: 2, ..RetryState::default() },
    })
}

fn account() -> Account {
    Account(SharedAccount {
        json: json!({"status": "valid", "url": "https://ca.test/acct/1", "ca-url": CA,
            "contact": ["mailto:a@a.test"], "eab": {"kid": "k", "hmac": "c2VjcmV0"}}),
        key: PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap(),
    })
}

fn node() -> Node {
    let md = |name: &str, domains: &[&str], terms: &str| NodeMd {
        name: name.into(),
        domains: domains.iter().map(ToString::to_string).collect(),
        terms: terms.into(),
        asks: terms != "y",
    };
    Node {
        id: id(1),
        name: "web1".into(),
        instance: id(2),
        version: "3.0.0".into(),
        mds: vec![
            md("a.test", &["a.test"], "y"),
            md("b.test", &["b.test", "www.b.test"], "x"),
            md("c.test", &[], "y"),
        ],
        has_more: true,
        applied: 42,
        seen: NOW,
    }
}

/// A record of each kind, with its key.
pub fn all() -> Vec<(Key, Record)> {
    let (md, hash) = ("a.test".to_string(), Key::account_hash(CA, None));
    let limit = RateLimit { ca: CA.into(), scope: Scope::Name("a.test".into()), since: NOW, until: NOW };
    let lock = Record::Lock(Lock { node: id(1), since: NOW });
    let account = account();
    let answer = SharedAnswer {
        type_: "http-01".into(),
        dns_name: "a.test".into(),
        owner: "a.test".into(),
        answer: "token.thumb".into(),
    };
    let record = json!({"certificates": [{"why": "revoked", "issuer": "CN=x", "serial": "0A",
        "since": NOW.to_http_date(), "until": NOW.to_http_date()}]});
    let ocsp = Ocsp { md: md.clone(), file: "0a.json".into(), der: vec![0x30, 0] };
    let node = node();
    vec![
        (Key::Meta, Record::Meta(Meta { version: 1, epoch: id(3) })),
        (Key::Lock(md.clone()), lock.clone()),
        (Key::AccountLock(hash.clone()), lock),
        (Key::Job(md.clone()), Record::Job(job())),
        (Key::Set(md.clone()), Record::Set(set(7))),
        (Key::Withdrawn(md.clone()), Record::Withdrawn(Withdrawn { record })),
        (Key::Account(account.hash().unwrap()), Record::Account(account)),
        (Key::challenge(&answer), Record::Challenge(Challenge(answer))),
        (Key::Hold { ca: hash.clone(), md: None }, Record::Hold(Hold { limit: limit.clone(), md: None })),
        (Key::Hold { ca: hash, md: Some(md.clone()) }, Record::Hold(Hold { limit, md: Some(md.clone()) })),
        (Key::Ocsp { md, file: ocsp.file.clone() }, Record::Ocsp(ocsp)),
        (Key::Node(node.id.clone()), Record::Node(node)),
        (Key::Applied(id(1)), Record::Applied(Applied { applied: 43, seen: NOW })),
    ]
}
