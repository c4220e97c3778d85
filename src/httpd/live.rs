//! Live activation: sets that one child publishes are taken up by all, without a restart.
//!
//! At start the hosts that are served with certificates of ours are noted, and mod_ssl's hook puts a slot beside each of
//! their TLS contexts. A handshake looks into the slot and does nothing else, except in a process that has heard of a set
//! and not yet read it: there the first handshake that needs it does. Most sets are read off the handshake's path, by the
//! child that publishes and in the others by the watchdog's beat.

use super::lock;
use super::news::News;
use super::stapling::Stapling;
use super::sys::{self, Server};
use super::tls_hosts::{Contexts, TlsHosts};
use crate::crypto::CertInfo;
use crate::ocsp::cache::has_staple;
use crate::renew::Managed;
use crate::renew::census::Census;
use crate::renew::live::{self, Hosts, LiveSet, Workers};
use crate::renew::set::Flaw;
use crate::renew::slot::{Slot, Source};
use crate::store::{Error, WorkGroup, WorkStore};
use crate::time::{Clock, SystemClock};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// How many sets a beat reads: each costs about a millisecond, most of it to decrypt the key.
const AT_ONCE: usize = 8;

/// How many children the status pages can tell apart.
const MOST_COUNTED: usize = 1024;

/// The slot of a host, and whether certificates of its own stay beside a live set; `None` where none goes live.
pub fn slot_of(server: Server<'_>) -> Option<(Slot, bool)> {
    lock(&server.conf()?.startup).as_ref()?.hosts.slot_of(server)
}

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
            failures: Mutex::default(),
        };
        // What a restart has left in staging is still the newest set there is.
        live.find_published();
        Ok(live)
    }

    /// Tells of the sets in staging that nobody has heard of. The renewing child of the configuration before goes on
    /// while this one is put in force: what it publishes late, it tells to its own children alone.
    pub fn find_published(&self) {
        let is_published = |name: &&str| {
            let file = self.store.modified(WorkGroup::Staging, name, live::FILE);
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

    /// Reads sets that were published since this process looked last, a few at a time.
    pub fn take_up(&self) {
        self.hear();
        if self.is_behind.swap(false, Ordering::Relaxed) {
            let mut behind = self.mds.iter().map(|managed| &managed.live).filter(|slot| slot.is_behind());
            behind.by_ref().take(AT_ONCE).for_each(|slot| drop(slot.load()));
            if behind.next().is_some() {
                self.is_behind.store(true, Ordering::Relaxed);
            }
        }
    }

    /// From now on who asks for one of the sets that were published gets it.
    pub fn hear(&self) {
        if self.news.is_there_any() {
            self.hear_all();
        }
        self.census.note(self.news.heard(), SystemClock::default().now());
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
                "AH10069: {}: error loading the new set, the one before stays in use in this process: {reason}",
                managed.md.name
            );
            failures.insert(index, reason);
        }
    }

    fn load(&self, managed: &Managed) -> Result<Option<LiveSet>, Flaw> {
        let Some(published) = live::read(&self.store, WorkGroup::Staging, &managed.md.name)? else {
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
