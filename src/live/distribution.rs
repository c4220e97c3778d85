// SPDX-License-Identifier: Apache-2.0
//! Distributes the sets that one child publishes to all processes, without a restart.
//!
//! A handshake only looks into the slot of its host's MD. Sets are read off its path: by the publishing child
//! itself, in the others when the bell rings, and in a new child by threads that run ahead of its first
//! client. A set that cannot be read, or that the hosts of this process refuse, leaves the former one in use.
//!
//! Nothing here knows httpd: callers pass in counters, hosts and the clock.

use super::first_read::{self, PATIENCE, Patience};
use super::roster::Roster;
use super::signals::Signals;
use crate::crypto::{self, CertInfo, Chains};
use crate::managed::Managed;
use crate::managed::bundle::Flaw;
use crate::managed::live_set::{Hosts, LiveSet, Workers};
use crate::managed::published;
use crate::managed::slot::{Slot, Source};
use crate::ocsp::Cache;
use crate::ocsp::cache::has_staple;
use crate::store::{Error, WorkGroup, WorkStore};
use crate::sync::lock;
use crate::time::{Clock, StopFlag};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// How long a look reads sets, of the tenth of a second until the next one: each costs about a millisecond,
/// most of it to decrypt the key.
const OF_A_BEAT: Duration = Duration::from_millis(50);

/// The context of a distribution.
pub struct Context {
    pub mds: Arc<[Managed]>,
    pub store: WorkStore,
    /// The TLS hosts of this process, which take a set or refuse it.
    pub hosts: Arc<dyn Hosts>,
    /// The OCSP responses, where any MD is stapled.
    pub staples: Option<Arc<Cache>>,
    pub clock: Arc<dyn Clock>,
}

/// One for each configuration. Children inherit it.
pub struct Distribution {
    context: Context,
    /// A topic for each MD.
    signals: Signals,
    /// The processes and the sets they serve.
    roster: Roster,
    /// Held while signals are passed on to slots.
    taking: Mutex<()>,
    /// Some slot may have a set to read.
    is_behind: AtomicBool,
    /// The generation of signals that this process had taken when it had read all their sets.
    caught_up: AtomicU64,
    /// Why a set was not taken up, by MD: logged once.
    failures: Mutex<HashMap<usize, String>>,
    /// Those of the sets in this process.
    chains: Chains,
}

impl Distribution {
    /// `signals` and `roster` have counters of their own, which the children share.
    pub fn new(context: Context, signals: Signals, roster: Roster) -> Self {
        let live = Distribution {
            context,
            signals,
            roster,
            taking: Mutex::default(),
            is_behind: AtomicBool::default(),
            caught_up: AtomicU64::default(),
            failures: Mutex::default(),
            chains: Chains::default(),
        };
        // A set that a restart has left in staging is still the newest one.
        live.publish_staged();
        live
    }

    /// Publishes the sets in staging that no process of this configuration knows of. The renewing child of
    /// the configuration before goes on while this one is put in force, and signals only its own siblings.
    pub fn publish_staged(&self) {
        let Context { mds, store, .. } = &self.context;
        let is_published = |name: &&str| {
            let file = store.modified(WorkGroup::Staging, name, published::FILE);
            file.is_ok_and(|time| time.is_some())
        };
        let names = || mds.iter().map(|managed| managed.md.name.as_str());
        let staged = store.present(WorkGroup::Staging, names()).unwrap_or_default();
        let published = names().enumerate().filter(|(_, name)| staged.contains(*name) && is_published(name));
        for (md, _) in published.filter(|(md, _)| !self.roster.is_published(*md)) {
            self.roster.publish(md, self.signals.raise(md));
        }
    }

    /// Slots get their sets from here.
    pub fn connect(self) -> Arc<Self> {
        let live = Arc::new(self);
        for (index, managed) in live.context.mds.iter().enumerate() {
            let source: Weak<Distribution> = Arc::downgrade(&live);
            managed.live.connect(source, index);
        }
        live
    }

    /// Whether a set of any MD can go live at all.
    pub fn is_possible(&self) -> bool {
        self.context.mds.iter().any(|managed| managed.live.is_attached())
    }

    /// Reads the sets that went live since the start, in a new child before it serves anyone.
    pub fn begin(&self, stop: &StopFlag) {
        self.begin_within(&PATIENCE, stop);
    }

    fn begin_within(&self, patience: &Patience, stop: &StopFlag) {
        self.take_signals();
        let now = self.context.clock.now();
        let behind = self.context.mds.iter().filter(|managed| managed.live.is_behind());
        let (others, needed): (Vec<_>, Vec<_>) = behind.partition(|managed| managed.started_well(now));
        let slots = |of: Vec<&Managed>| of.into_iter().map(|managed| managed.live.clone()).collect();
        first_read::read(slots(needed), slots(others), patience, stop);
    }

    /// Reads sets that were published since this process looked last, a few at a time.
    /// Returns whether there are more.
    pub fn take_up(&self) -> bool {
        if self.signals.is_pending() {
            self.take_all_signals();
        }
        if self.is_behind.load(Ordering::Relaxed) {
            let begin = Instant::now();
            let behind =
                || self.context.mds.iter().map(|managed| &managed.live).filter(|slot| slot.is_behind());
            behind().take_while(|_| begin.elapsed() < OF_A_BEAT).for_each(Slot::catch_up_if_free);
            // Not before they are read: another thread of this process may sign in meanwhile.
            let _taking = lock(&self.taking);
            self.is_behind.store(behind().next().is_some(), Ordering::Relaxed);
        }
        self.sign_in();
        self.is_behind.load(Ordering::Relaxed) || self.signals.is_pending()
    }

    /// From now on this process knows which sets were published.
    pub fn take_signals(&self) {
        if self.signals.is_pending() {
            self.take_all_signals();
        }
        self.sign_in();
    }

    /// Notes in the roster that this process lives, and which sets it serves.
    fn sign_in(&self) {
        let taking = lock(&self.taking);
        if !self.is_behind.load(Ordering::Relaxed) {
            self.caught_up.store(self.signals.generation(), Ordering::Relaxed);
        }
        drop(taking);
        self.roster.sign_in(self.caught_up.load(Ordering::Relaxed), self.context.clock.now());
    }

    fn take_all_signals(&self) {
        let _taking = lock(&self.taking);
        for md in self.signals.take() {
            if let Some(managed) = self.context.mds.get(md).filter(|managed| managed.live.is_attached()) {
                managed.live.signal();
                self.is_behind.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Puts a set where handshakes look for it, if the hosts of its MD can be served with it.
    fn put(&self, index: usize, managed: &Managed, slot: &Slot, loaded: Result<Option<LiveSet>, Flaw>) {
        let tried = loaded.and_then(|set| self.try_out(index, set));
        self.roster.set_refused(index, tried.is_err());
        let flaw = match tried {
            Ok(set) => {
                lock(&self.failures).remove(&index);
                if let Some(set) = set {
                    slot.store(set);
                    crate::log!(Debug, "md[{}]: a new set is live in this process", managed.md.name);
                }
                return;
            }
            Err(flaw) => flaw,
        };
        if matches!(flaw, Flaw::Store(Error::Io { .. })) {
            // This process may be short of something for a while. The set can be read, as others did.
            self.signals.put_back(index);
        }
        let reason = flaw.to_string();
        let mut failures = lock(&self.failures);
        if failures.get(&index) != Some(&reason) {
            crate::log!(
                Error,
                "AH10069: md[{}]: cannot load the new set, this process serves the former one until httpd is restarted: {reason}",
                managed.md.name
            );
            failures.insert(index, reason);
        }
    }

    fn load(&self, managed: &Managed) -> Result<Option<LiveSet>, Flaw> {
        let Some(published) = published::read(&self.context.store, WorkGroup::Staging, &managed.md.name)?
        else {
            return Ok(None);
        };
        let set = LiveSet::new(&published, &managed.md.keys()).map_err(|e| Flaw::Unusable(e.to_string()))?;
        // It may be of an earlier configuration, and the set that the start found serves more names of this
        // one.
        let (now, md) = (self.context.clock.now(), &managed.md);
        let is_outdone = managed.certs.outdo(&set.certs, md, now);
        Ok((!is_outdone).then_some(set))
    }

    /// The set as it is kept, if the hosts of an MD can be served with it.
    fn try_out(&self, md: usize, set: Option<LiveSet>) -> Result<Option<LiveSet>, Flaw> {
        let Some(mut set) = set else { return Ok(None) };
        let unusable = |error: crypto::Error| Flaw::Unusable(error.to_string());
        let identities = set.identities.open().map_err(unusable)?;
        if let Some(Err(reason)) = self.context.hosts.try_out(md, identities) {
            return Err(Flaw::Unusable(reason));
        }
        set.identities.pack(&self.chains).map_err(unusable)?;
        Ok(Some(set))
    }
}

impl Source for Distribution {
    fn fill(&self, index: usize, slot: &Slot) {
        if let Some(managed) = self.context.mds.get(index) {
            self.put(index, managed, slot, self.load(managed));
        }
    }

    fn serving(&self, index: usize) -> usize {
        self.roster.serving(index, self.context.clock.now())
    }
}

impl Workers for Distribution {
    fn publish(&self, index: usize, set: LiveSet) {
        self.roster.publish(index, self.signals.raise(index));
        // Waits where another thread of this process is at it.
        self.take_all_signals();
        if let Some(managed) = self.context.mds.get(index).filter(|managed| managed.live.is_attached()) {
            managed.live.replace(|slot| self.put(index, managed, slot, Ok(Some(set))));
        }
    }

    fn have_staples(&self, _index: usize, certs: &[CertInfo]) -> bool {
        let now = self.context.clock.now();
        let have = |staples: &Arc<Cache>| certs.iter().all(|cert| has_staple(staples, &cert.id, now));
        self.context.staples.as_ref().is_some_and(have)
    }
}

#[cfg(test)]
mod tests;
