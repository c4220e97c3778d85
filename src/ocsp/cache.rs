// SPDX-License-Identifier: Apache-2.0
//! The responses in memory that handshakes are stapled with: one table of all stapled certificates, replaced
//! as a whole. A handshake loads a pointer, looks its certificate up and copies; it takes no lock and reads
//! no file.

use super::response::{Response, Status};
use super::subject::{Id, Issuers, Subject};
use crate::sync::{ArcSwap, Mutex, MutexGuard, OnceLock};
use crate::time::Timestamp;
use std::array;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

/// One certificate that is stapled.
#[derive(Clone)]
pub struct Entry {
    pub subject: Arc<Subject>,
    /// The last one that was taken, expired or not.
    pub response: Option<Arc<Response>>,
}

impl Entry {
    /// Whether it is this very one, not one that is equal.
    pub fn is(&self, other: &Self) -> bool {
        let response = |entry: &Entry| entry.response.as_ref().map(Arc::as_ptr);
        Arc::ptr_eq(&self.subject, &other.subject) && response(self) == response(other)
    }
}

/// A new response replaces one of this many parts, so that a table of thousands is not copied for each.
const PARTS: usize = 64;

/// All at one moment.
#[derive(Clone)]
pub struct Table([Arc<HashMap<Id, Entry>>; PARTS]);

impl Default for Table {
    fn default() -> Self {
        Table(array::from_fn(|_| Arc::default()))
    }
}

/// Ids are hashes: each byte is as good as another.
fn part_of(id: &Id) -> usize {
    usize::from(id[0]) % PARTS
}

impl Table {
    pub fn get(&self, id: &Id) -> Option<&Entry> {
        self.0.get(part_of(id))?.get(id)
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().flat_map(|part| part.values())
    }

    fn put(&mut self, entry: Entry) {
        let id = entry.subject.id;
        let Some(part) = self.0.get_mut(part_of(&id)) else { return };
        // An entry that was made before there was a response may come last.
        let has_response = |known: &Entry| known.response.is_some();
        if entry.response.is_some() || !part.get(&id).is_some_and(has_response) {
            Arc::make_mut(part).insert(id, entry);
        }
    }

    fn remove(&mut self, is_over: &impl Fn(&Subject) -> bool) {
        let has_any =
            |part: &&mut Arc<HashMap<Id, Entry>>| part.values().any(|entry| is_over(&entry.subject));
        for part in self.0.iter_mut().filter(has_any) {
            Arc::make_mut(part).retain(|_, entry| !is_over(&entry.subject));
        }
    }
}

/// A table that no handshake has used yet stays plain in httpd's parent: one that can be replaced while
/// handshakes read it would leave a thread-local destructor behind there, which keeps the library loaded
/// (docs/unsafe.md).
#[derive(Default)]
pub struct Cache {
    /// Until the first handshake.
    first: Mutex<Arc<Table>>,
    table: OnceLock<ArcSwap<Table>>,
    /// Of the certificates in the table.
    pub issuers: Issuers,
}

impl Cache {
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let cache = Cache::default();
        cache.put(entries);
        cache
    }

    /// Hands the response to staple to `use_it`: none where there is none that is current. `None` as an
    /// answer says that the certificate is not stapled by us.
    pub fn staple<R>(&self, id: &[u8], now: Timestamp, use_it: impl FnOnce(Option<&[u8]>) -> R) -> Option<R> {
        let id: &Id = id.try_into().ok()?;
        let table = self.in_use().load();
        let entry = table.get(id)?;
        let current = entry.response.as_deref().filter(|response| response.is_current(now));
        Some(use_it(current.map(|response| response.der.as_slice())))
    }

    pub fn table(&self) -> Arc<Table> {
        self.table.get().map_or_else(|| self.first().clone(), ArcSwap::load_full)
    }

    pub fn find(&self, id: &Id) -> Option<Entry> {
        match self.table.get() {
            Some(table) => table.load().get(id).cloned(),
            None => self.first().get(id).cloned(),
        }
    }

    /// Adds these, and replaces entries for the same certificates.
    pub fn put(&self, entries: impl IntoIterator<Item = Entry>) {
        let entries: Vec<Entry> = entries.into_iter().collect();
        if entries.is_empty() {
            return;
        }
        self.change(|table| entries.iter().cloned().for_each(|entry| table.put(entry)));
    }

    /// Forgets the certificates of which `is_over` says so.
    pub fn remove(&self, is_over: impl Fn(&Subject) -> bool) {
        self.change(|table| table.remove(&is_over));
    }

    fn change(&self, change: impl Fn(&mut Table)) {
        let changed = |table: &Arc<Table>| {
            let mut table = Table::clone(table);
            change(&mut table);
            Arc::new(table)
        };
        let mut first = self.first();
        match self.table.get() {
            Some(table) => {
                drop(first);
                table.rcu(changed);
            }
            None => *first = changed(&first),
        }
    }

    /// The table that handshakes use, made by the first of them.
    fn in_use(&self) -> &ArcSwap<Table> {
        self.table.get().unwrap_or_else(|| {
            // Locked until the new table is in use: entries that arrive meanwhile are added to it.
            let mut first = self.first();
            self.table.get_or_init(|| ArcSwap::new(std::mem::take(&mut first)))
        })
    }

    fn first(&self) -> MutexGuard<'_, Arc<Table>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the certificate is known to be revoked.
pub fn is_revoked(cache: &Cache, id: &Id) -> bool {
    let response = cache.find(id).and_then(|entry| entry.response);
    response.is_some_and(|response| matches!(response.status, Status::Revoked(_)))
}

/// Whether clients get a current response for it that says it is good.
pub fn has_staple(cache: &Cache, id: &Id, now: Timestamp) -> bool {
    let response = cache.find(id).and_then(|entry| entry.response);
    response.is_some_and(|response| response.is_current(now) && response.status == Status::Good)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{HOUR, Responder, subject};
    use super::*;
    use crate::crypto::fixture::NOW;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_response_is_stapled_until_it_expires_and_not_a_moment_longer() {
        let subject = Arc::new(subject(&Responder::new(), "http://o.test"));
        let cache = Cache::new([Entry { subject: subject.clone(), response: None }]);
        let stapled = |at| cache.staple(&subject.id, at, |der| der.map(<[u8]>::to_vec));
        assert_eq!(stapled(NOW), Some(None), "ours, and nothing to staple");
        assert_eq!(cache.staple(&[1; 20], NOW, |_| ()), None, "not ours");
        assert_eq!(cache.staple(b"short", NOW, |_| ()), None);
        let response =
            Response { der: vec![7], status: Status::Good, from: NOW.minus(HOUR), until: NOW.plus(HOUR) };
        cache.put([Entry { subject: subject.clone(), response: Some(Arc::new(response)) }]);
        assert_eq!(stapled(NOW), Some(Some(vec![7])));
        assert_eq!(
            stapled(Timestamp::from_unix_millis(NOW.plus(HOUR).unix_millis() - 1)),
            Some(Some(vec![7]))
        );
        assert_eq!(stapled(NOW.plus(HOUR)), Some(None));
        assert_eq!(cache.find(&subject.id).unwrap().subject.fingerprint, subject.fingerprint);
    }

    #[test]
    fn a_table_is_what_it_was_whatever_comes_later() {
        let responder = Responder::new();
        let one = Arc::new(subject(&responder, "http://o.test"));
        let other = |n| Arc::new(Subject { id: [n; 20], ..subject(&responder, "http://o.test") });
        let cache = Cache::new((0..=255).map(|n| Entry { subject: other(n), response: None }));
        let before = cache.table();
        cache.put([
            Entry { subject: one.clone(), response: None },
            Entry { subject: other(7), response: None },
        ]);
        assert_eq!((before.entries().count(), cache.table().entries().count()), (256, 257));
        assert!((0..=255).all(|n| cache.find(&[n; 20]).is_some_and(|entry| entry.subject.id == [n; 20])));
        assert!(before.get(&one.id).is_none() && cache.find(&one.id).is_some());
        let replaced = |n| !cache.find(&[n; 20]).unwrap().is(before.get(&[n; 20]).unwrap());
        assert!(replaced(7) && !replaced(8));
    }

    #[test]
    fn what_is_added_while_the_first_handshake_begins_is_not_lost() {
        let responder = Responder::new();
        let entry = |n| {
            let subject = Subject { id: [n; 20], ..subject(&responder, "http://o.test") };
            Entry { subject: Arc::new(subject), response: None }
        };
        let entries = [0, 1, 2].map(entry);
        for _ in 0..200 {
            let cache = Cache::new([entries[0].clone()]);
            thread::scope(|scope| {
                scope.spawn(|| assert_eq!(cache.staple(&[0; 20], NOW, |_| ()), Some(())));
                scope.spawn(|| cache.put([entries[1].clone()]));
                scope.spawn(|| cache.put([entries[2].clone()]));
            });
            assert!((0..3).all(|n| cache.find(&[n; 20]).is_some()));
            assert_eq!(cache.table().entries().count(), 3);
        }
    }

    #[test]
    fn a_handshake_holds_up_neither_a_new_response_nor_another_handshake() {
        let subject = Arc::new(subject(&Responder::new(), "http://o.test"));
        let entry = |der| {
            let response =
                Response { der, status: Status::Good, from: NOW.minus(HOUR), until: NOW.plus(HOUR) };
            Entry { subject: subject.clone(), response: Some(Arc::new(response)) }
        };
        let cache = Arc::new(Cache::new([entry(vec![1])]));
        // While one handshake copies, another thread takes up a response, and the next handshake has it.
        let (seen, meanwhile) = cache
            .staple(&subject.id, NOW, |der| {
                let (sender, receiver) = mpsc::channel();
                let (cache, id, new) = (cache.clone(), subject.id, entry(vec![2]));
                thread::spawn(move || {
                    cache.put([new]);
                    sender.send(cache.staple(&id, NOW, |der| der.map(<[u8]>::to_vec)))
                });
                (der.map(<[u8]>::to_vec), receiver.recv_timeout(Duration::from_secs(20)))
            })
            .unwrap();
        assert_eq!(seen, Some(vec![1]));
        assert_eq!(meanwhile, Ok(Some(Some(vec![2]))), "nobody waits for anybody");
    }
}
