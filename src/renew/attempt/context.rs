// SPDX-License-Identifier: Apache-2.0
//! The state that the renewals of a child share, and one renewal as its steps see it. Values and their locks
//! only: the steps are in other files here and in `worker`, which this room never imports.

use super::answering::Answering;
use super::ca_pool::CaPool;
use super::settings::Settings;
use crate::acme::published_limits;
use crate::crypto::CertInfo;
use crate::dns::{Dns, Sockets};
use crate::managed::Managed;
use crate::managed::live_set::{Hosts, Workers};
use crate::managed::peers::Peers;
use crate::managed::staging::Staging;
use crate::metrics::Metrics;
use crate::model::{Job, RateLimit, RetryState, Scope};
use crate::ocsp::Cache;
use crate::ocsp::cache::is_revoked;
use crate::renew::decide::order_queue::OrderQueue;
use crate::renew::decide::rate_limits::RateLimits;
use crate::store::{Holder, WorkGroup, WorkStore};
use crate::sync::lock;
use crate::time::{Clock, DAY, Stopped, Timestamp};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The reason why a renewal waits and does nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The time to ask the CA again.
    Rest,
    /// A command of the admin, or servers of the DNS.
    Command,
}

/// Everything a renewal needs, shared by all jobs of the child.
pub struct Context {
    pub targets: Arc<[Managed]>,
    pub store: WorkStore,
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
    pub(crate) cas: CaPool,
    pub(crate) metrics: Metrics,
    /// A number in 0..1 for jitter.
    random: fn() -> f64,
    /// CAs that want no requests for a while.
    rate_limits: Mutex<RateLimits>,
    /// The sequence of orders where CAs limit them.
    order_queue: Mutex<OrderQueue>,
    /// The CA that an MD asks, where it is not the first one.
    asked: Mutex<HashMap<usize, String>>,
    /// The ends of waits that this process has logged, by MD.
    logged_waits: Mutex<HashMap<String, Timestamp>>,
    /// When this process has warned of records that end soon, by MD.
    warned_ends: Mutex<HashMap<String, Timestamp>>,
    /// MDs with a call of a command whose outcome a former process may still save.
    called: Mutex<HashSet<String>>,
    /// Other processes that were found at work on an MD, and since when this one waits for them.
    others: Mutex<HashMap<String, (Holder, Timestamp)>>,
    /// Shared by renewals to answer challenges.
    pub(crate) answering: Answering,
    /// Asks servers of the DNS.
    dns: Arc<dyn Dns>,
    /// Reads the addresses of the system's resolvers.
    resolvers: fn() -> Vec<SocketAddr>,
    /// The pauses of renewals, by the names of their MDs.
    pauses: Mutex<HashMap<String, Pause>>,
    /// The processes that serve a new set at once, and `MDActivationDelay`; without, a set waits for the next
    /// restart.
    live: Option<(Arc<dyn Workers>, Duration)>,
    /// The hosts that try a new set.
    hosts: Option<Arc<dyn Hosts>>,
    /// The cache of OCSP responses, which shows revocations.
    revocations: Option<Arc<Cache>>,
    /// The other nodes of a fleet.
    peers: Option<Arc<dyn Peers>>,
}

impl Context {
    pub fn new(
        targets: Arc<[Managed]>,
        store: WorkStore,
        settings: Settings,
        cas: CaPool,
        clock: Arc<dyn Clock>,
        random: fn() -> f64,
    ) -> Self {
        let now = clock.now();
        let rate_limits = Mutex::new(stored_rate_limits(&targets, &store, now));
        let order_queue = Mutex::new(stored_orders(&targets, &store, now));
        let (asked, logged_waits, warned_ends, called, others, answering, pauses) = Default::default();
        let dns = Arc::new(Sockets::new(clock.clone()));
        Context {
            targets,
            store,
            settings,
            clock,
            cas,
            metrics: Metrics::default(),
            random,
            rate_limits,
            order_queue,
            asked,
            logged_waits,
            warned_ends,
            called,
            others,
            answering,
            dns,
            resolvers: Vec::new,
            pauses,
            live: None,
            hosts: None,
            revocations: None,
            peers: None,
        }
    }

    /// With `MDLiveActivation on`. `delay` is `MDActivationDelay`.
    #[must_use]
    pub fn with_live_activation(self, workers: Arc<dyn Workers>, delay: Duration) -> Self {
        Context { live: Some((workers, delay)), ..self }
    }

    /// Has the hosts that will serve a new set try it first.
    #[must_use]
    pub fn trying_on(self, hosts: Arc<dyn Hosts>) -> Self {
        Context { hosts: Some(hosts), ..self }
    }

    /// Looks up names where these resolvers are; without, nothing is looked up.
    #[must_use]
    pub fn with_resolvers(self, resolvers: fn() -> Vec<SocketAddr>) -> Self {
        Context { resolvers, ..self }
    }

    /// Asks servers of the DNS through another port.
    #[must_use]
    pub fn asking(self, dns: Arc<dyn Dns>) -> Self {
        Context { dns, ..self }
    }

    /// Holds this lock while answers to challenges are changed.
    #[must_use]
    pub fn answering_under(self, changing: Arc<Mutex<()>>) -> Self {
        Context { answering: Answering::under(changing), ..self }
    }

    /// Has renewals and their failures counted there.
    #[must_use]
    pub fn counting(self, metrics: Metrics) -> Self {
        Context { metrics, ..self }
    }

    /// With stapling: a certificate that its CA calls revoked is renewed at once.
    #[must_use]
    pub fn with_revocations(self, responses: Arc<Cache>) -> Self {
        Context { revocations: Some(responses), ..self }
    }

    /// One httpd of a fleet.
    #[must_use]
    pub fn with_peers(self, peers: Arc<dyn Peers>) -> Self {
        Context { peers: Some(peers), ..self }
    }

    /// The renewal of the MD with this index.
    pub(crate) fn renewal(&self, index: usize) -> Option<Renewal<'_>> {
        Some(Renewal { context: self, index, target: self.targets.get(index)? })
    }

    pub(crate) fn random(&self) -> f64 {
        (self.random)()
    }

    pub(crate) fn rate_limits(&self) -> MutexGuard<'_, RateLimits> {
        lock(&self.rate_limits)
    }

    pub(crate) fn order_queue(&self) -> MutexGuard<'_, OrderQueue> {
        lock(&self.order_queue)
    }

    pub(crate) fn dns(&self) -> &dyn Dns {
        self.dns.as_ref()
    }

    pub(crate) fn resolvers(&self) -> Vec<SocketAddr> {
        (self.resolvers)()
    }

    /// The other nodes of the fleet, if there is one.
    pub(crate) fn peers(&self) -> Option<&dyn Peers> {
        self.peers.as_deref()
    }

    pub(crate) fn hosts(&self) -> Option<&dyn Hosts> {
        self.hosts.as_deref()
    }

    pub(crate) fn live(&self) -> Option<(&dyn Workers, Duration)> {
        self.live.as_ref().map(|(workers, delay)| (workers.as_ref(), *delay))
    }

    pub(crate) fn is_revoked(&self, cert: &CertInfo) -> bool {
        self.revocations.as_ref().is_some_and(|responses| is_revoked(responses, &cert.id))
    }

    /// The directory URL of the CA that the MD with this index asks, as far as is known.
    pub fn ca_of(&self, index: usize) -> String {
        let asked = lock(&self.asked).get(&index).cloned();
        let first = || self.targets.get(index).and_then(|target| target.md.ca.urls.first().cloned());
        asked.or_else(first).unwrap_or_default()
    }

    /// The pause of the renewal of the MD with this index, if it waits and does nothing else.
    pub fn pause_of(&self, index: usize) -> Option<Pause> {
        self.targets.get(index).and_then(|target| lock(&self.pauses).get(&target.md.name).copied())
    }
}

/// The renewal of one managed domain, as its steps see it.
#[derive(Clone, Copy)]
pub(crate) struct Renewal<'c> {
    pub(crate) context: &'c Context,
    /// Of the MD, wherever MDs are counted.
    pub(crate) index: usize,
    pub(crate) target: &'c Managed,
}

impl<'c> Renewal<'c> {
    pub(crate) fn name(&self) -> &'c str {
        &self.target.md.name
    }

    pub(crate) fn clock(&self) -> &'c dyn Clock {
        self.context.clock.as_ref()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    pub(crate) fn settings(&self) -> &'c Settings {
        &self.context.settings
    }

    pub(crate) fn staging(&self) -> Staging<'c> {
        Staging::new(&self.context.store, self.name())
    }

    /// Notes the CA that is asked.
    pub(crate) fn note_asked(&self, ca: &str) {
        lock(&self.context.asked).insert(self.index, ca.to_string());
    }

    /// Whether this process has not logged yet that the renewal waits until then.
    pub(crate) fn is_new_wait(&self, until: Timestamp) -> bool {
        lock(&self.context.logged_waits).insert(self.name().to_string(), until) != Some(until)
    }

    /// Whether this process has not warned for a day of records that end soon.
    pub(crate) fn is_new_end(&self, now: Timestamp) -> bool {
        let mut warned = lock(&self.context.warned_ends);
        let is_new = warned.get(self.name()).is_none_or(|at| *at > now || now.since(*at) >= DAY);
        if is_new {
            warned.insert(self.name().to_string(), now);
        }
        is_new
    }

    /// Whether this process has not met this call of a former one yet.
    pub(crate) fn is_new_call(&self) -> bool {
        lock(&self.context.called).insert(self.name().to_string())
    }

    /// Notes that another process is at work on the MD. Since when this one waits, and whether it is new.
    pub(crate) fn note_other(&self, holder: &Holder) -> (Timestamp, bool) {
        let (mut others, now) = (lock(&self.context.others), self.now());
        let known = others.get(self.name()).filter(|(known, since)| known == holder && *since <= now);
        let (since, is_new) = known.map_or((now, true), |(_, since)| (*since, false));
        others.insert(self.name().to_string(), (holder.clone(), since));
        (since, is_new)
    }

    /// Notes that no other process is at work on the MD.
    pub(crate) fn forget_other(&self) {
        lock(&self.context.others).remove(self.name());
    }

    /// Takes in what a CA demands, for the jobs of all nodes.
    pub(crate) fn limit(&self, limit: &RateLimit) {
        self.context.rate_limits().add(limit, self.now());
        if let Some(peers) = self.context.peers() {
            peers.hold(limit, (limit.scope == Scope::Job).then(|| self.name()));
        }
    }

    /// Takes in what CAs have demanded of other nodes.
    pub(crate) fn learn_limits(&self, job: &mut Job) {
        let (Some(peers), now) = (self.context.peers(), self.now()) else { return };
        for (limit, name) in peers.holds(now) {
            let known = job.retry_state.rate_limit.as_ref();
            match name {
                None => self.context.rate_limits().add_stored(&limit, now),
                Some(name) if name == self.name() && known.is_none_or(|known| known.until < limit.until) => {
                    job.retry_state.rate_limit = Some(limit);
                }
                Some(_) => {}
            }
        }
    }

    /// Does nothing for a while.
    pub(crate) fn rest(&self, wait: Duration) -> Result<(), Stopped> {
        self.pause(Pause::Rest, || self.clock().sleep(wait))
    }

    /// Does nothing but this.
    pub(crate) fn pause<T>(&self, pause: Pause, wait: impl FnOnce() -> T) -> T {
        lock(&self.context.pauses).insert(self.name().to_string(), pause);
        let waited = wait();
        lock(&self.context.pauses).remove(self.name());
        waited
    }
}

/// The rate limits noted by jobs on disk.
fn stored_rate_limits(targets: &[Managed], store: &WorkStore, now: Timestamp) -> RateLimits {
    let mut limits = RateLimits::default();
    let names = targets.iter().map(|target| target.md.name.as_str());
    for name in store.present(WorkGroup::Staging, names).unwrap_or_default() {
        // A job that cannot be read is reported when it is looked at.
        if let Ok(Some(Job { retry_state: RetryState { rate_limit: Some(rate_limit), .. }, .. })) =
            Staging::new(store, &name).job()
        {
            limits.add_stored(&rate_limit, now);
        }
    }
    limits
}

/// The orders that earlier processes have placed at CAs which limit them.
fn stored_orders(targets: &[Managed], store: &WorkStore, now: Timestamp) -> OrderQueue {
    let mut queue = OrderQueue::default();
    let is_limited =
        |target: &&Managed| target.md.ca.urls.iter().any(|url| published_limits::of(url).is_some());
    let names = targets.iter().filter(is_limited).map(|target| target.md.name.as_str());
    let mut placed = Vec::new();
    for name in store.present(WorkGroup::Staging, names).unwrap_or_default() {
        let ledger = Staging::new(store, &name).ledger();
        placed.extend(ledger.placed().iter().map(|placed| (placed.at, placed.ca.clone())));
    }
    placed.sort();
    placed.iter().for_each(|(at, ca)| queue.add_placed(ca, *at, now));
    queue
}
