// SPDX-License-Identifier: Apache-2.0
//! Entries of an engine, for tests of the view and of decisions.

use super::{Item, KnownSet, Mark, Part, Put, View};
use crate::crypto::CertInfo;
use crate::fleet::engine::{LeaseId, Revision};
use crate::fleet::key::Key;
use crate::fleet::record::{Applied, Challenge, Lock, Node, NodeMd, Record, Written};
use crate::managed::peers::SharedAnswer;
use crate::model::KeySpec;
use crate::time::{DAY, Timestamp};

pub const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

pub fn ec() -> KeySpec {
    KeySpec::Ec("P-256".into())
}

/// A certificate for `a.test` that was issued `age` days ago and lives for 90, by serial number.
pub fn cert(serial: &str, age: u32) -> CertInfo {
    cert_for(serial, &["a.test"], age)
}

pub fn cert_for(serial: &str, names: &[&str], age: u32) -> CertInfo {
    let not_before = NOW.minus(DAY * age);
    CertInfo {
        issuer_name: "/CN=CA".into(),
        serial: serial.into(),
        fingerprint: format!("{serial:0>64}").to_lowercase(),
        not_before,
        not_after: not_before.plus(DAY * 90),
        dns_names: names.iter().map(ToString::to_string).collect(),
        ..CertInfo::default()
    }
}

/// A set in the engine of these certificates.
pub fn remote(generation: u64, certs: Vec<(KeySpec, CertInfo)>, changed: u64) -> Item<KnownSet> {
    let set = KnownSet {
        generation,
        published: NOW,
        ca: "https://ca.test/dir".into(),
        profile: None,
        certs,
        renew_at: None,
        full: None,
    };
    Item { value: set, by: by("n1"), mark: mark(changed) }
}

pub fn mark(changed: u64) -> Mark {
    Mark { created: Revision(changed), changed: Revision(changed), lease: None }
}

pub fn by(node: &str) -> Option<Written> {
    Some(Written { node: node.into(), at: NOW })
}

pub fn put(key: Key, record: Record, changed: u64) -> Put {
    Put { key, record, by: by("n1"), mark: mark(changed) }
}

pub fn lock(node: &str, changed: u64) -> Put {
    put(Key::Lock("a.test".into()), Record::Lock(Lock { node: node.into(), since: NOW }), changed)
}

pub fn node_md(name: &str, domains: &[&str], terms: &str) -> NodeMd {
    let domains = domains.iter().map(ToString::to_string).collect();
    NodeMd { name: name.into(), domains, terms: terms.into(), asks: true }
}

/// A node named `web-ID` that has these MDs.
pub fn node(id: &str, mds: Vec<NodeMd>, applied: u64, changed: u64) -> Put {
    let node = Node {
        id: id.into(),
        name: format!("web-{id}"),
        instance: format!("i-{id}"),
        version: "3".into(),
        mds,
        has_more: false,
        applied,
        seen: NOW,
    };
    let mut put = put(Key::Node(id.into()), Record::Node(node), changed);
    put.mark.lease = Some(LeaseId(1));
    put
}

pub fn applied(id: &str, revision: u64, changed: u64) -> Put {
    put(Key::Applied(id.into()), Record::Applied(Applied { applied: revision, seen: NOW }), changed)
}

pub fn challenge(token: &str, changed: u64) -> Put {
    let answer = SharedAnswer {
        type_: "http-01".into(),
        dns_name: "a.test".into(),
        owner: "a.test".into(),
        answer: format!("{token}.thumb"),
    };
    put(Key::challenge(&answer), Record::Challenge(Challenge(answer)), changed)
}

/// A view of a node that has `a.test`, listed at this revision.
pub fn view(puts: Vec<Put>, at: u64) -> View {
    let mut view = View::new(["a.test".into()]);
    let mut listing = view.begin(Part::All);
    for put in puts {
        view.list(&mut listing, put);
    }
    view.finish(listing, Revision(at));
    view
}
