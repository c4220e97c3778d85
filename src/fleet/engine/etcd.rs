// SPDX-License-Identifier: Apache-2.0
//! The engine on etcd 3.4 and later, through the JSON gateway of its servers. Revisions, leases and transactions
//! are etcd's own. Refuses whatever is larger than it may be. Imports `http`, `config::fleet` and `access`.

pub mod events;
mod servers;
mod watch;
pub mod wire;

use super::bounds::{check_key, check_prefix};
use super::{
    Alive, Committed, Condition, Cursor, Engine, Entry, Error, LeaseId, PAGE, Page, Revision, Transaction,
    Watch, Write,
};
use crate::fleet::access::Access;
use data_encoding::BASE64;
use serde_json::{Value, json};
use servers::{Again, Answer, Failed, Servers};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use wire::{Keys, bytes, flag, garbled, list, number, revision};

/// Entries of the smallest page: as many of the largest as an answer may have.
const PAGE_MIN: usize = 4;
/// By how much a page shrinks whose answer is too large.
const SHRINK: usize = 8;

pub struct Etcd {
    servers: Arc<Servers>,
    keys: Keys,
    /// Entries of the next page.
    page: AtomicUsize,
}

impl Etcd {
    /// Does not connect yet. Fails where certificates or password cannot be used.
    pub fn new(access: &Access) -> Result<Self, Error> {
        let servers = Arc::new(Servers::new(access)?);
        Ok(Etcd { servers, keys: Keys::new(&access.prefix), page: AtomicUsize::new(PAGE) })
    }

    fn alive(&self, answer: &Answer) -> Result<Alive, Error> {
        let revision = revision(&answer.body)?;
        self.servers.saw(revision);
        Ok(Alive { revision, time: answer.time })
    }

    /// One page, smaller where the answer would be too large.
    fn range(&self, body: &Value, is_first: bool) -> Result<Value, Error> {
        if is_first {
            self.page.store(PAGE, Ordering::Relaxed);
        }
        loop {
            let limit = self.page.load(Ordering::Relaxed);
            let mut body = body.clone();
            body["limit"] = json!(limit.to_string());
            match self.servers.call("kv/range", &body, Again::Yes) {
                Ok(answer) => return Ok(answer.body),
                Err(Failed { is_large: true, .. }) if limit > PAGE_MIN => {
                    self.page.store((limit / SHRINK).max(PAGE_MIN), Ordering::Relaxed);
                }
                Err(failed) => return Err(failed.into()),
            }
        }
    }
}

/// An int64 above zero, which is what etcd numbers leases by.
fn id(lease: LeaseId) -> Result<String, Error> {
    match i64::try_from(lease.0) {
        Ok(id) if id > 0 => Ok(id.to_string()),
        _ => Err(Error::Invalid(format!("{} is no number for a lease of etcd", lease.0))),
    }
}

impl Engine for Etcd {
    fn name(&self) -> String {
        self.servers.name()
    }

    fn grant(&self, lease: LeaseId, ttl: Duration) -> Result<Alive, Error> {
        let seconds = ttl.as_millis().div_ceil(1000).max(1).to_string();
        let body = json!({ "ID": id(lease)?, "TTL": seconds });
        for _ in 0..2 {
            match self.servers.call("lease/grant", &body, Again::Yes) {
                Ok(answer) => return self.alive(&answer),
                Err(failed) if failed.is_lease_in_force => match self.keep_alive(lease) {
                    // It has ended in between.
                    Err(Error::LeaseGone) => {}
                    kept => return kept,
                },
                Err(failed) => return Err(failed.into()),
            }
        }
        Err(Error::LeaseGone)
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<Alive, Error> {
        let body = json!({ "ID": id(lease)? });
        let answer = self.servers.call("lease/keepalive", &body, Again::Yes)?;
        let alive = self.alive(&answer)?;
        if number(&answer.body, "ID")? != lease.0 {
            return Err(garbled("it is about another lease"));
        }
        if number(&answer.body, "TTL")? == 0 { Err(Error::LeaseGone) } else { Ok(alive) }
    }

    fn revoke(&self, lease: LeaseId, within: Duration) -> Result<(), Error> {
        match self.servers.call_within(within, "lease/revoke", &json!({ "ID": id(lease)? })) {
            Ok(_) | Err(Failed { error: Error::LeaseGone, .. }) => Ok(()),
            Err(failed) => Err(failed.into()),
        }
    }

    fn list(&self, prefix: &str, from: Option<&Cursor>) -> Result<Page, Error> {
        check_prefix(prefix)?;
        let begin = from.map_or_else(|| self.keys.encode(prefix), |cursor| cursor.token.clone());
        let mut body = json!({ "key": begin, "range_end": self.keys.end(prefix) });
        if let Some(cursor) = from {
            body["revision"] = json!(cursor.revision.0.to_string());
        }
        let answer = self.range(&body, from.is_none())?;
        let told = revision(&answer)?;
        self.servers.saw(told);
        let revision = from.map_or(told, |cursor| cursor.revision);
        let kvs = list(&answer, "kvs")?;
        let entries =
            kvs.iter().filter_map(|kv| self.keys.entry(kv).transpose()).collect::<Result<_, _>>()?;
        let last = in_order(kvs, &begin)?;
        let next = match (flag(&answer, "more")?, last) {
            (false, _) => None,
            (true, None) => return Err(garbled("an empty page is not the last")),
            (true, Some(last)) => {
                Some(Cursor { revision, token: BASE64.encode(&[&last[..], b"\0"].concat()) })
            }
        };
        Ok(Page { entries, revision, next })
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        check_key(key)?;
        let body = json!({ "key": self.keys.encode(key) });
        let answer = self.servers.call("kv/range", &body, Again::Yes)?.body;
        self.servers.saw(revision(&answer)?);
        match list(&answer, "kvs")? {
            [] => Ok(None),
            [kv] => match self.keys.entry(kv)? {
                Some(entry) if entry.key == key => Ok(Some(entry)),
                _ => Err(garbled("it is about another key")),
            },
            _ => Err(garbled("there is more than one entry of a key")),
        }
    }

    fn commit(&self, transaction: &Transaction) -> Result<Committed, Error> {
        transaction.check()?;
        for write in &transaction.then {
            if let Write::Put { lease: Some(lease), .. } = write {
                id(*lease)?;
            }
        }
        let never = |condition: &Condition| {
            matches!(condition, Condition::CreatedAt(_, Revision(0)) | Condition::ChangedAt(_, Revision(0)))
        };
        if transaction.when.iter().any(never) {
            return Ok(Committed::Refused);
        }
        let body = self.keys.transaction(transaction);
        let answer = self.servers.call("kv/txn", &body, Again::No)?.body;
        let revision = revision(&answer)?;
        self.servers.saw(revision);
        Ok(if flag(&answer, "succeeded")? { Committed::Done(revision) } else { Committed::Refused })
    }

    fn watch(&self, after: Revision) -> Result<Box<dyn Watch>, Error> {
        Ok(Box::new(watch::Following::open(&self.servers, &self.keys, after)?))
    }
}

/// The last key of a page that begins at `begin`. A server that goes back or in circles would never end.
fn in_order(kvs: &[Value], begin: &str) -> Result<Option<Vec<u8>>, Error> {
    let begin = BASE64.decode(begin.as_bytes()).map_err(|_| Error::Invalid("no cursor of etcd".into()))?;
    let mut last: Option<Vec<u8>> = None;
    for kv in kvs {
        let key = bytes(kv, "key")?;
        if key < begin || last.as_ref().is_some_and(|last| key <= *last) {
            return Err(garbled("the keys of a listing are not in order"));
        }
        last = Some(key);
    }
    Ok(last)
}
