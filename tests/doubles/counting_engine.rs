// SPDX-License-Identifier: Apache-2.0
//! Counts what a node asks of an engine: requests, and bytes of keys and values, by call and by the kind of the
//! first key.

use mod_md::fleet::engine::{
    Alive, Change, Committed, Cursor, Engine, Entry, Error, LeaseId, Page, Revision, Transaction, Watch,
    Write,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub requests: u64,
    pub sent: u64,
    pub received: u64,
}

/// By call and kind: `("commit", "set")`. Of a watch, a request is an answer with news.
pub type Counts = BTreeMap<(&'static str, String), Count>;

type Written = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone)]
pub struct Counting {
    engine: Arc<dyn Engine>,
    counts: Arc<Mutex<Counts>>,
    written: Written,
}

impl Counting {
    /// Calls `written` after each call that may have changed something.
    pub fn new(engine: Arc<dyn Engine>, written: Written) -> Counting {
        Counting { engine, counts: Arc::default(), written }
    }

    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.counts.lock().unwrap())
    }

    fn count(&self, call: &'static str, key: &str, sent: usize, received: usize) {
        count(&self.counts, call, key, 1, sent, received);
    }
}

fn count(counts: &Mutex<Counts>, call: &'static str, key: &str, requests: u64, sent: usize, received: usize) {
    let mut counts = counts.lock().unwrap();
    let count = counts.entry((call, kind(key))).or_default();
    count.requests += requests;
    count.sent += sent as u64;
    count.received += received as u64;
}

/// `set` of `v1/set/NAME`, `applied` of `v1/node/ID/applied`.
fn kind(key: &str) -> String {
    let mut parts = key.split('/').skip(1);
    let kind = parts.next().unwrap_or_default();
    if kind == "node" && parts.nth(1).is_some() { "applied".into() } else { kind.into() }
}

fn size(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len()
}

impl Engine for Counting {
    fn name(&self) -> String {
        self.engine.name()
    }

    fn tells_ends(&self) -> bool {
        self.engine.tells_ends()
    }

    fn grant(&self, lease: LeaseId, ttl: Duration) -> Result<Alive, Error> {
        self.count("grant", "", 8, 8);
        self.engine.grant(lease, ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<Alive, Error> {
        self.count("keep alive", "", 8, 8);
        self.engine.keep_alive(lease)
    }

    fn revoke(&self, lease: LeaseId, within: Duration) -> Result<(), Error> {
        self.count("revoke", "", 8, 8);
        let answer = self.engine.revoke(lease, within);
        (self.written)();
        answer
    }

    fn list(&self, prefix: &str, from: Option<&Cursor>) -> Result<Page, Error> {
        let answer = self.engine.list(prefix, from);
        let received = answer.iter().flat_map(|page| &page.entries).map(size).sum();
        self.count("list", prefix, prefix.len(), received);
        answer
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let answer = self.engine.get(key);
        let received = answer.iter().flatten().map(size).sum();
        self.count("get", key, key.len(), received);
        answer
    }

    fn commit(&self, transaction: &Transaction) -> Result<Committed, Error> {
        let sent: usize = transaction.when.iter().map(|condition| condition.key().len() + 8).sum();
        let written = transaction.then.iter().map(|write| match write {
            Write::Put { key, value, .. } => key.len() + value.len(),
            Write::Delete { key } => key.len(),
        });
        let first = transaction.then.first().map_or("", Write::key);
        self.count("commit", first, sent + written.sum::<usize>(), 8);
        let answer = self.engine.commit(transaction);
        if matches!(answer, Ok(Committed::Done(_)) | Err(Error::Timeout)) {
            (self.written)();
        }
        answer
    }

    fn watch(&self, after: Revision) -> Result<Box<dyn Watch>, Error> {
        self.count("watch", "", 8, 8);
        Ok(Box::new(Followed { watch: self.engine.watch(after)?, counts: self.counts.clone() }))
    }
}

struct Followed {
    watch: Box<dyn Watch>,
    counts: Arc<Mutex<Counts>>,
}

impl Watch for Followed {
    fn next(&mut self) -> Result<(Vec<Change>, Revision), Error> {
        let answer = self.watch.next()?;
        for (i, change) in answer.0.iter().enumerate() {
            let received = match change {
                Change::Put(entry) => size(entry),
                Change::Gone { key, .. } => key.len(),
            };
            count(&self.counts, "news", change.key(), u64::from(i == 0), 0, received);
        }
        Ok(answer)
    }
}
