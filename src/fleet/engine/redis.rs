// SPDX-License-Identifier: Apache-2.0
//! The engine on Redis 6.2 and later, and on Valkey. All that it writes is written by scripts, each one step:
//! `scripts/begin.lua` describes the seven keys that a fleet has on the server. A counter gives the revision,
//! a stream is the log that watches follow. Knows one server at a time: no Cluster, no Sentinel.

mod client;
mod line;
mod refusal;
pub mod resp;
pub mod script;
mod watch;

use super::bounds::{check_key, check_prefix};
use super::{
    Alive, Committed, Condition, Cursor, Engine, Entry, Error, LeaseId, PAGE, Page, Revision, Transaction,
    Watch, Write,
};
use crate::fleet::access::Access;
use crate::http::connection::Dialer;
use crate::sync;
use crate::time::StopFlag;
use client::{Client, History, LIMIT};
use script::{Answer, COMMIT, Code, GET, GRANT, KEEP_ALIVE, Keys, LIST, Mark, REVOKE};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes of values after which a page ends.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

pub struct Redis {
    client: Arc<Client>,
    /// For the last call of a process, which comes after the stop.
    farewell: Client,
    scheme: &'static str,
}

impl Redis {
    /// Does not connect.
    pub fn new(access: &Access) -> Result<Redis, Error> {
        let farewell = client(access, StopFlag::default())?;
        let client = Arc::new(client(access, access.stop.clone())?);
        let scheme = if access.is_tls { "rediss" } else { "redis" };
        Ok(Redis { client, farewell, scheme })
    }
}

fn client(access: &Access, stop: StopFlag) -> Result<Client, Error> {
    let client_pem = access.client_pem.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice()));
    let dialer = match access.is_tls {
        true => Dialer::tls(access.ca_pem.as_deref(), client_pem, stop)
            .map_err(|error| Error::Invalid(error.to_string()))?,
        false => Dialer::plain(stop),
    };
    if access.servers.is_empty() {
        return Err(Error::Invalid("the engine has no server".into()));
    }
    Ok(Client {
        dialer,
        servers: access.servers.clone(),
        user: access.user.clone(),
        keys: Keys::new(&access.prefix),
        current: AtomicUsize::new(0),
        idle: Default::default(),
        history: Default::default(),
    })
}

impl Engine for Redis {
    fn name(&self) -> String {
        format!("{}://{}", self.scheme, self.client.name())
    }

    fn grant(&self, lease: LeaseId, ttl: Duration) -> Result<Alive, Error> {
        let (lease, ttl) = (lease.0.to_string(), ttl.as_millis().to_string());
        Ok(self.client.run(&GRANT, &[lease.as_bytes(), ttl.as_bytes()])?.alive())
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<Alive, Error> {
        Ok(self.client.run(&KEEP_ALIVE, &[lease.0.to_string().as_bytes()])?.alive())
    }

    fn revoke(&self, lease: LeaseId, within: Duration) -> Result<(), Error> {
        // It begins at the server in use.
        self.farewell.current.store(self.client.current.load(Ordering::Relaxed), Ordering::Relaxed);
        self.farewell.run_from(None, &REVOKE, &[lease.0.to_string().as_bytes()], within.min(LIMIT))?;
        Ok(())
    }

    fn list(&self, prefix: &str, from: Option<&Cursor>) -> Result<Page, Error> {
        check_prefix(prefix)?;
        let (most, room) = (PAGE.to_string(), PAGE_BYTES.to_string());
        let words = |after| [prefix.as_bytes(), after, most.as_bytes(), room.as_bytes()];
        match from {
            None => {
                let answer = self.client.run(&LIST, &words(b""))?;
                sync::lock(&self.client.history).has_gap = false;
                let mark = answer.mark;
                page(answer, mark)
            }
            Some(cursor) => {
                let (mark, after) = cursor_of(cursor)?;
                page(self.client.run_from(Some(mark), &LIST, &words(after.as_bytes()), LIMIT)?, mark)
            }
        }
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        check_key(key)?;
        let answer = self.client.run_from(None, &GET, &[key.as_bytes()], LIMIT)?;
        match answer.rest.is_empty() {
            true => Ok(None),
            false => script::entry(key.into(), answer.rest.into_iter()).map(Some),
        }
    }

    fn commit(&self, transaction: &Transaction) -> Result<Committed, Error> {
        transaction.check()?;
        if sync::lock(&self.client.history).is_void(transaction) {
            return Err(Error::Gap(
                "revisions from before it prove nothing until all is listed again".into(),
            ));
        }
        let words = words(transaction);
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        let answer = self.client.run(&COMMIT, &words)?;
        Ok(match answer.code {
            Code::Refused => Committed::Refused,
            _ => Committed::Done(Revision(answer.mark.revision)),
        })
    }

    fn watch(&self, after: Revision) -> Result<Box<dyn Watch>, Error> {
        Ok(Box::new(watch::Following::begin(self.client.clone(), after)?))
    }
}

impl History {
    /// Whether the transaction depends on revisions that were read before a gap.
    fn is_void(&self, transaction: &Transaction) -> bool {
        self.has_gap && !transaction.when.iter().all(|condition| matches!(condition, Condition::Absent(_)))
    }
}

/// The mark that the listing began at, and the last key of the page before.
fn cursor_of(cursor: &Cursor) -> Result<(Mark, &str), Error> {
    let foreign = || Error::Invalid("the cursor is not of this engine".into());
    let (nonce, after) = cursor.token.split_once(' ').ok_or_else(foreign)?;
    let nonce = nonce.parse().map_err(|_| foreign())?;
    Ok((Mark { revision: cursor.revision.0, nonce }, after))
}

fn page(answer: Answer, mark: Mark) -> Result<Page, Error> {
    let mut rest = answer.rest.into_iter();
    let (after, revision) = (script::text(rest.next())?, Revision(mark.revision));
    let Some(resp::Value::List(parts)) = rest.next() else { return Err(script::garbled("no page")) };
    let (mut parts, mut entries) = (parts.into_iter(), Vec::new());
    while let Some(key) = parts.next() {
        entries.push(script::entry(script::text(Some(key))?, &mut parts)?);
    }
    let next = (!after.is_empty()).then(|| Cursor { revision, token: format!("{} {after}", mark.nonce) });
    Ok(Page { entries, revision, next })
}

/// The arguments of the script.
fn words(transaction: &Transaction) -> Vec<std::borrow::Cow<'_, [u8]>> {
    use std::borrow::Cow::{Borrowed, Owned};
    let text = |text: String| Owned(text.into_bytes());
    let mut words = vec![text(transaction.when.len().to_string())];
    for condition in &transaction.when {
        let (kind, at) = match condition {
            Condition::Absent(_) => (&b"ABSENT"[..], Revision::default()),
            Condition::CreatedAt(_, at) => (&b"CREATED"[..], *at),
            Condition::ChangedAt(_, at) => (&b"CHANGED"[..], *at),
        };
        words.extend([Borrowed(kind), Borrowed(condition.key().as_bytes()), text(at.0.to_string())]);
    }
    for write in &transaction.then {
        let (operation, lease, value) = match write {
            Write::Put { value, lease, .. } => (&b"PUT"[..], *lease, value.as_slice()),
            Write::Delete { .. } => (&b"DELETE"[..], None, &b""[..]),
        };
        let lease = lease.map_or_else(|| "-".into(), |lease| lease.0.to_string());
        let key = Borrowed(write.key().as_bytes());
        words.extend([Borrowed(operation), key, text(lease), Borrowed(value)]);
    }
    words
}
