// SPDX-License-Identifier: Apache-2.0
//! What grows without an end elsewhere, and stays within its bounds here.

use crate::lab::{Lab, fingerprint};
use mod_md::fleet::engine::{
    Alive, Committed, Cursor, Engine, Entry, Error, LeaseId, Page, Revision, Transaction, Watch, Write,
};
use mod_md::fleet::node::{Node, Setup};
use mod_md::fleet::replicator::Replicator;
use mod_md::fleet::replicator::feed::Inline;
use mod_md::managed::peers::Peers;
use mod_md::model::RateLimit;
use mod_md::model::retry_state::Scope;
use mod_md::store::Fuse;
use mod_md::time::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn of_what_waits_for_the_engine_the_newest_is_kept() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    a.begin("a.test").publish(&lab.set(&["a.test"])).unwrap();
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    lab.engine.faults(|faults| faults.is_away = true);
    let now = lab.clock.now();
    let limit = |minutes: u32| RateLimit {
        ca: crate::lab::CA.into(),
        scope: Scope::Ca,
        since: now,
        until: now.plus(SECOND * 60 * minutes),
    };
    for count in 1..=200 {
        a.member.share_response("a.test", "0a.json", &[count]);
        a.member.share_renew_at("a.test", now.plus(SECOND * u32::from(count)));
        a.member.hold(&limit(u32::from(count)), None);
        a.member.hold(&limit(u32::from(count)), Some("a.test"));
    }
    lab.pass(SECOND * 5, &mut [&mut a, &mut b]);
    assert!(a.node.state().posted.len() <= 4, "{}", a.node.state().posted.len());
    lab.engine.faults(|faults| faults.is_away = false);
    lab.pass(SECOND * 20, &mut [&mut a, &mut b]);
    assert_eq!(a.node.state().posted.len(), 0);
    let state = b.node.state();
    let renew_at = state.view.set("a.test").and_then(|set| set.value.renew_at);
    assert_eq!(renew_at, Some(now.plus(SECOND * 200)));
    let until: Vec<_> = state.view.holds().map(|(_, hold)| hold.value.limit.until).collect();
    assert_eq!(until, [limit(200).until, limit(200).until]);
}

#[test]
fn a_disk_that_is_full_is_a_warning_and_not_a_line_a_second() {
    let lab = Lab::new();
    let fuse = Fuse::after(usize::MAX);
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node_with("b", &["a.test"], fuse.clone()));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    fuse.blow();
    let set = lab.set(&["a.test"]);
    a.begin("a.test").publish(&set).unwrap();
    lab.pass(SECOND * 5, &mut [&mut a, &mut b]);
    let warning = b.node.state().warnings.get("staging").map(|(text, _)| text.clone());
    assert!(warning.is_some_and(|text| text.contains("a.test")), "it is said once a day");
    fuse.mend();
    lab.pass(SECOND * 3, &mut [&mut a, &mut b]);
    assert_eq!(b.staged("a.test"), fingerprint(&set));
    assert!(b.node.state().warnings.is_empty());
}

/// An engine that takes nothing under a lease.
struct Broken {
    engine: Arc<dyn Engine>,
    listings: AtomicUsize,
}

impl Engine for Broken {
    fn name(&self) -> String {
        self.engine.name()
    }
    fn grant(&self, lease: LeaseId, ttl: Duration) -> Result<Alive, Error> {
        self.engine.grant(lease, ttl)
    }
    fn keep_alive(&self, lease: LeaseId) -> Result<Alive, Error> {
        self.engine.keep_alive(lease)
    }
    fn revoke(&self, lease: LeaseId, within: Duration) -> Result<(), Error> {
        self.engine.revoke(lease, within)
    }
    fn list(&self, prefix: &str, from: Option<&Cursor>) -> Result<Page, Error> {
        self.listings.fetch_add(1, Ordering::SeqCst);
        self.engine.list(prefix, from)
    }
    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.engine.get(key)
    }
    fn commit(&self, transaction: &Transaction) -> Result<Committed, Error> {
        let is_leased = |write: &Write| matches!(write, Write::Put { lease: Some(_), .. });
        match transaction.then.iter().any(is_leased) {
            true => Err(Error::LeaseGone),
            false => self.engine.commit(transaction),
        }
    }
    fn watch(&self, after: Revision) -> Result<Box<dyn Watch>, Error> {
        self.engine.watch(after)
    }
}

#[test]
fn an_engine_that_fails_after_each_listing_is_not_listed_without_a_pause() {
    let lab = Lab::new();
    let mut a = lab.node("a", &["a.test"]);
    let engine = Arc::new(Broken { engine: a.handle.clone(), listings: AtomicUsize::new(0) });
    let node = Arc::new(Node::new(Setup { engine: engine.clone(), ..a.node.setup.clone() }));
    a.replicator = Replicator::new(node, Box::new(Inline::new(engine.clone())));
    lab.pass(SECOND * 20, &mut [&mut a]);
    let listings = engine.listings.load(Ordering::SeqCst);
    assert!((2..=15).contains(&listings), "{listings} listings in twenty seconds");
}
