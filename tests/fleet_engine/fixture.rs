// SPDX-License-Identifier: Apache-2.0
//! What a test of the suite needs of an engine, and its means to write, read and follow.

use mod_md::fleet::engine::{
    Change, Committed, Condition, Engine, Entry, Error, LeaseId, Page, Revision, Transaction, Watch, Write,
};
use mod_md::time::{self, StopFlag, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub type Node = Arc<dyn Engine>;

/// An engine with an empty prefix.
pub trait Fixture: Sync {
    /// None: its server is not on this machine. `test` is the test's name. `is_alone`: the test forgets, wipes or
    /// ends the server; no other may use it.
    fn new(test: &str, is_alone: bool) -> Option<Self>
    where
        Self: Sized;

    /// The engine as another node has it: with connections of its own, until `stop` is raised.
    fn node_until(&self, stop: &StopFlag) -> Node;

    /// A node of another fleet on the same server, whose prefix begins like this one's and is longer, as `md2` is
    /// beside `md`.
    fn stranger(&self) -> Node;

    /// The shortest lease that this engine keeps, long enough for a few calls.
    fn ttl(&self) -> Duration;

    /// Since some begin, by the clock that leases end by.
    fn now(&self) -> Duration;

    /// The time that the server should tell.
    fn wall(&self) -> Timestamp {
        time::now()
    }

    /// Lets time pass on that clock.
    fn pass(&self, time: Duration);

    /// The server forgets the history up to now: only what is in force is left. Alone.
    fn compact(&self);

    /// The server loses everything. Alone.
    fn wipe(&self);

    fn node(&self) -> Node {
        self.node_until(&StopFlag::default())
    }
}

/// Waits until `look` sees something.
pub fn eventually<T>(fixture: &dyn Fixture, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "in a minute not seen: {what}");
        fixture.pass(Duration::from_millis(50));
    }
}

/// A lease nobody else has. Engines take 63 bits.
pub fn some_lease() -> LeaseId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    let begin = time::now().unix_millis() as u64;
    LeaseId((begin << 20 | u64::from(std::process::id()) << 8 & 0xf_ff00 | count & 0xff) & (u64::MAX >> 1))
}

pub fn put(key: &str, value: impl AsRef<[u8]>) -> Write {
    Write::Put { key: key.into(), value: value.as_ref().to_vec(), lease: None }
}

pub fn put_under(lease: LeaseId, key: &str, value: impl AsRef<[u8]>) -> Write {
    Write::Put { key: key.into(), value: value.as_ref().to_vec(), lease: Some(lease) }
}

pub fn delete(key: &str) -> Write {
    Write::Delete { key: key.into() }
}

pub fn absent(key: &str) -> Condition {
    Condition::Absent(key.into())
}

pub fn created_at(key: &str, at: Revision) -> Condition {
    Condition::CreatedAt(key.into(), at)
}

pub fn changed_at(key: &str, at: Revision) -> Condition {
    Condition::ChangedAt(key.into(), at)
}

pub fn commit(node: &Node, when: &[Condition], then: &[Write]) -> Result<Committed, Error> {
    node.commit(&Transaction { when: when.to_vec(), then: then.to_vec() })
}

/// A transaction that has to be carried out.
pub fn done(node: &Node, when: &[Condition], then: &[Write]) -> Revision {
    match commit(node, when, then) {
        Ok(Committed::Done(at)) => at,
        other => panic!("{other:?}: {when:?}"),
    }
}

/// A transaction whose conditions do not hold.
pub fn refused(node: &Node, when: &[Condition], then: &[Write]) {
    assert_eq!(commit(node, when, then), Ok(Committed::Refused), "{when:?}");
}

pub fn value(node: &Node, key: &str) -> Option<Vec<u8>> {
    Some(node.get(key).unwrap()?.value)
}

/// All pages of a listing, whose order and revision it checks; `between` is called before each page but the first.
pub fn list_while(node: &Node, prefix: &str, mut between: impl FnMut()) -> (Vec<Entry>, Revision) {
    let Page { mut entries, revision, mut next } = node.list(prefix, None).unwrap();
    while let Some(cursor) = next {
        between();
        let page = node.list(prefix, Some(&cursor)).unwrap();
        assert_eq!(page.revision, revision, "one for all pages");
        entries.extend(page.entries);
        next = page.next;
    }
    let keys: Vec<&String> = entries.iter().map(|entry| &entry.key).collect();
    assert!(keys.is_sorted_by(|a, b| a < b), "not in order, or twice: {keys:?}");
    assert!(keys.iter().all(|key| key.starts_with(prefix)), "{prefix}: {keys:?}");
    (entries, revision)
}

pub fn list(node: &Node, prefix: &str) -> (Vec<Entry>, Revision) {
    list_while(node, prefix, || ())
}

pub fn keys(node: &Node, prefix: &str) -> Vec<String> {
    list(node, prefix).0.into_iter().map(|entry| entry.key).collect()
}

/// What a node knows of the engine: listed once, then followed.
pub struct Mirror {
    watch: Box<dyn Watch>,
    pub entries: BTreeMap<String, Entry>,
    pub at: Revision,
    /// After the listing, in their order.
    pub changes: Vec<Change>,
}

impl Mirror {
    pub fn new(node: &Node) -> Mirror {
        let (entries, at) = list(node, "");
        let mut mirror = Mirror::from(node, at);
        mirror.entries = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        mirror
    }

    /// Knows nothing, and follows from here.
    pub fn from(node: &Node, at: Revision) -> Mirror {
        Mirror { watch: node.watch(at).unwrap(), entries: BTreeMap::new(), at, changes: Vec::new() }
    }

    /// One look. What a watch tells again is left out.
    pub fn look(&mut self) {
        self.try_look().unwrap();
    }

    pub fn try_look(&mut self) -> Result<(), Error> {
        let (changes, revision) = self.watch.next()?;
        assert!(revision >= self.at, "a watch goes forward: {revision:?} after {:?}", self.at);
        for change in changes {
            let at = changed(&change);
            assert!(at <= revision, "{at:?} is told and not yet complete at {revision:?}");
            if at > self.at {
                self.apply(&change);
                self.changes.push(change);
            }
        }
        self.at = revision;
        Ok(())
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(entry) => drop(self.entries.insert(entry.key.clone(), entry.clone())),
            Change::Gone { key, .. } => drop(self.entries.remove(key)),
        }
    }

    /// Looks until the watch has got that far.
    pub fn follow(&mut self, fixture: &dyn Fixture, to: Revision) {
        eventually(fixture, &format!("{to:?} in the watch"), || {
            self.look();
            (self.at >= to).then_some(())
        });
    }

    pub fn assert_same(&self, node: &Node) {
        let (entries, _) = list(node, "");
        let known: Vec<Entry> = self.entries.values().cloned().collect();
        assert!(known == entries, "{:#?}\n{:#?}", shown(&known), shown(&entries));
    }
}

fn shown(entries: &[Entry]) -> Vec<(&str, usize, u64, u64)> {
    entries.iter().map(|e| (e.key.as_str(), e.value.len(), e.created.0, e.changed.0)).collect()
}

pub fn changed(change: &Change) -> Revision {
    match change {
        Change::Put(entry) => entry.changed,
        Change::Gone { at, .. } => *at,
    }
}
