// SPDX-License-Identifier: Apache-2.0
//! An engine that tells without end takes no more memory than a node has for it.

use crate::lab::Lab;
use mod_md::fleet::engine::{
    Alive, Change, Committed, Cursor, Engine, Entry, Error, LeaseId, Page, Revision, Transaction, Watch,
};
use mod_md::fleet::node::{Node, Setup};
use mod_md::fleet::replicator::feed::{Feed, Threaded};
use mod_md::time::StopFlag;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// Counts what it was asked for.
#[derive(Clone, Default)]
struct Flood(Arc<AtomicU64>);

impl Flood {
    fn entry(&self) -> Entry {
        let revision = Revision(self.0.fetch_add(1, Ordering::SeqCst) + 1);
        Entry { key: "v1/x".into(), value: vec![0; MIB], created: revision, changed: revision, lease: None }
    }
}

impl Watch for Flood {
    fn next(&mut self) -> Result<(Vec<Change>, Revision), Error> {
        let entry = self.entry();
        let revision = entry.changed;
        Ok((vec![Change::Put(entry)], revision))
    }
}

impl Engine for Flood {
    fn name(&self) -> String {
        "flood".into()
    }

    fn grant(&self, _: LeaseId, _: Duration) -> Result<Alive, Error> {
        Err(Error::Timeout)
    }

    fn keep_alive(&self, _: LeaseId) -> Result<Alive, Error> {
        Err(Error::Timeout)
    }

    fn revoke(&self, _: LeaseId, _: Duration) -> Result<(), Error> {
        Ok(())
    }

    fn list(&self, _: &str, _: Option<&Cursor>) -> Result<Page, Error> {
        Err(Error::Timeout)
    }

    fn get(&self, _: &str) -> Result<Option<Entry>, Error> {
        Ok(None)
    }

    fn commit(&self, _: &Transaction) -> Result<Committed, Error> {
        Err(Error::Timeout)
    }

    fn watch(&self, _: Revision) -> Result<Box<dyn Watch>, Error> {
        Ok(Box::new(self.clone()))
    }
}

/// A node that knows the fleet's names, on this engine.
fn node(flood: &Flood) -> Arc<Node> {
    let lab = Lab::new();
    let mut joined = lab.node("a", &["a.test"]);
    lab.pass(Duration::from_secs(1), &mut [&mut joined]);
    let node = Node::new(Setup { engine: Arc::new(flood.clone()), ..joined.node.setup.clone() });
    node.state().codec = joined.node.state().codec.clone();
    Arc::new(node)
}

#[test]
fn a_watch_waits_while_what_it_told_was_not_taken() {
    let (flood, stop) = (Flood::default(), StopFlag::default());
    let mut feed = Threaded::new(node(&flood), stop.clone());
    feed.follow(Revision(0)).unwrap();
    let told = |least: u64| {
        while flood.0.load(Ordering::SeqCst) < least {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Time to tell more, if it does not wait.
        std::thread::sleep(Duration::from_millis(200));
        flood.0.load(Ordering::SeqCst)
    };
    assert!(told(8) <= 10, "{} MiB were told", told(0));
    assert!(!feed.take().unwrap().is_empty());
    assert!(told(16) <= 20, "{} MiB were told", told(0));
    stop.raise();
}
