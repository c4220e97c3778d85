// SPDX-License-Identifier: Apache-2.0
//! What the server of the memory engine holds: versions of keys, the order of writes, and leases. Keys are
//! whole ones, with the prefix of the node that wrote them.

use mod_md::fleet::engine::{
    Change, Committed, Condition, Entry, Error, LeaseId, Revision, Transaction, Write,
};
use mod_md::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

struct Version {
    changed: u64,
    /// None: gone since then.
    held: Option<Held>,
}

#[derive(Clone)]
struct Held {
    value: Arc<[u8]>,
    created: u64,
    lease: Option<LeaseId>,
}

struct Lease {
    ttl: Duration,
    until: Timestamp,
    keys: BTreeSet<String>,
}

/// A revision's keys, in the order of its writes. Untold: of a lease whose end is no event.
struct Written {
    revision: u64,
    keys: Vec<String>,
    is_told: bool,
}

#[derive(Default)]
pub struct History {
    pub revision: u64,
    /// Up to here nothing is known but what is in force.
    pub compacted: u64,
    keys: BTreeMap<String, Vec<Version>>,
    log: Vec<Written>,
    leases: BTreeMap<u64, Lease>,
}

impl History {
    /// Ends the leases whose time is over. `is_told`: those who watch learn of it.
    pub fn expire(&mut self, now: Timestamp, is_told: bool) {
        let over = self.leases.iter().filter(|(_, lease)| lease.until <= now);
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end_lease(LeaseId(id), is_told);
        }
    }

    pub fn end_lease(&mut self, id: LeaseId, is_told: bool) {
        let Some(lease) = self.leases.remove(&id.0) else { return };
        if lease.keys.is_empty() {
            return;
        }
        self.revision += 1;
        for key in &lease.keys {
            self.write(key, None);
        }
        self.log.push(Written { revision: self.revision, keys: lease.keys.into_iter().collect(), is_told });
    }

    pub fn grant(&mut self, id: LeaseId, ttl: Duration, now: Timestamp) {
        let lease =
            self.leases.entry(id.0).or_insert_with(|| Lease { ttl, until: now, keys: BTreeSet::new() });
        lease.ttl = ttl;
        lease.until = now.plus(ttl);
    }

    pub fn keep(&mut self, id: LeaseId, now: Timestamp) -> Result<(), Error> {
        let lease = self.leases.get_mut(&id.0).ok_or(Error::LeaseGone)?;
        lease.until = now.plus(lease.ttl);
        Ok(())
    }

    pub fn commit(&mut self, prefix: &str, transaction: &Transaction) -> Result<Committed, Error> {
        if !transaction.when.iter().all(|condition| self.holds(prefix, condition)) {
            return Ok(Committed::Refused);
        }
        let leases = transaction.then.iter().filter_map(|write| match write {
            Write::Put { lease, .. } => *lease,
            Write::Delete { .. } => None,
        });
        for lease in leases {
            self.leases.get(&lease.0).ok_or(Error::LeaseGone)?;
        }
        let is_change = |write: &&Write| match write {
            Write::Put { .. } => true,
            Write::Delete { key } => self.latest(&format!("{prefix}{key}")).is_some(),
        };
        let writes: Vec<&Write> = transaction.then.iter().filter(is_change).collect();
        if !writes.is_empty() {
            self.revision += 1;
            let keys = writes.into_iter().map(|write| self.carry_out(prefix, write)).collect();
            self.log.push(Written { revision: self.revision, keys, is_told: true });
        }
        Ok(Committed::Done(Revision(self.revision)))
    }

    fn holds(&self, prefix: &str, condition: &Condition) -> bool {
        let version = self.latest(&format!("{prefix}{}", condition.key()));
        match condition {
            Condition::Absent(_) => version.is_none(),
            Condition::CreatedAt(_, at) => version.is_some_and(|(_, held)| held.created == at.0),
            Condition::ChangedAt(_, at) => version.is_some_and(|(changed, _)| changed == at.0),
        }
    }

    /// Returns the whole key.
    fn carry_out(&mut self, prefix: &str, write: &Write) -> String {
        let key = format!("{prefix}{}", write.key());
        let before = self.latest(&key).map(|(_, held)| (held.created, held.lease));
        if let Some((_, Some(lease))) = before
            && let Some(lease) = self.leases.get_mut(&lease.0)
        {
            lease.keys.remove(&key);
        }
        match write {
            Write::Delete { .. } => self.write(&key, None),
            Write::Put { value, lease, .. } => {
                if let Some(lease) = lease.and_then(|lease| self.leases.get_mut(&lease.0)) {
                    lease.keys.insert(key.clone());
                }
                let created = before.map_or(self.revision, |(created, _)| created);
                self.write(&key, Some(Held { value: value.as_slice().into(), created, lease: *lease }));
            }
        }
        key
    }

    fn write(&mut self, key: &str, held: Option<Held>) {
        let version = Version { changed: self.revision, held };
        self.keys.entry(key.into()).or_default().push(version);
    }

    fn latest(&self, key: &str) -> Option<(u64, &Held)> {
        let version = self.keys.get(key)?.last()?;
        Some((version.changed, version.held.as_ref()?))
    }

    pub fn get(&self, prefix: &str, key: &str) -> Option<Entry> {
        let (changed, held) = self.latest(&format!("{prefix}{key}"))?;
        Some(entry(key, changed, held))
    }

    /// Up to `most` entries as of `at` whose whole key begins with `begin` and comes after `after`.
    pub fn list(&self, prefix: &str, begin: &str, after: &str, at: u64, most: usize) -> Vec<Entry> {
        let begin = format!("{prefix}{begin}");
        let start = format!("{prefix}{after}").max(begin.clone());
        let versions = self.keys.range(start.clone()..).take_while(|(key, _)| key.starts_with(&begin));
        let is_next = |key: &str| after.is_empty() || key > start.as_str();
        versions
            .filter(|(key, _)| is_next(key))
            .filter_map(|(key, versions)| {
                let version = versions.iter().rev().find(|version| version.changed <= at)?;
                let held = version.held.as_ref()?;
                let is_over = held.lease.is_some_and(|lease| !self.leases.contains_key(&lease.0));
                (!is_over).then(|| entry(&key[prefix.len()..], version.changed, held))
            })
            .take(most)
            .collect()
    }

    /// The changes after `after`.
    pub fn changes(&self, prefix: &str, after: u64) -> Vec<Change> {
        let begin = self.log.partition_point(|written| written.revision <= after);
        let told = self.log[begin..].iter().filter(|written| written.is_told);
        let keys = told.flat_map(|written| written.keys.iter().map(|key| (written.revision, key)));
        keys.filter_map(|(at, whole)| {
            let key = whole.strip_prefix(prefix)?;
            let versions = self.keys.get(whole)?;
            let version = &versions[versions.binary_search_by_key(&at, |version| version.changed).ok()?];
            Some(match &version.held {
                Some(held) => Change::Put(entry(key, at, held)),
                None => Change::Gone { key: key.into(), at: Revision(at) },
            })
        })
        .collect()
    }

    /// Forgets all before what is in force.
    pub fn compact(&mut self) {
        self.compacted = self.revision;
        self.log.clear();
        for versions in self.keys.values_mut() {
            versions.drain(..versions.len() - 1);
        }
        self.keys.retain(|_, versions| versions.iter().any(|version| version.held.is_some()));
    }

    /// Loses all that was written after `to`, as a failover may: what was deleted is there again. Keys whose
    /// lease has ended since are not.
    pub fn go_back(&mut self, to: u64) {
        assert!(self.compacted <= to && to <= self.revision, "{to} is not in the history");
        self.revision = to;
        self.log.retain(|written| written.revision <= to);
        for versions in self.keys.values_mut() {
            versions.retain(|version| version.changed <= to);
        }
        self.keys.retain(|_, versions| !versions.is_empty());
        self.leases.values_mut().for_each(|lease| lease.keys.clear());
        let mut orphans = Vec::new();
        for (key, versions) in &self.keys {
            let Some(id) = versions.last().and_then(|version| version.held.as_ref()?.lease) else { continue };
            match self.leases.get_mut(&id.0) {
                Some(lease) => drop(lease.keys.insert(key.clone())),
                None => orphans.push(key.clone()),
            }
        }
        if !orphans.is_empty() {
            self.revision += 1;
            orphans.iter().for_each(|key| self.write(key, None));
            self.log.push(Written { revision: self.revision, keys: orphans, is_told: true });
        }
    }
}

fn entry(key: &str, changed: u64, held: &Held) -> Entry {
    Entry {
        key: key.into(),
        value: held.value.to_vec(),
        created: Revision(held.created),
        changed: Revision(changed),
        lease: held.lease,
    }
}
