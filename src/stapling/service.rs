// SPDX-License-Identifier: Apache-2.0
//! Stapling in every process of a configuration: the stapled certificates and their responses. Answers
//! handshakes from memory. The renewing child requests responses ([`super::runner`]), saves them in the store
//! and signals the others, which read them from there.
//!
//! Nothing here knows httpd: callers pass in the facts from mod_ssl and the counters.

use crate::live::signals::Signals;
use crate::managed::Managed;
use crate::managed::peers::{SharedResponses, Unused};
use crate::ocsp::cache::is_revoked;
use crate::ocsp::file::{self, Unusable};
use crate::ocsp::response;
use crate::ocsp::subject::{Id, Terms};
use crate::ocsp::{Cache, Entry, Flaw, Response, Status, Subject};
use crate::stapling::upcoming;
use crate::store::{Error, Rights, Store, WorkGroup, WorkStore};
use crate::time::{Clock, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The stapling data that a start collects.
pub struct Found {
    /// With the responses that the store has.
    pub cache: Arc<Cache>,
    /// By the name that mod_ssl has for a certificate.
    pub subjects: BTreeMap<Vec<u8>, Arc<Subject>>,
    /// By MD: how it is stapled, if it is.
    pub terms: Vec<Option<Terms>>,
    /// MDs whose certificates of the start mod_ssl staples.
    pub by_mod_ssl: HashSet<usize>,
    pub mds: Arc<[Managed]>,
    pub store: WorkStore,
    pub started: Timestamp,
}

impl Found {
    /// Whether anything is stapled.
    pub fn is_any(&self) -> bool {
        !self.subjects.is_empty() || self.terms.iter().any(Option::is_some)
    }

    /// How many topics the service has: first the certificates known at start, then the MDs.
    pub fn topics(&self) -> usize {
        self.subjects.len() + self.mds.len()
    }
}

/// One for each configuration. Children inherit it.
pub struct Service {
    pub cache: Arc<Cache>,
    /// The certificates known at start, by their topics, and the topics by certificate.
    primed: Vec<Arc<Subject>>,
    topics: HashMap<Id, usize>,
    /// Names of certificates that are not the SHA-1 of their DER: not mod_ssl's.
    aliases: HashMap<Vec<u8>, Id>,
    /// By MD: how it is stapled, if it is. Their topics follow those of `primed`.
    terms: Vec<Option<Terms>>,
    /// MDs whose certificates of the start mod_ssl staples.
    by_mod_ssl: HashSet<String>,
    pub(super) mds: Arc<[Managed]>,
    pub(super) store: WorkStore,
    pub started: Timestamp,
    signals: Signals,
    /// Some certificate of an MD has been found revoked since the renewal looked last.
    has_revoked: AtomicBool,
    clock: Arc<dyn Clock>,
}

impl Service {
    /// `signals` has a topic for each of [`Found::topics`].
    pub fn new(found: Found, signals: Signals, clock: Arc<dyn Clock>) -> Self {
        let Found { cache, subjects, terms, by_mod_ssl, mds, store, started } = found;
        let is_alias = |(id, subject): &(&Vec<u8>, &Arc<Subject>)| *id != &subject.id;
        Service {
            cache,
            aliases: subjects.iter().filter(is_alias).map(|(id, s)| (id.clone(), s.id)).collect(),
            topics: subjects.values().enumerate().map(|(topic, s)| (s.id, topic)).collect(),
            primed: subjects.into_values().collect(),
            terms,
            by_mod_ssl: by_mod_ssl.iter().filter_map(|md| Some(mds.get(*md)?.md.name.clone())).collect(),
            mds,
            store,
            started,
            signals,
            has_revoked: AtomicBool::new(true),
            clock,
        }
    }

    /// A handshake: see [`Cache::staple`].
    pub fn staple<R>(&self, id: &[u8], use_it: impl FnOnce(Option<&[u8]>) -> R) -> Option<R> {
        let id = self.aliases.get(id).map_or(id, |own| own.as_slice());
        let answered = self.cache.staple(id, self.clock.now(), |der| {
            // Where we have nothing, mod_ssl may have something.
            (der.is_some() || !self.is_by_mod_ssl(id)).then(|| use_it(der))
        });
        answered.flatten()
    }

    fn is_by_mod_ssl(&self, id: &[u8]) -> bool {
        let entry =
            id.try_into().ok().filter(|_| !self.by_mod_ssl.is_empty()).and_then(|id| self.cache.find(id));
        entry.is_some_and(|entry| self.by_mod_ssl.contains(&entry.subject.owner))
    }

    /// Takes up the responses that another process has saved since this one looked last.
    /// Returns whether some could not be read yet.
    pub fn take_up(&self) -> bool {
        if !self.signals.is_pending() {
            return false;
        }
        let now = self.clock.now();
        let mut entries = Vec::new();
        for topic in self.signals.take() {
            let Some(subjects) = self.subjects_of(topic) else { continue };
            for subject in subjects {
                match file::read(&self.store, WorkGroup::Ocsp, &subject, now) {
                    Ok(response) => entries.push(Entry { subject, response: response.map(Arc::new) }),
                    Err(Unusable::Store(Error::Io { .. })) => self.signals.put_back(topic),
                    Err(error) => log_unusable(&subject, &error),
                }
            }
        }
        self.cache.put(entries);
        self.forget_past(now);
        self.signals.is_pending()
    }

    /// Forgets certificates that have expired and that no host serves any more: a server may run for a year, and
    /// its certificates for days. Those of the start stay until the next.
    fn forget_past(&self, now: Timestamp) {
        let is_past = |subject: &Subject| subject.not_after < now && !self.topics.contains_key(&subject.id);
        if !self.cache.table().entries().any(|entry| is_past(&entry.subject)) {
            return;
        }
        let served = |managed: &Managed| {
            let certs = managed.served();
            certs.iter().filter_map(|(_, cert)| cert.as_ref().map(|cert| cert.id)).collect::<Vec<Id>>()
        };
        let served: HashSet<Id> = self.mds.iter().flat_map(served).collect();
        self.cache.remove(|subject| is_past(subject) && !served.contains(&subject.id));
    }

    fn subjects_of(&self, topic: usize) -> Option<Vec<Arc<Subject>>> {
        match self.primed.get(topic) {
            Some(subject) => Some(vec![subject.clone()]),
            None => self.upcoming(topic - self.primed.len()),
        }
    }

    /// Certificates of an MD that were not there at start.
    fn upcoming(&self, md: usize) -> Option<Vec<Arc<Subject>>> {
        let (terms, managed) = (self.terms.get(md)?.as_ref()?, self.mds.get(md)?);
        let subjects = upcoming::subjects(&self.store, &managed.md, terms);
        Some(subjects.into_iter().map(|subject| Arc::new(self.cache.issuers.share(subject))).collect())
    }

    /// Takes up the certificates of an MD that were not known before, with the responses that the store has.
    pub(super) fn add_upcoming(&self, md: usize, now: Timestamp) -> Vec<Entry> {
        let is_new = |subject: &Arc<Subject>| self.cache.find(&subject.id).is_none();
        let subjects = self.upcoming(md).unwrap_or_default().into_iter().filter(is_new);
        let add = |subject: Arc<Subject>| {
            let response = stored(&self.store, WorkGroup::Ocsp, &subject, now);
            let entry = Entry { subject, response };
            self.cache.put([entry.clone()]);
            match &entry.response {
                Some(response) => self.publish(&entry.subject, response),
                None => self.signal(&entry.subject),
            }
            entry
        };
        let added = subjects.map(add).collect();
        self.forget_past(now);
        added
    }

    /// Has all processes take up the new response for this certificate from the store.
    pub(super) fn publish(&self, subject: &Subject, response: &Response) {
        self.signal(subject);
        if matches!(response.status, Status::Revoked(_)) {
            self.has_revoked.store(true, Ordering::Relaxed);
        }
    }

    /// Has the pages of all processes show this certificate.
    fn signal(&self, subject: &Subject) {
        let md = || self.mds.iter().position(|managed| managed.md.name == subject.owner);
        let topic = self.topics.get(&subject.id).copied();
        if let Some(topic) = topic.or_else(|| md().map(|md| self.primed.len() + md)) {
            self.signals.raise(topic);
        }
    }

    /// Takes up what another node of a fleet has got.
    fn take_shared(&self, name: &str, file: &str, der: &[u8], now: Timestamp) -> Result<(), Unused> {
        let entry = file::id_of(file).and_then(|id| self.cache.find(&id));
        let Entry { subject, response: current } =
            entry.filter(|entry| entry.subject.owner == name).ok_or(Unused::OfNone)?;
        let refused = |flaw: Flaw| Unused::Refused(flaw.to_string());
        let new = response::verify(der, &subject, now).map_err(refused)?;
        if current.as_deref() == Some(&new) {
            return Ok(());
        }
        response::accept(&new, current.as_deref(), now).map_err(refused)?;
        file::write(&self.store, &subject, &new).map_err(|error| Unused::Refused(error.advised()))?;
        let response = Arc::new(new);
        self.cache.put([Entry { subject: subject.clone(), response: Some(response.clone()) }]);
        self.publish(&subject, &response);
        Ok(())
    }

    /// The MDs with a certificate in use that is known to be revoked, if anything is new about that.
    pub fn take_revoked(&self) -> Vec<usize> {
        if !self.has_revoked.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        let mds = self.mds.iter().enumerate();
        let is_revoked = |managed: &Managed| {
            let certs = managed.served();
            let mut known = certs.iter().filter_map(|(_, cert)| cert.as_ref());
            known.any(|cert| is_revoked(&self.cache, &cert.id))
        };
        mds.filter(|(md, managed)| self.is_stapled(*md) && is_revoked(managed)).map(|(md, _)| md).collect()
    }

    /// Whether certificates of this MD are stapled, or will be once they are live.
    pub(super) fn is_stapled(&self, md: usize) -> bool {
        self.terms.get(md).is_some_and(Option::is_some)
    }
}

impl SharedResponses for Service {
    fn take(&self, name: &str, file: &str, response: &[u8], now: Timestamp) -> Result<(), Unused> {
        self.take_shared(name, file, response, now)
    }
}

/// The response that the store has for this certificate, if it can be used.
pub fn stored<R: Rights>(
    store: &Store<R>,
    group: R::Group,
    subject: &Subject,
    now: Timestamp,
) -> Option<Arc<Response>> {
    match file::read(store, group, subject, now) {
        Ok(response) => response.map(Arc::new),
        Err(error) => {
            log_unusable(subject, &error);
            None
        }
    }
}

fn log_unusable(subject: &Subject, error: &Unusable) {
    crate::log!(
        Warn,
        "md[{}]: the stored OCSP response for the certificate with serial {} is not used, requesting a new one: {error}",
        subject.owner,
        subject.serial_hex
    );
}

#[cfg(test)]
mod tests;
