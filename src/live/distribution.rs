// SPDX-License-Identifier: Apache-2.0
//! Live activation: sets that one child publishes are taken up by all, without a restart.
//!
//! At start the hosts that are served with certificates of ours are noted, and mod_ssl's hook puts a slot
//! beside each of their TLS contexts. A handshake looks into the slot and does nothing else. Sets are read
//! off its path: by the child that publishes, in the others by the watchdog's beat, and in a new child by
//! threads that are ahead of its first client.

use super::news::News;
use super::stapling::Stapling;
use super::state::Server;
use super::state::tls_hosts::{Contexts, TlsHosts};
use super::sys;
use crate::crypto::CertInfo;
use crate::live::roster::Census;
use crate::managed::Managed;
use crate::managed::bundle::Flaw;
use crate::managed::live_set::{Hosts, LiveSet, Workers};
use crate::managed::published;
use crate::managed::slot::{Slot, Source};
use crate::ocsp::cache::has_staple;
use crate::store::{Error, WorkGroup, WorkStore};
use crate::sync::lock;
use crate::time::{Clock, StopFlag, SystemClock};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// How long a beat reads sets, of the tenth of a second until the next one: each costs about a millisecond,
/// most of it to decrypt the key.
const OF_A_BEAT: Duration = Duration::from_millis(50);

/// How long a new child waits for the sets that it needs: those of hosts that had no good certificate at the
/// start. And for all others.
const FOR_NEEDED: Duration = Duration::from_secs(10);
const FOR_ALL: Duration = Duration::from_millis(500);

/// Threads of a new child that read sets, at the most.
const READERS: usize = 4;

/// How many children the status pages can tell apart.
const MOST_COUNTED: usize = 1024;

/// One for each configuration. Children inherit it.
pub struct Live {
    /// `MDActivationDelay`.
    pub delay: Duration,
    /// Who knows of OCSP responses.
    stapling: Option<Arc<Stapling>>,
    mds: Arc<[Managed]>,
    store: WorkStore,
    contexts: Arc<Contexts>,
    /// By server: the MD of a host that began with a self-signed certificate.
    self_signed: HashMap<usize, usize>,
    news: News,
    /// Who serves what.
    census: Census,
    /// Held from the news until the slots know.
    hearing: Mutex<()>,
    /// Some slot may have a set to read.
    is_behind: AtomicBool,
    /// How many of the news this process had heard when it had read all their sets.
    caught_up: AtomicU64,
    /// Why a set was not taken up, by MD: told once.
    failures: Mutex<HashMap<usize, String>>,
}

impl Live {
    pub fn new(
        hosts: &TlsHosts,
        contexts: Arc<Contexts>,
        mds: Arc<[Managed]>,
        store: WorkStore,
        delay: Duration,
    ) -> io::Result<Self> {
        let news = News::new(mds.len())?;
        let places = sys::child_limit().min(MOST_COUNTED);
        let counters = Arc::new(sys::Counters::new(Census::size(mds.len(), places))?);
        let census = Census::new(counters, mds.len(), places);
        let live = Live {
            delay,
            stapling: None,
            mds,
            store,
            contexts,
            self_signed: hosts.self_signed(),
            news,
            census,
            hearing: Mutex::default(),
            is_behind: AtomicBool::default(),
            caught_up: AtomicU64::default(),
            failures: Mutex::default(),
        };
        // What a restart has left in staging is still the newest set there is.
        live.find_published();
        Ok(live)
    }

    /// Tells of the sets in staging that nobody has heard of. The renewing child of the configuration before
    /// goes on while this one is put in force: what it publishes late, it tells to its own children alone.
    pub fn find_published(&self) {
        let is_published = |name: &&str| {
            let file = self.store.modified(WorkGroup::Staging, name, published::FILE);
            file.is_ok_and(|time| time.is_some())
        };
        let names = || self.mds.iter().map(|managed| managed.md.name.as_str());
        let staged = self.store.present(WorkGroup::Staging, names()).unwrap_or_default();
        let published = names().enumerate().filter(|(_, name)| staged.contains(*name) && is_published(name));
        for (md, _) in published.filter(|(md, _)| !self.census.is_told(*md)) {
            self.census.told(md, self.news.tell(md));
        }
    }

    #[must_use]
    pub fn with_stapling(self, stapling: Option<Arc<Stapling>>) -> Self {
        Live { stapling, ..self }
    }

    /// Slots get their sets from here.
    pub fn connect(self) -> Arc<Self> {
        let live = Arc::new(self);
        for (index, managed) in live.mds.iter().enumerate() {
            let source: Weak<Live> = Arc::downgrade(&live);
            managed.live.connect(source, index);
        }
        live
    }

    /// Whether a set of any MD can go live at all.
    pub fn is_possible(&self) -> bool {
        self.mds.iter().any(|managed| managed.live.is_attached())
    }

    /// Whether a host has no other certificate to show than a self-signed one.
    pub fn is_without_certificate(&self, server: Server<'_>) -> bool {
        let md = self.self_signed.get(&server.key()).and_then(|md| self.mds.get(*md));
        md.is_some_and(|managed| managed.live.load().is_none())
    }

    /// A new child, before it serves anyone: reads what went live since the start. It does not wait for long,
    /// and never for one set that cannot be read: the threads that read go on beside it.
    pub fn begin(&self, stop: &StopFlag) {
        self.hear();
        let now = SystemClock::default().now();
        let behind = self.mds.iter().filter(|managed| managed.live.is_behind());
        let (others, needed): (Vec<_>, Vec<_>) = behind.partition(|managed| managed.started_well(now));
        let count = needed.len();
        let slots: Vec<Slot> = needed.into_iter().chain(others).map(|managed| managed.live.clone()).collect();
        if slots.is_empty() {
            return;
        }
        let reading = Arc::new(Reading { slots, needed: count, ..Reading::default() });
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(READERS) {
            let (mine, flag) = (reading.clone(), stop.clone());
            if let Err(error) = stop.spawn("md-load", move || mine.read_all(&flag)) {
                crate::log!(
                    Error,
                    status = error.raw_os_error().unwrap_or(0),
                    "this process keeps the certificates that it has for now, because the thread that loads new ones cannot be \
                     started: {}. Raise the limit of threads (ulimit -u, TasksMax of the service).",
                    crate::log::plain(&error)
                );
                return;
            }
        }
        let begin = Instant::now();
        while !reading.is_enough(begin.elapsed()) && !stop.is_raised() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Reads sets that were published since this process looked last, a few at a time.
    pub fn take_up(&self) {
        self.hear();
        if self.is_behind.swap(false, Ordering::Relaxed) {
            let begin = Instant::now();
            let behind = || self.mds.iter().map(|managed| &managed.live).filter(|slot| slot.is_behind());
            behind().take_while(|_| begin.elapsed() < OF_A_BEAT).for_each(Slot::catch_up_if_free);
            if behind().next().is_some() {
                self.is_behind.store(true, Ordering::Relaxed);
            }
        }
        self.note();
    }

    /// From now on this process knows which sets were published.
    pub fn hear(&self) {
        if self.news.is_there_any() {
            self.hear_all();
        }
        self.note();
    }

    /// Tells that this process lives, and which sets it serves.
    fn note(&self) {
        let hearing = lock(&self.hearing);
        if !self.is_behind.load(Ordering::Relaxed) {
            self.caught_up.store(self.news.heard(), Ordering::Relaxed);
        }
        drop(hearing);
        self.census.note(self.caught_up.load(Ordering::Relaxed), SystemClock::default().now());
    }

    fn hear_all(&self) {
        let _hearing = lock(&self.hearing);
        for md in self.news.take() {
            if let Some(managed) = self.mds.get(md).filter(|managed| managed.live.is_attached()) {
                managed.live.tell();
                self.is_behind.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Puts a set where handshakes look for it, if the hosts of its MD can be served with it.
    fn put(&self, index: usize, managed: &Managed, slot: &Slot, loaded: Result<Option<LiveSet>, Flaw>) {
        let tried = loaded.and_then(|set| self.try_out(index, set));
        self.census.note_refused(index, tried.is_err());
        let flaw = match tried {
            Ok(set) => {
                lock(&self.failures).remove(&index);
                if let Some(set) = set {
                    slot.store(set);
                    crate::log!(Debug, "{}: a new set is live in this process", managed.md.name);
                }
                return;
            }
            Err(flaw) => flaw,
        };
        if matches!(flaw, Flaw::Store(Error::Io { .. })) {
            // This process may be short of something for a while. The set can be read, as others did.
            self.news.put_back(index);
        }
        let reason = flaw.to_string();
        let mut failures = lock(&self.failures);
        if failures.get(&index) != Some(&reason) {
            crate::log!(
                Error,
                "AH10069: md[{}]: error loading the new set, the one before stays in use in this process until httpd is restarted: \
                 {reason}",
                managed.md.name
            );
            failures.insert(index, reason);
        }
    }

    fn load(&self, managed: &Managed) -> Result<Option<LiveSet>, Flaw> {
        let Some(published) = published::read(&self.store, WorkGroup::Staging, &managed.md.name)? else {
            return Ok(None);
        };
        let set = LiveSet::new(&published, &managed.md.keys()).map_err(|e| Flaw::Unusable(e.to_string()))?;
        // It may be of an earlier configuration, and what the start found serves more names of this one.
        let (now, md) = (SystemClock::default().now(), &managed.md);
        let is_outdone = managed.certs.outdo(&set.certs, md, now);
        Ok((!is_outdone).then_some(set))
    }

    /// Whether the hosts of an MD can be served with this set.
    fn try_out(&self, md: usize, set: Option<LiveSet>) -> Result<Option<LiveSet>, Flaw> {
        let refusal = set.as_ref().and_then(|set| self.contexts.try_out(md, &set.identities)?.err());
        refusal.map_or(Ok(set), |reason| Err(Flaw::Unusable(reason)))
    }
}

/// The sets that a new child reads, the needed ones first.
#[derive(Default)]
struct Reading {
    slots: Vec<Slot>,
    /// The first of them.
    needed: usize,
    begun: AtomicUsize,
    done: AtomicUsize,
    done_of_needed: AtomicUsize,
}

impl Reading {
    fn read_all(&self, stop: &StopFlag) {
        let next = || self.begun.fetch_add(1, Ordering::Relaxed);
        for place in std::iter::repeat_with(next) {
            let Some(slot) = self.slots.get(place).filter(|_| !stop.is_raised()) else { return };
            slot.catch_up();
            if place < self.needed {
                self.done_of_needed.fetch_add(1, Ordering::Release);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether a child serves that has waited for so long.
    fn is_enough(&self, waited: Duration) -> bool {
        let is_served = self.done_of_needed.load(Ordering::Acquire) == self.needed;
        waited >= FOR_NEEDED
            || is_served && (waited >= FOR_ALL || self.done.load(Ordering::Acquire) == self.slots.len())
    }
}

impl Source for Live {
    fn fill(&self, index: usize, slot: &Slot) {
        if let Some(managed) = self.mds.get(index) {
            self.put(index, managed, slot, self.load(managed));
        }
    }

    fn serving(&self, index: usize) -> usize {
        self.census.serving(index, SystemClock::default().now())
    }
}

impl Workers for Live {
    fn tell(&self, index: usize, set: LiveSet) {
        self.census.told(index, self.news.tell(index));
        // Waits where another thread of this process is at it.
        self.hear_all();
        if let Some(managed) = self.mds.get(index).filter(|managed| managed.live.is_attached()) {
            managed.live.replace(|slot| self.put(index, managed, slot, Ok(Some(set))));
        }
    }

    fn have_staples(&self, _index: usize, certs: &[CertInfo]) -> bool {
        let now = SystemClock::default().now();
        let has = |stapling: &Arc<Stapling>| certs.iter().all(|c| has_staple(&stapling.cache, &c.id, now));
        self.stapling.as_ref().is_some_and(has)
    }
}
