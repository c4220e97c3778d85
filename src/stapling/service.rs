// SPDX-License-Identifier: Apache-2.0
//! Stapling: which certificates are stapled is found out at start ([`primed`]); the child that renews asks
//! for responses; all children take them up from the store when they are told; handshakes are answered from
//! memory.

use super::child::renewing::user_agent;
use super::news::News;
use super::start::stapled;
use super::state::State;
use super::state::startup::Startup;
use crate::config::Plan;
use crate::crypto;
use crate::http::client::{Client, Limits, Options};
use crate::managed::Managed;
use crate::metrics::{OcspCounted, Tally};
use crate::model::Md;
use crate::ocsp::cache::is_revoked;
use crate::ocsp::file::{self, Unusable};
use crate::ocsp::response::SIZE_MAX;
use crate::ocsp::subject::{Id, Terms};
use crate::ocsp::{Cache, Entry, Response, Status, Subject};
use crate::stapling::driver::{Connect, Surroundings};
use crate::stapling::{Driver, Settings, upcoming};
use crate::store::{Error, Group, StartStore, WorkGroup, WorkStore};
use crate::sync::lock;
use crate::time::{self, Clock, StopFlag, SystemClock, Timestamp};
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A responder gets less time than a CA: nobody waits for it, and others are to have their turn.
const LIMITS: Limits =
    Limits { stall: Duration::from_secs(10), exchange: Duration::from_secs(10), body: SIZE_MAX };
/// How often to look for certificates that wait in staging.
const STAGED_EVERY: Duration = Duration::from_secs(1);

/// One for each configuration. Children inherit it.
pub struct Stapling {
    pub cache: Arc<Cache>,
    /// Those known at start, whose topics these are, and the other way round.
    primed: Vec<Arc<Subject>>,
    topics: HashMap<Id, usize>,
    /// Names of certificates that are not the SHA-1 of their DER: not mod_ssl's.
    aliases: HashMap<Vec<u8>, Id>,
    /// By MD: how it is stapled, if it is. Their topics follow those of `primed`.
    terms: Vec<Option<Terms>>,
    /// MDs whose certificates of the start mod_ssl staples.
    by_mod_ssl: HashSet<String>,
    mds: Arc<[Managed]>,
    store: WorkStore,
    started: Timestamp,
    news: News,
    /// Some certificate of an MD has been found revoked since the renewal looked last.
    has_revoked: AtomicBool,
}

impl Stapling {
    /// With the responses that the store has. `None` where nothing is stapled.
    pub fn new(startup: &Startup, plan: &Plan, mds: Arc<[Managed]>) -> io::Result<Option<Self>> {
        let subjects = std::mem::take(&mut *lock(&startup.stapling.subjects));
        let by_mod_ssl = std::mem::take(&mut *lock(&startup.stapling.by_mod_ssl));
        let terms_of = |md| match by_mod_ssl.contains(&md) {
            true => stapled::terms_where_stapled(plan, md),
            false => stapled::terms_of(plan, md),
        };
        let terms: Vec<_> = (0..mds.len()).map(terms_of).collect();
        let cache = startup.stapling.cache.clone();
        let entries = subjects.values().map(|subject| Entry {
            subject: subject.clone(),
            response: stored(&startup.store, subject, startup.now),
        });
        cache.put(entries);
        // Only now: what is still valid is stapled, however old its file is.
        if let Some(main) = plan.hosts.first() {
            stapled::clean_up(startup, main.staple_keep, &subjects, &terms, &mds);
        }
        if subjects.is_empty() && terms.iter().all(Option::is_none) {
            return Ok(None);
        }
        let is_alias = |(id, subject): &(&Vec<u8>, &Arc<Subject>)| *id != &subject.id;
        Ok(Some(Stapling {
            cache,
            aliases: subjects.iter().filter(is_alias).map(|(id, s)| (id.clone(), s.id)).collect(),
            topics: subjects.values().enumerate().map(|(topic, s)| (s.id, topic)).collect(),
            news: News::new(subjects.len() + mds.len())?,
            primed: subjects.into_values().collect(),
            terms,
            by_mod_ssl: by_mod_ssl.iter().filter_map(|md| Some(mds.get(*md)?.md.name.clone())).collect(),
            mds,
            store: startup.store.worker(),
            started: startup.now,
            has_revoked: AtomicBool::new(true),
        }))
    }

    /// A handshake: see [`Cache::staple`].
    pub fn staple<R>(&self, id: &[u8], use_it: impl FnOnce(Option<&[u8]>) -> R) -> Option<R> {
        let id = self.aliases.get(id).map_or(id, |own| own.as_slice());
        let answered = self.cache.staple(id, time::now(), |der| {
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

    /// Takes up the responses that were got since this process looked last.
    pub fn take_up(&self) {
        if !self.news.is_there_any() {
            return;
        }
        let now = SystemClock::default().now();
        let mut entries = Vec::new();
        for topic in self.news.take() {
            let Some(subjects) = self.subjects_of(topic) else { continue };
            for subject in subjects {
                match file::read(&self.store, WorkGroup::Ocsp, &subject, now) {
                    Ok(response) => entries.push(Entry { subject, response: response.map(Arc::new) }),
                    Err(Unusable::Store(Error::Io { .. })) => self.news.put_back(topic),
                    Err(error) => unusable(&subject, &error),
                }
            }
        }
        self.cache.put(entries);
    }

    fn subjects_of(&self, topic: usize) -> Option<Vec<Arc<Subject>>> {
        match self.primed.get(topic) {
            Some(subject) => Some(vec![subject.clone()]),
            None => self.staged(topic - self.primed.len()),
        }
    }

    /// Certificates of an MD that were not there at start.
    fn staged(&self, md: usize) -> Option<Vec<Arc<Subject>>> {
        let (terms, managed) = (self.terms.get(md)?.as_ref()?, self.mds.get(md)?);
        let subjects = upcoming::subjects(&self.store, &managed.md, terms);
        Some(subjects.into_iter().map(Arc::new).collect())
    }

    /// There is a new response for this certificate: all are to have it.
    fn tell(&self, subject: &Subject, response: &Response) {
        self.tell_of(subject);
        if matches!(response.status, Status::Revoked(_)) {
            self.has_revoked.store(true, Ordering::Relaxed);
        }
    }

    /// There is this certificate: the pages of all are to have it.
    fn tell_of(&self, subject: &Subject) {
        let md = || self.mds.iter().position(|managed| managed.md.name == subject.owner);
        let topic = self.topics.get(&subject.id).copied();
        if let Some(topic) = topic.or_else(|| md().map(|md| self.primed.len() + md)) {
            self.news.tell(topic);
        }
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
        let is_stapled = |md: usize| self.terms.get(md).is_some_and(Option::is_some);
        mds.filter(|(md, managed)| is_stapled(*md) && is_revoked(managed)).map(|(md, _)| md).collect()
    }
}

fn stored(store: &StartStore, subject: &Subject, now: Timestamp) -> Option<Arc<Response>> {
    match file::read(store, Group::Ocsp, subject, now) {
        Ok(response) => response.map(Arc::new),
        Err(error) => {
            unusable(subject, &error);
            None
        }
    }
}

fn unusable(subject: &Subject, error: &Unusable) {
    crate::log!(
        Warn,
        "md[{}]: the stored OCSP response for the certificate with serial {} is not used, and a new one is asked for: {error}",
        subject.owner,
        subject.serial_hex
    );
}

/// What the child that renews does for stapling.
pub struct Runner {
    driver: Driver,
    stapling: Arc<Stapling>,
    clock: SystemClock,
    /// When staging was looked at, and what it looked like, by MD.
    looked: Timestamp,
    stamps: HashMap<usize, Vec<Option<Timestamp>>>,
}

impl Runner {
    pub fn new(state: &State, stapling: Arc<Stapling>) -> Self {
        let stop = state.stop.clone();
        let clock = SystemClock { stop: stop.clone() };
        let settings = Settings {
            parallel: state.settings.parallel,
            retry_delay: state.settings.retry.delay,
            started: stapling.started,
            commands: state.settings.commands.clone(),
        };
        let around = Surroundings {
            store: state.store.clone(),
            cache: stapling.cache.clone(),
            clock: Arc::new(clock.clone()),
            connect: connections(stop.clone(), state.tally.clone()),
            tell: {
                let stapling = stapling.clone();
                Box::new(move |subject, response| stapling.tell(subject, response))
            },
            random: crypto::random_unit,
        };
        let driver = Driver::new(settings, around, stop);
        Runner { driver, stapling, clock, looked: Timestamp::default(), stamps: HashMap::new() }
    }

    pub fn beat(&mut self) {
        let now = self.clock.now();
        if now.since(self.looked) >= STAGED_EVERY || now < self.looked {
            self.looked = now;
            self.look_at_staging(now);
        }
        self.driver.beat();
    }

    fn look_at_staging(&mut self, now: Timestamp) {
        let Stapling { mds, terms, store, cache, .. } = self.stapling.as_ref();
        let names = mds.iter().map(|managed| managed.md.name.as_str());
        let Ok(names) = store.present(WorkGroup::Staging, names) else { return };
        let is_staged = |md: &Md| names.contains(&md.name);
        for (index, managed) in mds.iter().enumerate() {
            if !terms.get(index).is_some_and(Option::is_some) || !is_staged(&managed.md) {
                continue;
            }
            let stamp = upcoming::stamp(store, &managed.md);
            if self.stamps.insert(index, stamp.clone()) == Some(stamp) {
                continue;
            }
            for subject in self.stapling.staged(index).unwrap_or_default() {
                if cache.find(&subject.id).is_some() {
                    continue;
                }
                let response = file::read(store, WorkGroup::Ocsp, &subject, now).unwrap_or_else(|error| {
                    unusable(&subject, &error);
                    None
                });
                let entry = Entry { subject, response: response.map(Arc::new) };
                cache.put([entry.clone()]);
                match &entry.response {
                    Some(response) => self.stapling.tell(&entry.subject, response),
                    None => self.stapling.tell_of(&entry.subject),
                }
                self.driver.add(entry);
            }
        }
    }

    pub fn stop(self) {
        self.driver.stop();
    }
}

/// URL, and who certifies it.
type Proxy = (Option<String>, Option<String>);
type Way = Arc<dyn crate::http::Transport>;

/// One client, with its connections, for all that go through the same proxy.
fn connections(stop: StopFlag, tally: Tally) -> Connect {
    let clients: Mutex<HashMap<Proxy, Way>> = Mutex::default();
    Box::new(move |terms| {
        let key = (terms.proxy_url.clone(), terms.proxy_ca_file.clone());
        let mut clients = lock(&clients);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let transport = Client::new(&Options {
            ca_file: None,
            proxy_url: terms.proxy_url.clone(),
            proxy_ca_file: terms.proxy_ca_file.clone().map(Into::into),
            user_agent: user_agent(),
            limits: LIMITS,
            stop: stop.clone(),
        })?;
        let client: Way = Arc::new(OcspCounted { transport, tally: tally.clone() });
        clients.insert(key, client.clone());
        Ok(client)
    })
}
